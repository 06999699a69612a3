"""List what a run learned from, with licences, as Markdown for its model card.

Reads the chunk sets that the run's configuration names, and the material manifests for the licence of
each source. What no manifest names is listed as unknown, so that nothing goes unsaid.
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from labelgen.chunks import Chunk, Manifest


def licences(manifests: Iterable[Path]) -> dict[str, str]:
    """Return the licence of each source that the manifests name."""
    result: dict[str, set[str]] = defaultdict(set)
    for path in manifests:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                result[row["source"]].add(row["licence"])
    return {source: ", ".join(sorted(names)) for source, names in result.items()}


def tables(chunks: Sequence[Chunk], known: dict[str, str]) -> str:
    """Return two tables: songs and recordings by hours, one-shots and soundfonts by chunks."""
    hours: dict[tuple[str, str], float] = defaultdict(float)
    sounds: dict[str, int] = defaultdict(int)
    for chunk in chunks:
        hours[chunk.source, chunk.method] += chunk.seconds / 3600
        kit = chunk.details.get("kit") or {}
        for source in {*kit.values(), *chunk.details.get("soundfonts", ())}:
            sounds[source] += 1
    lines = ["| songs and recordings | labels by | hours | licence |", "| --- | --- | --- | --- |"]
    for (source, method), time in sorted(hours.items(), key=lambda item: -item[1]):
        lines.append(f"| {source} | {method} | {time:.2f} | {known.get(source, 'unknown')} |")
    lines += ["", "| one-shots and soundfonts | chunks | licence |", "| --- | --- | --- |"]
    for source, count in sorted(sounds.items(), key=lambda item: (known.get(item[0], "unknown"), item[0])):
        lines.append(f"| {source} | {count} | {known.get(source, 'unknown')} |")
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
        chunks = [chunk for folder in folders for chunk in Manifest(Path(folder)).chunks()]
        print(tables(chunks, licences(args.manifests)))
    except (OSError, ValueError, KeyError) as error:
        print(f"provenance: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
