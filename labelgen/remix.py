"""New chunks from old ones: the drums of one set over the backing of another.

Drummers over recordings of real music without drums are as near to labelled records as rendering comes:
thresholds are best chosen on such mixes. Drum chunks shorter than ``--least`` are passed over, backings
are repeated as long as the drums last.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf

from dance.commands.arguments import level, natural, within
from labelgen.chunks import Chunk, ChunkWriter, Manifest, digest, read_labels
from labelgen.effects import BALANCE_DB, mix
from labelgen.work import add_work_options, run_command


@dataclass(frozen=True)
class Pair:
    """A drum chunk, the backing chosen for it, and where they lie."""

    drums: Chunk
    backing: Chunk
    folders: tuple[Path, Path]
    out: Path
    seed: int
    balance_db: float = BALANCE_DB


def remix(pair: Pair) -> list[Chunk]:
    """Mix one pair at a balance that the seed decides."""
    drums, rate = sf.read(pair.folders[0] / f"{pair.drums.name}.drums.flac", dtype="float32")
    backing, other = sf.read(pair.folders[1] / f"{pair.backing.name}.backing.flac", dtype="float32")
    if rate != other:
        raise ValueError(f"the sets have {rate} and {other} samples a second")
    rng = np.random.default_rng([pair.seed, digest(pair.drums.name)])
    backing = np.resize(np.roll(backing, -int(rng.integers(len(backing)))), len(drums))
    both, balance = mix(drums, backing, rate, rng, pair.balance_db)
    labels = read_labels(pair.folders[0] / f"{pair.drums.name}.tsv")
    ChunkWriter(pair.out, rate).write(pair.drums.name, {"": both}, labels)
    terms = f"{pair.drums.licence}; {pair.backing.licence}".split("; ")
    licence = "; ".join(sorted({*terms} - {""}))
    details = {**pair.drums.details, "backing": pair.backing.song, "balance_db": round(balance, 2)}
    return [
        replace(
            pair.drums,
            unit=pair.drums.name,
            method=f"{pair.drums.method}, remix",
            licence=licence,
            stems=(),
            seed=pair.seed,
            details=details,
        )
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python labelgen/remix.py data/chunks/test-gmd data/chunks/test-drumless "
        "--out data/chunks/test-remix",
    )
    add = result.add_argument
    add("drums", type=Path, help="set whose chunks have a drums stem")
    add("backing", type=Path, help="set whose chunks have a backing stem")
    add("--out", type=Path, default=Path("data/chunks/remix"), help="folder of the new set (default: %(default)s)")
    add("--balance", type=level, default=BALANCE_DB, metavar="DB",
        help="mean level of the drums over the backing; records have about -5 (default: %(default)s)")  # fmt: skip
    add(
        "--least",
        type=within(float, 0),
        default=5.0,
        help="leave out drum chunks shorter than this many seconds (default: %(default)s)",
    )
    add("--seed", type=natural, default=0, help="decides the pairs and their balance (default: %(default)s)")
    add_work_options(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        if args.out.resolve() in (args.drums.resolve(), args.backing.resolve()):
            raise ValueError(f"{args.out} would be read and written; choose another --out")
        drums = [c for c in Manifest(args.drums).chunks() if "drums" in c.stems and c.seconds >= args.least]
        backings = [c for c in Manifest(args.backing).chunks() if "backing" in c.stems]
        for folder, stem, chunks in ((args.drums, "drums", drums), (args.backing, "backing", backings)):
            if not chunks:
                raise ValueError(f"{folder}: no chunks with a stem of {stem}; labelgen/midi.py --stems makes some")
    except (OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    drums.sort(key=lambda chunk: chunk.name)
    backings.sort(key=lambda chunk: chunk.name)
    order = np.random.default_rng(args.seed).permutation(max(len(drums), len(backings)))
    folders = (args.drums.absolute(), args.backing.absolute())
    jobs = [
        (
            chunk.name,
            Pair(chunk, backings[order[i] % len(backings)], folders, args.out.absolute(), args.seed, args.balance),
        )
        for i, chunk in enumerate(drums)
    ]
    return run_command(args, remix, jobs, inputs=(args.drums, args.backing))


if __name__ == "__main__":
    sys.exit(main())
