"""List what a run learned from, with licences, as Markdown for its model card.

Reads the chunk sets that the run's configuration names, and the material manifests for the licence of
each source. A source that no manifest names is listed as unknown. A remix is listed under the source of its drums, with
the terms of both parts; of the backing, the set keeps only the name of the song.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from labelgen.chunks import Chunk, chunks_of
from labelgen.material import read_rows


def licences(manifests: Iterable[Path]) -> dict[str, str]:
    """Return the licence of each source that the manifests name."""
    result: dict[str, set[str]] = defaultdict(set)
    for path in manifests:
        for _, row in read_rows(path, ("source", "licence")):
            result[row["source"]].add(row["licence"])
    return {source: ", ".join(sorted(names)) for source, names in result.items()}


LONG = 0.1  # hours: shorter recordings share a row with others of their licence


def sounds_of(chunk: Chunk) -> set[str]:
    """Return the one-shots' sources and the soundfonts that a chunk sounds with."""
    about = chunk.details
    return {*(about.get("kit") or {}).values(), *about.get("sounds", ()), *about.get("soundfonts", ())}


def tables(chunks: Sequence[Chunk], known: dict[str, str]) -> str:
    """Return two tables: songs and recordings by hours, short ones together; one-shots and soundfonts by licence."""
    hours: dict[tuple[str, str], float] = defaultdict(float)
    sounds: dict[str, int] = defaultdict(int)
    own: dict[str, set[str]] = defaultdict(set)  # what chunks say themselves, where no manifest knows their source
    for chunk in chunks:
        own[chunk.source] |= set(chunk.licence.split("; ")) - {""}
        hours[chunk.source, chunk.method] += chunk.seconds / 3600
        for source in sounds_of(chunk):
            sounds[source] += 1
    lines = ["| songs and recordings | labels by | hours | licence |", "| --- | --- | --- | --- |"]
    short: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for (source, method), time in sorted(hours.items(), key=lambda item: -item[1]):
        licence = known.get(source) or ", ".join(sorted(own[source])) or "unknown"
        if time < LONG:
            short[licence, method][source] = time
        else:
            lines.append(f"| {source} | {method} | {time:.2f} | {licence} |")
    for (licence, method), times in sorted(short.items()):
        lines.append(f"| {'; '.join(sorted(times))} | {method} | {sum(times.values()):.2f} | {licence} |")
    lines += ["", "| licence | one-shots and soundfonts (chunks that sound with them) |", "| --- | --- |"]
    shelves: dict[str, list[str]] = defaultdict(list)
    for source, count in sorted(sounds.items()):
        shelves[known.get(source, "unknown")].append(f"{source} ({count})")
    lines += [f"| {licence} | {', '.join(names)} |" for licence, names in sorted(shelves.items())]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python training/provenance.py checkpoints/first --manifests packs/manifest.csv",
    )
    add = result.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folders of training/train.py, each with its config.json")
    add("--manifests", nargs="+", type=Path, default=[], metavar="CSV", help="with columns source and licence")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        configs = [json.loads((run / "config.json").read_text(encoding="utf-8")) for run in args.runs]
        folders = dict.fromkeys(folder for config in configs for folder in config["train"])
        advice = "run this where the sets of the run still are"
        chunks = [chunk for folder in folders for chunk in chunks_of(Path(folder), advice)]
        print(tables(chunks, licences(args.manifests)))
    except (OSError, ValueError, KeyError) as error:
        print(f"provenance: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
