"""How many samples of a live stream are missing after it stood still, judged by when its blocks arrive.

A block arrives when its samples are there or later, never sooner: over some time, the least lag of the arrivals
behind the count of samples is the stream's own. When blocks stay away and come back, what was held back somewhere
arrives in a burst, and the lag falls to what it was; what was lost never comes, and the lag stays larger by just that.

Contents
--------
Dropouts
"""

import math

_GAP_SECONDS = 0.5  # no block for this long, or for that of three blocks: look what is missing
_JUDGE_SECONDS = 0.25  # a burst is over by then
_FOLLOW_SECONDS = 1.0  # sound card and computer drift apart by less than a sample block in this time


class Dropouts:
    """The clock of a stream; all times in seconds of one clock, `time.monotonic` for instance.

    Parameters
    ----------
    sample_rate : int
    block : int
        Samples that usually arrive at once.
    """

    def __init__(self, sample_rate: int, block: int = 256) -> None:
        self._rate = sample_rate
        self._gap = max(_GAP_SECONDS, 3 * block / sample_rate)
        self._count = 0
        self._last = math.inf
        self._resumed: tuple[float, int] | None = None  # when, and behind how many samples
        self._usual = self._least = math.inf  # lags: of the time before, and since
        self._follow = 0.0

    def arrived(self, count: int, now: float) -> None:
        """Note a block; the writer's thread."""
        if now - self._last > self._gap:
            self._usual, self._least = min(self._usual, self._least), math.inf
            self._resumed = now, self._count
        self._last = now
        self._count += count
        self._least = min(self._least, now - self._count / self._rate)

    def before(self, position: int) -> int | None:
        """Return how many samples from `position` on came before the gap; the reader's thread.

        None where no gap is left to be judged. Of several it is the last, where `missing` tells all of them together.
        """
        resumed = self._resumed
        return None if resumed is None else max(resumed[1] - position, 0)

    def undecided(self, now: float) -> float:
        """Return for how many seconds samples behind the gap should be left where they are; the reader's thread."""
        resumed = self._resumed
        return 0.0 if resumed is None else max(resumed[0] + _JUDGE_SECONDS - now, 0.0)

    def missing(self, now: float) -> int:
        """Return how many samples are missing in the gap, once; the reader's thread, when it has come to the gap."""
        least = self._least
        if self.undecided(now):  # a block came since the reader asked: too soon to judge
            return 0
        if self._resumed is not None:
            self._resumed = None
            missing = max(round((least - self._usual) * self._rate), 0)
            self._usual = least
            return missing
        if now >= self._follow:
            self._follow = now + _FOLLOW_SECONDS
            if least < math.inf:
                self._usual, self._least = least, math.inf
        return 0
