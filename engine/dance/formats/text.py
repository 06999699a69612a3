"""Lines of text: tables for programs and spreadsheets, label tracks for Audacity.

Contents
--------
write_tsv, write_csv, write_audacity
"""

from collections.abc import Sequence
from pathlib import Path

from ..files import replacing
from ..tables import write_events
from .heard import Heard


def write_tsv(paths: Sequence[Path], heard: Heard) -> None:
    """Write ``time label velocity confidence reported``, separated by tabs; see `dance.tables`."""
    (path,) = paths
    write_events(path, heard.events)


def write_csv(paths: Sequence[Path], heard: Heard) -> None:
    """Write the same table, separated by commas (RFC 4180)."""
    (path,) = paths
    write_events(path, heard.events, "excel", "\r\n")


def write_audacity(paths: Sequence[Path], heard: Heard) -> None:
    """Write a label track: start, end and name of each hit, start and end the same."""
    (path,) = paths
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for event in heard.by_time:
            print(f"{event.time:.6f}\t{event.time:.6f}\t{event.label}", file=file)
