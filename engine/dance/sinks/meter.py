"""A live meter per drum on a terminal, drawn with rich.

Contents
--------
Meter
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..base_engine import Stats
from ..colours import colour
from ..events import Event

_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Meter:
    """Bars that jump at a hit and sink, with what was heard beside them.

    It is a sink (call it with each event, from any thread) that somebody has to `draw` regularly.

    Parameters
    ----------
    labels : sequence of str
        In the order of the values given to `draw`.
    title : str
    """

    def __init__(self, labels: Sequence[str], title: str) -> None:
        self._labels = labels
        self._title = title
        self._counts = dict.fromkeys(labels, 0)
        self._velocities = dict.fromkeys(labels, 0.0)
        self._live = Live(auto_refresh=False)

    def __call__(self, event: Event) -> None:
        """Note a hit of a drum that is shown."""
        if event.label not in self._counts:
            return
        self._counts[event.label] += 1
        self._velocities[event.label] = event.velocity

    def draw(self, presence: NDArray[np.float32], stats: Stats) -> None:
        """Show `presence`, one value 0..1 per label, and the figures."""
        table = Table.grid(padding=(0, 1))
        for i, label in enumerate(self._labels):
            count = self._counts[label]
            table.add_row(
                Text(f"{label:>8}", "bold" if presence[i] > 0.1 else ""),
                Text(_bar(float(presence[i])), colour(label)),
                Text(f"{self._velocities[label]:.2f}" if count else "", "dim"),
                Text(f"{count:>5}" if count else ""),
            )
        foot = f"{stats.seconds:8.1f} s   {stats.events} hits   {stats.lost} samples lost"
        self._live.update(Group(Text(f"{'':8} {self._title}", "dim"), table, Text(foot, "dim")), refresh=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)


def _bar(value: float) -> str:
    """Return a bar of eighths of a character, `_WIDTH` characters long at 1."""
    eighths = round(8 * _WIDTH * min(max(value, 0.0), 1.0))
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).ljust(_WIDTH)[:_WIDTH]
