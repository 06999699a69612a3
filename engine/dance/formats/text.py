"""Lines of text: tables for programs and spreadsheets, label tracks for Audacity.

Contents
--------
write_tsv, write_csv, write_audacity
"""

from pathlib import Path

from ..files import replacing
from ..tables import write_events
from .heard import Heard, beside


def write_tsv(base: Path, heard: Heard) -> list[Path]:
    """Write ``time label velocity confidence reported``, separated by tabs; see `dance.tables`."""
    path = beside(base, ".tsv")
    write_events(path, heard.events)
    return [path]


def write_csv(base: Path, heard: Heard) -> list[Path]:
    """Write the same table, separated by commas (RFC 4180)."""
    path = beside(base, ".csv")
    write_events(path, heard.events, "excel", "\r\n")
    return [path]


def write_audacity(base: Path, heard: Heard) -> list[Path]:
    """Write a label track: start, end and name of each hit, start and end the same."""
    path = beside(base, ".txt")
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for event in heard.by_time:
            print(f"{event.time:.6f}\t{event.time:.6f}\t{event.label}", file=file)
    return [path]
