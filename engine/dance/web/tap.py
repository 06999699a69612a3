"""A source that passes on what another one brings, and notes how loud it was and when it came.

Contents
--------
Tap, Level, CLIP
"""

import math
from collections import deque
from dataclasses import dataclass
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from ..sources import Read, Source

CLIP = 0.999
"""From here on a sample counts as clipped: the largest of 16 bits is 0.99997."""

_KEPT = 1024  # levels kept for a reader who is late: five seconds of blocks of 256


@dataclass(frozen=True, slots=True)
class Level:
    """What a block of samples was like: its largest magnitude, and how many samples were clipped."""

    peak: float
    clipped: int


class Tap(Source):
    """A source between a source and its engine; costs a few microseconds a block and never waits.

    Parameters
    ----------
    source : Source

    Attributes
    ----------
    position : int
        Samples of the stream so far, lost ones included.
    arrived : float
        When the last of them were handed over, by `time.monotonic`.
    """

    def __init__(self, source: Source) -> None:
        self.sample_rate, self.live = source.sample_rate, source.live
        self.position = 0
        self.arrived = monotonic()
        self._source = source
        self._levels: deque[Level] = deque(maxlen=_KEPT)

    def read(self, out: NDArray[np.float32], timeout: float) -> Read:
        """Take samples; see `Source.read`."""
        read = self._source.read(out, timeout)
        self.arrived = monotonic()
        self.position += read.lost_before + read.count
        if read.count:
            self._levels.append(_level(out[: read.count]))
        return read

    def close(self) -> None:
        """Close the source; see `Source.close`."""
        self._source.close()

    def level(self) -> Level:
        """Return the level since the last call; for one reader, in any thread."""
        peak, clipped = 0.0, 0
        while self._levels:
            level = self._levels.popleft()
            peak, clipped = max(peak, level.peak), clipped + level.clipped
        return Level(peak, clipped)


def _level(samples: NDArray[np.float32]) -> Level:
    magnitudes = np.abs(samples)
    peak = float(magnitudes.max())
    if not math.isfinite(peak):  # the detector takes what is no number for silence, and so do we
        magnitudes = magnitudes[np.isfinite(magnitudes)]
        peak = float(magnitudes.max(initial=0))
    return Level(peak, int(np.count_nonzero(magnitudes >= CLIP)) if peak >= CLIP else 0)
