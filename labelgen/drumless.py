"""Chunks from recordings that hold no drums: their labels are known without listening.

Voices, guitars, pianos and speech teach what a drum is not. That the recordings hold no drums is up to the caller; a
manifest (CSV with ``path source licence split``) chooses and names it.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from labelgen.chunks import Chunk, ChunkWriter, chunk_name
from labelgen.files import unreadable
from labelgen.material import read_rows
from labelgen.recordings import RATE, SHORTEST, finite
from labelgen.work import add_work_options, chunk_seconds, run_command, sample_rate


@dataclass(frozen=True)
class Recording:
    """One file and where its chunks go."""

    path: Path
    key: str
    source: str
    licence: str
    split: str
    out: Path
    seconds: float
    sample_rate: int


def cut(recording: Recording) -> list[Chunk]:
    """Cut one recording into chunks without labels."""
    writer = ChunkWriter(recording.out, recording.sample_rate)
    chunks: list[Chunk] = []
    for samples in blocks(recording.path, recording.seconds, recording.sample_rate):
        chunks += writer.write_drumless(
            chunk_name(recording.key, f"{len(chunks):02d}"),
            samples,
            unit=recording.key,
            source=recording.source,
            song=recording.key,
            licence=recording.licence,
            method="drumless",
            split=recording.split,
        )
    return chunks


def blocks(path: Path, seconds: float, sample_rate: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield a recording in mono blocks of `seconds`; the last may be shorter, but not than `SHORTEST`.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    try:
        with sf.SoundFile(os.fsencode(path)) as file:
            while True:
                read = file.read(int(seconds * file.samplerate), dtype="float32", always_2d=True)
                if len(read) < SHORTEST * file.samplerate:
                    return
                yield soxr.resample(finite(read).mean(axis=1), file.samplerate, sample_rate)
    except sf.LibsndfileError as error:
        raise ValueError(unreadable(path, error)) from None


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python labelgen/drumless.py nodrums/manifest.csv --split train --out data/chunks/drumless",
    )
    add = result.add_argument
    add("manifest", type=Path, help="CSV with the columns path, source, licence, split")
    add("--split", help="use only recordings of this split")
    add("--out", type=Path, default=Path("data/chunks/drumless"), help="folder of the set (default: %(default)s)")
    add("--seconds", type=chunk_seconds, default=30.0, help="longest chunk (default: %(default)s)")
    add("--sample-rate", type=sample_rate, default=RATE, help="hertz (default: %(default)s)")
    add_work_options(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        rows = [row for _, row in read_rows(args.manifest, ("path", "source", "licence", "split"))]
        folder = args.manifest.absolute().parent
        jobs = [
            (
                row["path"],
                Recording(
                    folder / row["path"],
                    row["path"],
                    row["source"],
                    row["licence"],
                    row["split"],
                    args.out.absolute(),
                    args.seconds,
                    args.sample_rate,
                ),
            )
            for row in rows
            if args.split in (None, row["split"])
        ]
        # recordings may lie anywhere; a folder that is not there is for its recordings to complain of
        inputs = {args.manifest, *(job.path.parent for _, job in jobs if job.path.parent.is_dir())}
    except (OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    if not jobs:
        print(f"labelgen: {args.manifest} names no recordings of the split {args.split!r}", file=sys.stderr)
        return 2
    return run_command(args, cut, list(dict(jobs).items()), inputs=sorted(inputs))


if __name__ == "__main__":
    sys.exit(main())
