"""Material manifests: which one-shots and MIDI files there are, on what terms, for which split.

A manifest is a CSV with the columns ``path class source licence split`` (others are ignored), paths
relative to its own folder.

Contents
--------
Item, read_manifest
"""

import csv
from pathlib import Path
from typing import NamedTuple


class Item(NamedTuple):
    """One file of the material."""

    path: Path
    cls: str
    source: str
    licence: str
    split: str


def read_manifest(path: Path, split: str | None = None) -> list[Item]:
    """Read the manifest at `path`; `split` keeps only rows of that split.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        missing = {"path", "class", "source", "licence"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: the manifest lacks the columns {', '.join(sorted(missing))}")
        items = [
            Item(path.parent / r["path"], r["class"], r["source"], r["licence"], r.get("split", "") or "") for r in rows
        ]
    return [item for item in items if split in (None, item.split)]
