"""The one table of formats.

Contents
--------
Format, FORMATS, Writer, writers
"""

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..errors import SpecError, install
from . import jams, midi, sonic_visualiser, text
from .heard import Heard, beside

Writer = Callable[[Path, Heard], list[Path]]
"""Writes what was heard beside a path without suffix, each file whole or not at all; returns the files."""

_EACH = "{label}"  # in an ending: there is a file for each label


class Format(NamedTuple):
    """A kind of file.

    Attributes
    ----------
    purpose : str
    ending : str
        How names of files end; with ``{label}`` in it there is one file for each label.
    needs, extra : str
        The library that it needs, if any, and the extra that installs it.
    fill : callable
        Writes what was heard to the `paths`.
    """

    purpose: str
    ending: str
    needs: str
    extra: str
    fill: Callable[[Sequence[Path], Heard], None]

    def paths(self, base: Path, labels: Sequence[str]) -> list[Path]:
        """Return the files that `write` makes for these labels beside `base`, a path without suffix."""
        endings = [self.ending.replace(_EACH, label) for label in labels] if _EACH in self.ending else [self.ending]
        return [beside(base, ending) for ending in endings]

    def write(self, base: Path, heard: Heard) -> list[Path]:
        """Write what was heard to the `paths`, and return them; a `Writer`."""
        paths = self.paths(base, heard.labels)
        self.fill(paths, heard)
        return paths


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
    found: list[Writer] = []
    for name in dict.fromkeys(names):
        if name not in FORMATS:
            raise SpecError(f"no format {name!r}; there are {', '.join(FORMATS)}")
        form = FORMATS[name]
        if form.needs and find_spec(form.needs) is None:
            raise SpecError(f"{name} needs {form.needs}: {install(form.extra)}")
        found.append(form.write)
    return found
