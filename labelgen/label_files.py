"""Reading label files: MIDI from a DAW, label tracks of editors, lines of time and name; and what their names mean.

Contents
--------
MIDI, LISTS, LARGEST_LIST, LONGEST, Mark, Names, read_map, read_marks, read_lines, meaning, meanings, is_number
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dance.labels import GENERAL_MIDI, LABELS, MDB, ONE_SHOT, OTHER
from labelgen.chunks import NAMES
from labelgen.files import regular_file
from labelgen.midi_files import performance, read_midi
from labelgen.packs import class_of

MIDI = (".mid", ".midi")
LISTS = (".txt", ".tsv", ".csv", ".lab")
LARGEST_LIST = 8 << 20  # bytes of a label file
MOST = 100_000  # labels
LONGEST = 4 * 3600.0  # seconds of a song

Names = Mapping[int | str, str | None]
"""What notes and names mean: a label, or None to leave them out."""


class Mark(NamedTuple):
    """A label as its file has it; velocity 0 where the file has none."""

    time: float
    label: str
    velocity: float


def read_map(text: str) -> dict[int | str, str | None]:
    """Read a note map: JSON, or the name of a file with it, from note numbers or names to labels or null.

    Raises
    ------
    ValueError
        If it is none, or names a label that does not exist.
    """
    path = Path(text)
    try:
        values = json.loads(text if text.lstrip().startswith("{") else path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"--map {text}: neither JSON nor a file with it ({error})") from None
    allowed = (*NAMES, None)
    if not isinstance(values, dict) or not all(value in allowed for value in values.values()):
        raise ValueError(f'--map {text}: not of the form {{"36": "kick", "ghost": "snare", "49": null}}; labels are '
                         f"{', '.join(NAMES)}")  # fmt: skip
    return {int(k) if k.isdecimal() else _plain(k): v for k, v in values.items()}


def read_marks(path: Path, names: Names) -> list[Mark]:
    """Read a label file of any of the kinds that this module knows, by time.

    Raises
    ------
    ValueError
        If it is none, has no drums, or names that nothing explains.
    """
    marks = _from_midi(path, names) if path.suffix.lower() in MIDI else _from_list(path, names)
    if not marks:
        raise ValueError(f"{path.name}: no drums in it")
    if len(marks) > MOST:
        raise ValueError(f"{path.name}: {len(marks)} labels; at most {MOST} are read")
    if not all(abs(mark.time) <= LONGEST for mark in (marks[0], marks[-1])):
        raise ValueError(f"{path.name}: labels at {marks[-1].time / 3600:.1f} hours; is the tempo right?")
    return marks


def _from_midi(path: Path, names: Names) -> list[Mark]:
    try:
        midi = read_midi(path)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if not any(i.is_drum and i.notes for i in midi.instruments):
        for instrument in midi.instruments:
            instrument.is_drum = True
    table: dict[int | str, str | None] = {**GENERAL_MIDI, **names}
    marks = [Mark(h.time, label, h.velocity) for h in performance(midi, names) if (label := table.get(h.note, OTHER))]
    if marks and not any(mark.label in LABELS for mark in marks):
        raise ValueError(f"{path.name}: no note of a drum; name its notes with --map")
    return sorted(marks)


def read_lines(path: Path) -> Iterator[tuple[int, float, list[str]]]:
    """Yield number, time in seconds and the other cells of each line of a list; headers and comments are passed over.

    Cells are separated by tabs, semicolons, commas or spaces; where commas separate none, decimals may have them.

    Raises
    ------
    ValueError
        If it is no list of labels.
    """
    try:
        regular_file(path, LARGEST_LIST)
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path.name}: not a label file ({error})") from None
    begun, whole = False, True
    for number, line in enumerate(lines, 1):
        # Audacity writes a second line, begun by a backslash, for labels with a range of frequencies
        if not line.strip() or line.startswith(("\\", "#")):
            continue
        cells = _cells(line)
        try:
            time = float(cells[0])
            if not np.isfinite(time):
                raise ValueError
        except ValueError:
            if begun:
                raise ValueError(f"{path.name}: line {number} does not begin with a time in seconds") from None
            continue  # a header
        begun = True
        whole = whole and line.count(",") > 1 and cells[0].isdecimal() and cells[1].isdecimal()
        yield number, time, cells[1:]
    if begun and whole:
        raise ValueError(f"{path.name}: commas in numbers, or between them? Separate cells by tabs or semicolons")
    if not begun and any(map(str.strip, lines)):
        raise ValueError(f"{path.name}: no line begins with a time in seconds")


def _cells(line: str) -> list[str]:
    separated = [c.strip().strip('"') for c in re.split(r"[\t;]", line)]
    if len(separated) < 2:
        separated = line.split(maxsplit=1)
    with_points = [re.sub(r"^([-+]?\d+),(\d+)$", r"\1.\2", c) for c in separated]
    if len(separated) > 1 and is_number(with_points[0]) and not separated[1].startswith(","):
        return with_points
    return [c.strip().strip('"') for c in re.split(r"[\t,;]", line)]


def _from_list(path: Path, names: Names) -> list[Mark]:
    marks = []
    unknown: dict[str, int] = {}
    for _, time, cells in read_lines(path):
        words = [c for c in cells if c and not is_number(c)]
        notes = [c for c in cells if c.isdecimal()]
        name = (words or notes or [""])[0]
        # TIME LABEL VELOCITY and perhaps more, as chunks and transcriptions have it
        velocity = float(cells[1]) if len(cells) >= 2 and is_number(cells[1]) and not is_number(cells[0]) else 0.0
        for label in meanings(name, names):
            if label == "":
                unknown[name] = unknown.get(name, 0) + 1
            elif label is not None:
                marks.append(Mark(time, label, velocity if 0 <= velocity <= 1 else 0.0))
    if unknown:
        listed = ", ".join(f"{name or '(nothing)'} ({count} x)" for name, count in sorted(unknown.items())[:8])
        raise ValueError(f"{path.name}: what is {listed}? Say so with --map; null leaves it out")
    return sorted(marks)


def is_number(text: str) -> bool:
    """Return whether a cell holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()


def meaning(name: str, names: Names) -> str | None:
    """Return the label that a name means, "" if nothing tells."""
    if name.isdecimal():  # a note, as MIDI files have them
        return names.get(int(name), "")
    plain = _plain(name)
    if plain in names:
        return names[plain]
    if plain in NAMES:
        return plain
    return MDB.get(name.strip().upper()) or ONE_SHOT.get(class_of(name), "")


def meanings(name: str, names: Names) -> set[str | None]:
    """Return the labels that a name means as `meaning` does: more than one where drums are joined by ``+``, & or /."""
    parts = re.split(r"[+&/]", name)
    each = {meaning(part, names) for part in parts}
    return {meaning(name, names)} if "" in each or _plain(name) in names else each
