"""Material manifests: which one-shots and MIDI files there are, on what terms, for which split.

A manifest is a CSV with the columns ``path class source licence split`` (others are ignored), paths
relative to its own folder. Classes are those of `dance.labels.ONE_SHOT`; those of MIDI files begin with ``midi``. What
is known to have another class than a manifest says is read as what it is, or left out.

Contents
--------
Item, MISTAKEN, read_manifest, read_rows
"""

import csv
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from dance.labels import ONE_SHOT


class Item(NamedTuple):
    """One file of the material."""

    path: Path
    cls: str
    source: str
    licence: str
    split: str


MISTAKEN = (
    # side-sticks beside the hits of the same snare drums: half of the body, twice the click
    ("frankensnare:*", "*_ss_*", "rim"),
    # snares without wires sound as toms do
    ("hydrogen:ForzeeStereo", "*_SnareOff*", ""),
    ("hydrogen:BJA_Pacific", "*_SN4_*", ""),
    # rimshots, which are hits of a snare drum; these kits have side-sticks as well
    ("hydrogen:GMRockKit", "*_SnareRimshot-*", "snare"),
    ("hydrogen:ForzeeStereo", "*_SnareRim-*", "snare"),
    # several strokes: drags, rolls, flams whose main stroke comes 140 ms late
    ("hydrogen:BJA_Pacific", "*_SN3_*", ""),
    ("hydrogen:Millo_MultiLayered3", "*_sr_*", ""),
    ("hydrogen:The Black Pearl 1.0", "*Flink-*", ""),
    # nothing bright before 50 ms; played backwards; swirls of brushes; backwards again
    ("hydrogen:The Black Pearl 1.0", "*HatChoke-*", ""),
    ("foxdot-snd", "7_bb_openhihat*", ""),
    ("soundfont_*Brush*", "*_40_*", ""),
    ("soundfont_*:024_Electronic", "note_052_*", ""),
    # finger snaps, which all other packs call percussion
    ("foxdot-snd", "snap_*", "perc"),
    # a clipped tone, and no tom
    ("lmms-drumsynth:misc", "*_tomita_*", ""),
)
"""Source and file name (shell patterns) of one-shots that are not what manifests call them, and their true class.

Empty: left out, being no single hit of one drum. Side-sticks taught as snares, and rimshots as what no snare is, cost
detectors their best-known confusion.
"""


def _class_of(source: str, name: str, given: str) -> str:
    return next((cls for s, n, cls in MISTAKEN if fnmatchcase(source, s) and fnmatchcase(name, n)), given)


def read_rows(path: Path, needed: Collection[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of a CSV, each after its place, for messages.

    Raises
    ------
    ValueError
        If a column or a cell of those `needed` is missing, with its line.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as table:
        rows = csv.DictReader(table)
        missing = set(needed) - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: the manifest lacks the columns {', '.join(sorted(missing))}")
        for row in rows:
            place = f"{path}: line {rows.line_num}"
            if short := [name for name in needed if row[name] is None]:
                raise ValueError(f"{place} ends before the columns {', '.join(short)}")
            yield place, row


def read_manifest(path: Path, split: str | None = None) -> list[Item]:
    """Read the manifest at `path`; `split` keeps only rows of that split.

    Raises
    ------
    ValueError
        If a column or a cell is missing, or a class is none, with its line.
    """
    items = []
    for place, row in read_rows(path, ("path", "class", "source", "licence")):
        file = path.parent / row["path"]
        if cls := _class_of(row["source"], file.name, row["class"]):
            if cls not in ONE_SHOT and not cls.startswith("midi") and file.suffix != ".mid":
                raise ValueError(f"{place}: not a class of a one-shot: {cls!r}; there are {', '.join(ONE_SHOT)}")
            items.append(Item(file, cls, row["source"], row["licence"], row.get("split") or ""))
    return [item for item in items if split in (None, item.split)]
