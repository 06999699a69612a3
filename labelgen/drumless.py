"""Chunks from recordings that hold no drums: their labels are known without listening.

Voices, guitars, pianos and speech teach what a drum is not. The caller vouches for the material; a
manifest (CSV with ``path kind source licence split``) chooses and names it.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile as sf
import soxr

from labelgen.chunks import Chunk, ChunkWriter, chunk_name
from labelgen.material import read_rows
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
    with sf.SoundFile(recording.path) as file:
        while True:
            block = file.read(int(recording.seconds * file.samplerate), dtype="float32", always_2d=True)
            if len(block) < file.samplerate:
                break
            audio = soxr.resample(block.mean(axis=1), file.samplerate, recording.sample_rate)
            chunks += writer.write_drumless(
                chunk_name(recording.key, f"{len(chunks):02d}"),
                audio,
                unit=recording.key,
                source=recording.source,
                song=recording.key,
                licence=recording.licence,
                method="drumless",
                split=recording.split,
            )
    return chunks


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
    add("--out", type=Path, default=Path("data/chunks/drumless"), help="folder of the set (%(default)s)")
    add("--seconds", type=chunk_seconds, default=30.0, help="longest chunk (default: %(default)s)")
    add("--sample-rate", type=sample_rate, default=44100, help="hertz (default: %(default)s)")
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
    except (OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    if not jobs:
        print(f"labelgen: {args.manifest} names no recordings of the split {args.split!r}", file=sys.stderr)
        return 2
    return run_command(args, cut, list(dict(jobs).items()))


if __name__ == "__main__":
    sys.exit(main())
