"""Figures of the label sources that need no network: four-to-the-floor music and labels made by hand.

Needs the evaluation material (see ``--shared``): loops with every on-beat kick labelled, music that is not
four-to-the-floor, and songs with human labels. Nothing is tuned on it.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.common import ROOT, guard
from dance.commands.arguments import natural, positive
from labelgen import four_floor
from labelgen.align import align
from labelgen.attack import rises_of
from labelgen.chunks import Label
from labelgen.recordings import Recording
from training.evaluate import find, read_truth

NEAR = 0.025  # seconds within which a kick counts as found
OTHER_RHYTHMS = {
    "trap": "waivops/*_trp_*",
    "lo-fi": "waivops/*_lfbb_*",
    "pop-rock": "waivops/*_pop_rok_*",
    "break-beats": "sonicpi/*.flac",
}
"""Music that is not four-to-the-floor, below ``music``."""

Labelled = Sequence[tuple[Path, list[Label]]]


def with_labels(folder: Path) -> Labelled:
    """Return the recordings of an evaluation set with their labels.

    Raises
    ------
    OSError, ValueError
        If there are none, or one without a label.
    """
    pairs = [(path, read_truth(labels)) for path, labels in find(folder / "audio", folder / "labels")]
    if empty := [path for path, truth in pairs if not truth]:
        raise ValueError(f"{empty[0]}: nothing is labelled")
    return pairs


def other_rhythms(music: Path) -> dict[str, list[Path]]:
    """Return the recordings of `OTHER_RHYTHMS`; raise ValueError if one of these has none."""
    groups = {name: sorted(music.glob(pattern)) for name, pattern in OTHER_RHYTHMS.items()}
    if missing := [name for name, paths in groups.items() if not paths]:
        raise ValueError(f"{music}: no {', '.join(OTHER_RHYTHMS[name] for name in missing)} there")
    return groups


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the name of a recording before what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def floor_figures(loops: Labelled, others: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, str, str]]:
    """Yield what, value and aim for four-to-the-floor loops and for music that is none."""
    found = labelled = given = 0
    off: list[float] = []
    for path, truth in tqdm(loops, "loops", leave=False):
        with naming(path):
            readings = four_floor.label_recording(Recording(path))
        kicks = np.array([x.time for _, r in readings for run in r.runs for x in run.labels if x.label == "kick"])
        labelled += len(truth)
        given += len(kicks)
        for moment in (hit.time for hit in truth):
            nearest = kicks[np.abs(kicks - moment).argmin()] - moment if len(kicks) else np.inf
            found += abs(nearest) <= NEAR
            off += [nearest] if abs(nearest) <= NEAR else []
        if all(r.refused for _, r in readings):
            tqdm.write(f"refused {path.name}: {readings[0][1].refused}", file=sys.stderr)
    yield "kick recall within 25 ms, loops-dev", f"{found / labelled:.3f} ({found} of {labelled})", ">= .97"
    yield "kick labels for each labelled kick", f"{given / labelled:.3f}", "<= 1.2"
    yield "kicks off their labels, median", f"{1000 * float(np.median(off or [np.nan])):.1f} ms", ""
    refused = total = 0
    for name, paths in others.items():
        accepted = []
        for path in tqdm(paths, name, leave=False):
            with naming(path):
                readings = four_floor.label_recording(Recording(path))
            accepted += [path.stem] * any(not r.refused for _, r in readings)
        refused += len(paths) - len(accepted)
        total += len(paths)
        yield f"  refused: {name}", f"{len(paths) - len(accepted)} of {len(paths)}", ", ".join(accepted)
    yield "refused of what is not four-to-the-floor", f"{refused} of {total} ({refused / total:.3f})", ">= 9 of 10"


def manual_figures(recordings: Labelled, draws: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield what, value and aim for labels that are shifted, stretched and mixed up."""
    rng = np.random.default_rng(seed)
    songs = {}
    for path, hits in tqdm(recordings, "songs", leave=False):
        with naming(path):
            songs[path.stem] = hits, rises_of(Recording(path).blocks())
    errors: list[float] = []
    medians, moves = [], []
    lost = wrong = 0
    started = time.monotonic()
    for name, (hits, rises) in tqdm(songs.items(), "aligned", leave=False):
        times = np.array([hit.time for hit in hits])
        drums = [hit.label for hit in hits]
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
    add("--draws", type=positive(int), default=3, help="random offsets and drifts for each song (default: %(default)s)")
    add("--seed", type=natural, default=0, help="decides them (default: %(default)s)")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    if not (args.shared / "eval/loops-dev").is_dir():
        raise ValueError(f"no evaluation material in {args.shared}; name its folder with --shared")
    loops, songs = (with_labels(args.shared / "eval" / name) for name in ("loops-dev", "mdb-dev"))
    if len(songs) < 2:
        raise ValueError(f"{args.shared / 'eval/mdb-dev'}: a song alone cannot be taken for another")
    others = {**other_rhythms(args.shared / "music"), "mdb-dev": [path for path, _ in songs]}
    table = Table("what", "value", "aim, or what was accepted")
    for row in floor_figures(loops, others):
        table.add_row(*row)
    for row in manual_figures(songs, args.draws, args.seed):
        table.add_row(*row)
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
