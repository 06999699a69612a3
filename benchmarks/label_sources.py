"""Figures of the label sources that need no network: four-to-the-floor music and labels made by hand.

Needs the evaluation material (see ``--shared``): loops with every on-beat kick labelled, music that is not
four-to-the-floor, and songs with human labels. Nothing is tuned on it.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dance.labels import MDB
from labelgen import four_floor
from labelgen.align import align
from labelgen.attack import Recording, rises_of

ROOT = Path(__file__).parents[1]
NEAR = 0.025  # seconds within which a kick counts as found


def floor_figures(shared: Path) -> Iterator[tuple[str, str, str]]:
    """Yield what, value and aim for four-to-the-floor loops and for music that is none."""
    found = labelled = given = 0
    off: list[float] = []
    for path in sorted((shared / "eval/loops-dev/audio").iterdir()):
        truth = _times(shared / f"eval/loops-dev/labels/{path.stem}.txt")
        readings = four_floor.label_recording(Recording(path))
        kicks = np.array([x.time for _, r in readings for run in r.runs for x in run.labels if x.label == "kick"])
        labelled += len(truth)
        given += len(kicks)
        for moment, _ in truth:
            nearest = kicks[np.abs(kicks - moment).argmin()] - moment if len(kicks) else np.inf
            found += abs(nearest) <= NEAR
            off += [nearest] if abs(nearest) <= NEAR else []
        if all(r.refused for _, r in readings):
            print(f"refused {path.name}: {readings[0][1].refused}", file=sys.stderr)
    yield "kick recall within 25 ms, loops-dev", f"{found / labelled:.3f} ({found} of {labelled})", ">= .97"
    yield "kick labels for each labelled kick", f"{given / labelled:.3f}", "<= 1.2"
    yield "kicks off their labels, median", f"{1000 * float(np.median(off)):.1f} ms", ""
    groups = {
        "trap": sorted((shared / "music/waivops").glob("*_trp_*")),
        "lo-fi": sorted((shared / "music/waivops").glob("*_lfbb_*")),
        "pop-rock": sorted((shared / "music/waivops").glob("*_pop_rok_*")),
        "break-beats": sorted((shared / "music/sonicpi").glob("*.flac")),
        "mdb-dev": sorted((shared / "eval/mdb-dev/audio").glob("*.flac")),
    }
    refused = total = 0
    for name, paths in groups.items():
        accepted = []
        for path in paths:
            readings = four_floor.label_recording(Recording(path))
            accepted += [path.stem] * any(not r.refused for _, r in readings)
        refused += len(paths) - len(accepted)
        total += len(paths)
        yield f"  refused: {name}", f"{len(paths) - len(accepted)} of {len(paths)}", ", ".join(accepted)
    yield "refused of what is not four-to-the-floor", f"{refused} of {total} ({refused / total:.3f})", ">= 9 of 10"


def manual_figures(shared: Path, draws: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield what, value and aim for labels that are shifted, stretched and mixed up."""
    rng = np.random.default_rng(seed)
    folder = shared / "eval/mdb-dev"
    songs = {}
    for path in sorted((folder / "audio").glob("*.flac")):
        hits = [(t, MDB[c]) for t, c in _times(folder / f"labels/{path.stem}.txt")]
        songs[path.stem] = hits, rises_of(Recording(path).blocks())
    errors: list[float] = []
    medians, moves = [], []
    lost = wrong = 0
    started = time.monotonic()
    for name, (hits, rises) in songs.items():
        times = np.array([t for t, _ in hits])
        drums = [d for _, d in hits]
        own = []
        for _ in range(draws):
            offset, drift = rng.uniform(-2, 2), rng.uniform(-0.005, 0.005)
            found = align((times - offset) / (1 + drift), drums, rises)
            lost += bool(found.refused)
            placed = found.offset + (1 + found.drift) * (times - offset) / (1 + drift)
            own += list(placed - times)
            moves.append(float(np.ptp(placed - times)))
        errors += own
        medians.append(f"{name} {1000 * float(np.median(np.abs(own))):.1f}")
        for other, (_, there) in songs.items():
            if other != name:
                wrong += not align((times - 0.7) / 1.002, drums, there).refused
    pairs = len(songs) * draws
    yield "error of aligned labels, median", f"{1000 * float(np.median(np.abs(errors))):.1f} ms", "< 5 ms"
    yield "  by song, ms", ", ".join(medians), "the labels' own bias"
    yield "  drift left, end to end, worst", f"{1000 * max(moves):.1f} ms", ""
    yield "right pairs refused", f"{lost} of {pairs}", "0"
    yield "wrong songs accepted", f"{wrong} of {len(songs) * (len(songs) - 1)}", "0"
    yield "seconds for a pair", f"{(time.monotonic() - started) / (pairs + len(songs) * (len(songs) - 1)):.1f}", ""


def _times(path: Path) -> list[tuple[float, str]]:
    rows = (line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return [(float(row[0]), row[1]) for row in rows]


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/label_sources.py --draws 5\n",
    )
    shared = Path(os.environ.get("DANCE_SHARED", ROOT.parent / "shared"))
    add = result.add_argument
    add("--shared", type=Path, default=shared, help="folder with eval/ and music/ (default: DANCE_SHARED or "
        "../shared beside the checkout)")  # fmt: skip
    add("--draws", type=int, default=3, help="random offsets and drifts for each song (default: %(default)s)")
    add("--seed", type=int, default=0, help="decides them (default: %(default)s)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    if not (args.shared / "eval/loops-dev").is_dir():
        print(f"label_sources: no evaluation material in {args.shared}; name its folder with --shared", file=sys.stderr)
        return 2
    if args.draws < 1:
        print("label_sources: --draws must be at least 1", file=sys.stderr)
        return 2
    table = Table("what", "value", "aim, or what was accepted")
    try:
        for row in floor_figures(args.shared):
            table.add_row(*row)
        for row in manual_figures(args.shared, args.draws, args.seed):
            table.add_row(*row)
    except KeyboardInterrupt:
        return 130
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
