"""A thread of its own before a sink, so that a slow or broken one delays neither the engine nor the other sinks.

Contents
--------
Sink, Outlet
"""

import math
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Self

from ..errors import AbsentError, DanceError, SpecError, os_reason
from ..events import Event

Sink = Callable[[Event], object]

_AGAIN_SECONDS = 1.0  # a sink whose `pulse` failed is asked again after this
_QUIET_SECONDS = 60.0  # after a failure was told, until another one is
_MOST_HELD = 1 << 16  # hits that a delay may hold back: an hour of 18 a second


class Outlet:
    """Takes events at once, and tells them to a sink from a thread of its own; a context manager.

    A sink may have two more methods, called from that thread, too: ``pulse() -> float | None`` does what is due
    besides hits (a note's end, a frame of a stream) and returns in how many seconds it wants to be asked again, None
    for "after the next hit"; it is asked at the start and after each hit. ``close()`` is the last that is called.

    When the sink raises `OSError` or `DanceError`, it has missed a hit; the next one is tried all the same. Anything
    else is a bug: the rest is told all the same, and `close` raises it.

    Parameters
    ----------
    sink : callable
        Called with each `Event`. It belongs to this outlet now.
    name : str, optional
        The sink in words, for reports; by default what it calls itself.
    queue : int
        Hits whose time has come that may wait, 1 or more. When one more comes, the oldest is missed.
    delay : float
        Seconds for which each hit is held back, for pictures that would be earlier than the sound in the room.
    patience : float
        Seconds that `close` waits for a sink that has not taken everything yet.
    on_problem : callable, optional
        Called with a line of text when the sink fails, and when it then takes a hit again; with another failure not
        before a minute has passed, and with no `AbsentError`, of which `Later` tells. It is called from the outlet's
        thread; what it raises, `close` raises.

    Attributes
    ----------
    name : str
    told : int
        Hits that the sink took.
    missed : int
        Hits that it did not get or did not take.
    problem : Exception or None
        The last failure.

    Raises
    ------
    SpecError
        If the queue has no room for a hit.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        name: str | None = None,
        queue: int = 256,
        delay: float = 0.0,
        patience: float = 1.0,
        on_problem: Callable[[str], object] | None = None,
    ) -> None:
        if queue < 1:
            raise SpecError(f"a queue needs room for 1 hit or more, not {queue}")
        self.name = name or getattr(sink, "__name__", None) or str(sink)
        self.told = self.missed = 0
        self.problem: Exception | None = None
        self._sink, self._size, self._delay, self._patience = sink, queue, delay, patience
        self._pulse: Callable[[], float | None] = getattr(sink, "pulse", lambda: None)
        self._on_problem = on_problem
        self._outage: int | None = None  # hits missed before it began; None while the sink works
        self._outage_told = False
        self._quiet_until = 0.0
        self._bug: Exception | None = None
        self._waiting: deque[tuple[float, Event]] = deque()
        self._busy = False  # with a hit that is neither told nor missed yet
        self._closing = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"dance {self.name}", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Take a hit; never waits."""
        with self._change:
            if self._closing:
                self.missed += 1
                return
            now = monotonic()
            while self._full(now):
                self._waiting.popleft()
                self.missed += 1
            self._waiting.append((now + self._delay, event))
            self._change.notify()

    def close(self) -> None:
        """Take nothing more, give the sink a moment for what waits, and end; raises what was a bug in the sink."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join(self._patience)
        with self._change:
            self.missed += len(self._waiting) + self._busy
            self._waiting.clear()
            self._busy = False
        bug, self._bug = self._bug, None
        if bug:
            raise bug

    def report(self) -> str | None:
        """Return a line about what was missed and why; None if nothing was."""
        if not self.missed:
            return None
        why = f" ({_words(self.problem)})" if self.problem else " (too slow)"
        return f"{self.name} missed {self.missed} of {self.told + self.missed} hits{why}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _full(self, now: float) -> bool:
        """Whether the oldest hit has to go; hits that are held back do not count as waiting for the sink."""
        count = len(self._waiting)
        due = count >= self._size and self._waiting[self._size - 1][0] <= now
        return due or count >= max(self._size, _MOST_HELD)

    def _work(self) -> None:
        due = self._run_pulse()
        while not self._ended(due):
            if event := self._take():
                self._tell(event)
            due = self._run_pulse()
        try:
            getattr(self._sink, "close", lambda: None)()
        except Exception as error:
            self._fail(error)

    def _ended(self, due: float) -> bool:
        """Wait until there is something to do, at `due` for the pulse or before for a hit; True at the end."""
        with self._change:
            while True:
                if self._closing:
                    return not self._waiting
                hit = self._waiting[0][0] if self._waiting else math.inf
                wait = min(due, hit) - monotonic()
                if wait <= 0:
                    return False
                self._change.wait(None if wait == math.inf else wait)

    def _take(self) -> Event | None:
        """Return the next hit if its time has come; at the end nothing is held back any more."""
        with self._change:
            if self._waiting and (self._closing or self._waiting[0][0] <= monotonic()):
                self._busy = True
                return self._waiting.popleft()[1]
        return None

    def _tell(self, event: Event) -> None:
        done = True
        try:
            self._sink(event)
        except Exception as error:
            self._fail(error)
            done = False
        else:
            self._recover()
        with self._change:
            if self._busy:  # else `close` has lost patience and counted it
                self.told += done
                self.missed += not done
            self._busy = False

    def _run_pulse(self) -> float:
        """Call the sink's `pulse`; return the time at which it wants to be called again."""
        try:
            wait = self._pulse()
        except Exception as error:
            self._fail(error)
            wait = _AGAIN_SECONDS
        return math.inf if wait is None else monotonic() + wait

    def _fail(self, error: Exception) -> None:
        self.problem = error
        if not isinstance(error, OSError | DanceError):
            self._bug = self._bug or error
        if isinstance(error, AbsentError):
            return
        if self._outage is None:
            self._outage = self.missed
        now = monotonic()
        if not self._outage_told and now >= self._quiet_until:
            self._outage_told, self._quiet_until = True, now + _QUIET_SECONDS
            self._say(f"{self.name}: {_words(error)}; everything else goes on, and this is tried again")

    def _recover(self) -> None:
        missed = self.missed - (self._outage or 0)
        if self._outage_told:
            self._say(f"{self.name} works again; {missed} {'hit was' if missed == 1 else 'hits were'} missed")
        self._outage, self._outage_told = None, False

    def _say(self, line: str) -> None:
        try:
            if self._on_problem:
                self._on_problem(line)
        except Exception as error:  # a terminal may be gone; the sink needs its next hits and its end all the same
            self._bug = self._bug or error


def _words(error: Exception) -> str:
    return os_reason(error) or type(error).__name__
