"""The one table of formats.

Contents
--------
Format, FORMATS, writers
"""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..errors import SpecError, install
from . import jams, midi, sonic_visualiser, text
from .heard import Heard

Writer = Callable[[Path, Heard], list[Path]]
"""Writes what was heard beside a path without suffix, each file whole or not at all; returns the files."""


class Format(NamedTuple):
    """A kind of file: what it is for, how its names end, what it needs, and who writes it."""

    purpose: str
    ending: str
    needs: str
    extra: str
    write: Writer


FORMATS = {
    "tsv": Format("tab-separated table", ".tsv", "", "", text.write_tsv),
    "csv": Format("comma-separated table", ".csv", "", "", text.write_csv),
    "midi": Format("General MIDI drum track", ".mid", "mido", "midi", midi.write),
    "jams": Format("JAMS annotation", ".jams", "jams", "jams", jams.write),
    "audacity": Format("label track", ".txt", "", "", text.write_audacity),
    "sv": Format("Sonic Visualiser layers, one for each drum", ".{label}.svl", "", "", sonic_visualiser.write),
}


def writers(names: Iterable[str]) -> list[Writer]:
    """Return the writers of the formats named, each once.

    Raises
    ------
    SpecError
        If there is no such format, or it needs a library that is missing.
    """
    found = []
    for name in dict.fromkeys(names):
        if name not in FORMATS:
            raise SpecError(f"no format {name!r}; there are {', '.join(FORMATS)}")
        form = FORMATS[name]
        if form.needs and find_spec(form.needs) is None:
            raise SpecError(f"{name} needs {form.needs}: {install(form.extra)}")
        found.append(form.write)
    return found
