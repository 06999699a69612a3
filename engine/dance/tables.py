"""Event lists and label lists as tab-separated text: a header, then one hit a line, times in seconds.

Labels have the columns ``time label velocity``, events ``time label velocity confidence reported``; the
reader goes by the header, so it takes both. Files are written whole or not at all.

Contents
--------
Hit, read_hits, write_events, HEADER, row
"""

import csv
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .errors import SourceError, os_reason
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
                raise ValueError("a time is not a finite number")
            return hits
    except OSError as error:
        raise SourceError(f"{os.fspath(path)}: {os_reason(error)}") from None
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise SourceError(
            f"{os.fspath(path)}: not a table with the tab-separated columns time, label, velocity ({error})"
        ) from None


def write_events(path: Path, events: Iterable[Event], dialect: str = "excel-tab", end: str = "\n") -> None:
    """Write a table of events, by tabs or in another dialect of the module `csv`; it appears when it is whole."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, dialect, lineterminator=end)
        rows.writerow(HEADER)
        rows.writerows(map(row, events))


def row(event: Event) -> tuple[str, ...]:
    """Return an event as cells of a table."""
    reported = event.reported / event.sample_rate
    return f"{event.time:.5f}", event.label, f"{event.velocity:.3f}", f"{event.confidence:.3f}", f"{reported:.5f}"
