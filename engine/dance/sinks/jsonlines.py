"""A line of JSON per hit, for other programs to read.

Contents
--------
JsonLines, fields
"""

import json
import sys
from typing import TextIO

from ..events import Event


class JsonLines:
    """Writes a line of JSON per hit, such as ``{"label":"kick","velocity":0.83,...}``; see `fields`.

    Parameters
    ----------
    stream : text file, optional
        Standard output by default. It is flushed after each line, and left open. What a failed write may have left of
        a line is ended before the next one, by a line that may be empty.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._torn = False

    def __call__(self, event: Event) -> None:
        """Write a line."""
        start, self._torn = "\n" if self._torn else "", True
        self._stream.write(f"{start}{json.dumps(fields(event), separators=(',', ':'))}\n")
        self._stream.flush()
        self._torn = False

    def __str__(self) -> str:
        return "JSON lines"


def fields(event: Event) -> dict[str, str | float]:
    """Return what programs are told of a hit: label, velocity and confidence (0..1), time and delay (seconds)."""
    return {
        "label": event.label,
        "velocity": round(event.velocity, 3),
        "confidence": round(event.confidence, 3),
        "time": round(event.time, 5),
        "delay": round(event.delay, 5),
    }
