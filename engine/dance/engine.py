"""The engine: reads a source, asks the detector, tells one consumer.

It runs in the calling thread (`Engine.run`) or beside it (`Engine.start`); `dance.ProcessEngine` does the same from
a process of its own.

Contents
--------
Engine
"""

import threading
from collections.abc import Callable
from time import monotonic, perf_counter

import numpy as np

from .base_engine import BaseEngine
from .board import Board
from .detector import Detector
from .errors import SourceError, SpecError
from .events import Event
from .sources import Source

_BLOCK = 4096  # samples read at most at once; a live source hands over what it has, usually much less
_POLL_SECONDS = 0.25  # a silent source is asked again after this, to notice `stop` and `configure`


class Engine(BaseEngine):
    """A source, a detector and one consumer; lives once.

    The consumer is `on_event`, or whoever iterates over `events` or `aevents`, or asks by `poll`; `presence` may be
    polled besides. However it ends, the engine closes its source. As a context manager it starts and stops itself.

    Parameters
    ----------
    source : Source
    detector : Detector
        Of the same sample rate; nobody else may use it meanwhile.
    on_event : callable, optional
        Called with each `Event` where the detector runs, which waits meanwhile (a microphone that is
        more than a second behind skips to the present and counts what it skipped). What it raises stops the engine.
    queue : int
        Events kept for a consumer who iterates or polls. When it is full, a live engine drops the oldest and counts
        it; one that reads a file waits, once there is a consumer.
    board : Board, optional
        Where to note figures and presences; by default in memory of its own.

    Attributes
    ----------
    labels : tuple of str
        What is reported, in the order of `presence`.
    sample_rate : int

    Raises
    ------
    SpecError
        If source and detector differ in their sample rates, or the queue has no room for an event.
    """

    def __init__(
        self,
        source: Source,
        detector: Detector,
        on_event: Callable[[Event], None] | None = None,
        *,
        queue: int = 1024,
        board: Board | None = None,
    ) -> None:
        if source.sample_rate != detector.sample_rate:
            raise SpecError(
                f"the source has {source.sample_rate} samples a second, the detector expects {detector.sample_rate}"
            )
        super().__init__(
            detector.spec,
            detector.labels,
            detector.sample_rate,
            source.live,
            detector.settings,
            board or Board(len(detector.labels)),
            on_event,
            queue,
        )
        self._source, self._detector = source, detector
        self._worker: int | None = None

    def _work(self) -> None:
        self._worker = threading.get_ident()
        source, detector, board = self._source, self._detector, self._board
        block = np.empty(_BLOCK, np.float32)
        samples = lost = 0
        busy = 0.0
        ended = False
        while not ended and not self._stopping.is_set():
            read = source.read(block, _POLL_SECONDS)
            began = perf_counter()
            if not 0 <= read.count <= len(block):
                raise SourceError(f"the source says that it put {read.count} samples where {len(block)} fit")
            settings = self._settings
            if changed := settings is not detector.settings:
                detector.configure(settings)
            if read.lost_before:
                detector.skip(read.lost_before)
            events = detector.process(block[: read.count])
            if ended := read.ended:
                events += detector.flush()
            busy += perf_counter() - began
            samples += read.count
            lost += read.lost_before
            if read.count or read.lost_before or changed or (ended and not self._stopping.is_set()):
                board.reached[:] = monotonic() + self._spec.presence_seconds * detector.log_presence()
            board.note(samples, lost, busy)
            for event in events:
                if self._stopping.is_set():
                    break
                self._deliver(event)

    def _close(self) -> None:
        # A callback or a signal handler stops from within `_work`, which may hold the source's lock and sees by itself
        # that it is to end.
        if threading.get_ident() != self._worker:
            self._source.close()

    def _release(self) -> None:
        self._source.close()
