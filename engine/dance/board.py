"""An engine's figures and presences, for readers in any thread or process.

Each value is one aligned float64 that one thread writes and any number may read at the same time; nobody waits.

Contents
--------
Board, SIZE, ROOM
"""

import numpy as np
from numpy.typing import NDArray

_FIGURES = 3
SIZE = 512
"""Values that memory given to a `Board` holds: a page."""
ROOM = SIZE - _FIGURES
"""Labels that there is room for."""


class Board:
    """The values, in memory that processes may share.

    A presence is kept as the time at which it would have been 1; this one number fixes all later values: at time t it
    is ``exp((reached - t) / time constant)``.

    Parameters
    ----------
    labels : int
    memory : float64 [SIZE], optional
        By default its own.

    Attributes
    ----------
    reached : float64 [labels]
        By `time.monotonic`, which all processes of a machine share; minus infinity: absent.
    """

    def __init__(self, labels: int, memory: NDArray[np.float64] | None = None) -> None:
        memory = np.zeros(SIZE) if memory is None else memory
        self._figures = memory[:_FIGURES]
        self.reached = memory[_FIGURES : _FIGURES + labels]
        self.reached.fill(-np.inf)

    def note(self, samples: int, lost: int, busy: float) -> None:
        """Write the samples heard and lost so far and the seconds that they took."""
        self._figures[0], self._figures[1], self._figures[2] = samples, lost, busy

    @property
    def samples(self) -> int:
        """Samples heard."""
        return int(self._figures[0])

    @property
    def lost(self) -> int:
        """Samples lost."""
        return int(self._figures[1])

    @property
    def busy(self) -> float:
        """Seconds spent on them."""
        return float(self._figures[2])
