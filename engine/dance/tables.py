"""Event lists and label lists as tab-separated text: a header, then one hit a line, times in seconds.

Labels have the columns ``time label velocity``, events ``time label velocity confidence reported``; the
reader goes by the header, so it takes both. Files are written whole or not at all.

Contents
--------
Hit, read_hits, event_writer, HEADER, row
"""

import contextlib
import csv
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .errors import SourceError
from .events import Event
from .files import replacing

HEADER = ("time", "label", "velocity", "confidence", "reported")
"""Columns of events; what `row` returns."""


class Hit(NamedTuple):
    """One hit as somebody labelled it: `time` in seconds, `velocity` 0..1."""

    time: float
    label: str
    velocity: float


def read_hits(path: str | os.PathLike[str]) -> list[Hit]:
    """Read labels or events, sorted by time.

    Raises
    ------
    SourceError
        If the file cannot be read or is no such table.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:  # spreadsheets put a mark before the text
            rows = csv.DictReader(file, delimiter="\t")
            hits = sorted(Hit(float(row["time"]), row["label"], float(row["velocity"])) for row in rows)
            if not all(math.isfinite(hit.time) for hit in hits):
                raise ValueError("a time is no number")
            return hits
    except OSError as error:
        raise SourceError(f"{os.fspath(path)}: {error.strerror}") from None
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise SourceError(
            f"{os.fspath(path)}: no table with the tab-separated columns time, label, velocity ({error})"
        ) from None


@contextlib.contextmanager
def event_writer(path: Path) -> Iterator[Callable[[Event], None]]:
    """Give a function that writes one event; the file appears when all went well."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        print(*HEADER, sep="\t", file=file)
        yield lambda event: print(*row(event), sep="\t", file=file)


def row(event: Event) -> tuple[str, ...]:
    """Return an event as cells of a table."""
    reported = event.reported / event.sample_rate
    return f"{event.time:.5f}", event.label, f"{event.velocity:.3f}", f"{event.confidence:.3f}", f"{reported:.5f}"
