"""The engine: reads a source, asks the detector, tells one consumer.

It runs in the calling thread (`Engine.run`) or beside it (`Engine.start`). What a consumer gets are immutable
events and copied arrays, so that the detector may one day live in a process of its own.

Contents
--------
Engine, Stats
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .detector import Detector
from .errors import SpecError
from .events import Event
from .sources import Source

_BLOCK = 4096  # samples read at most at once; a live source hands over what it has, usually much less
_POLL_SECONDS = 0.25  # a silent source is asked again after this, to notice `stop`


@dataclass(frozen=True, slots=True)
class Stats:
    """What an engine has done so far.

    Attributes
    ----------
    sample_rate : int
    samples : int
        Samples heard.
    lost : int
        Samples that the source lost because the engine was late; the clock counts them.
    events : int
    dropped : int
        Events that the queue lost because the iterating consumer was late.
    busy : float
        Seconds spent in the detector.
    """

    sample_rate: int
    samples: int = 0
    lost: int = 0
    events: int = 0
    dropped: int = 0
    busy: float = 0.0

    @property
    def seconds(self) -> float:
        """Length of the stream so far, lost samples included."""
        return (self.samples + self.lost) / self.sample_rate


class Engine:
    """A source, a detector and one consumer; lives once.

    The consumer is `on_event`, or whoever iterates over `events` or `aevents`; `presence` may be polled
    besides. However it ends, the engine closes its source. As a context manager it starts and stops itself.

    Parameters
    ----------
    source : Source
    detector : Detector
        Of the same sample rate; nobody else may use it meanwhile.
    on_event : callable, optional
        Called with each `Event` where the detector runs, which waits meanwhile (a live source keeps a few
        seconds, then loses samples and counts them). What it raises stops the engine.
    queue : int
        Events kept for an iterating consumer. When it is full, a live engine drops the oldest and counts it;
        one that reads a file waits.
    """

    def __init__(
        self,
        source: Source,
        detector: Detector,
        on_event: Callable[[Event], None] | None = None,
        *,
        queue: int = 1024,
    ) -> None:
        if source.sample_rate != detector.sample_rate:
            raise SpecError(
                f"the source has {source.sample_rate} samples a second, the detector expects {detector.sample_rate}"
            )
        self._source, self._detector, self._on_event = source, detector, on_event
        self._consumer = "on_event" if on_event else None
        self._queue = _Queue(queue)
        self._guard = threading.Lock()  # of `_consumer` and `_begun`, which two threads may claim at once
        self._begun = False
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._samples = self._lost = self._events = 0
        self._busy = 0.0
        self._presence = (detector.presence(), monotonic())

    def run(self) -> Stats:
        """Hear the source to its end, or until `stop`, in the calling thread.

        Raises
        ------
        SourceError
            If the source fails; and whatever `on_event` raises.
        """
        if not self._begin():
            raise RuntimeError("this engine was started already; make another one")
        self._work()
        return self.stats

    def start(self) -> None:
        """Hear the source beside the calling thread, until its end or `stop`."""
        if not self._launch():
            raise RuntimeError("this engine was started already; make another one")

    def stop(self) -> Stats:
        """End, and raise what `start`'s work raised, once; from any thread, any number of times."""
        self._end()
        self._raise_failure()
        return self.stats

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the source has ended or failed; True if it has, False after `timeout` seconds."""
        return self._ended.wait(timeout)

    @property
    def stats(self) -> Stats:
        """The figures so far; from any thread."""
        dropped = self._queue.dropped if self._iterated else 0  # without a consumer nobody misses them
        return Stats(self._source.sample_rate, self._samples, self._lost, self._events, dropped, self._busy)

    def presence(self) -> NDArray[np.float32]:
        """Return how present each drum is now: jumps to the velocity at a hit, decays; from any thread.

        Between the blocks, and when the input stalls, it goes on decaying by the clock.

        Returns
        -------
        float32 [labels], in the order of ``detector.labels``
        """
        values, then = self._presence
        return values * np.float32(np.exp((then - monotonic()) / self._detector.spec.presence_seconds))

    def events(self) -> Iterator[Event]:
        """Return the events as they are decided, to the end of the source; starts the engine if need be.

        Leaving the loop stops the engine. What the source raises, the loop raises.

        Raises
        ------
        RuntimeError
            If there is a consumer already.
        """
        self._claim("events()")
        return self._iterate()

    def aevents(self) -> AsyncIterator[Event]:
        """Return the same as `events`, for ``async for``; the event loop stays free."""
        self._claim("aevents()")
        return self._aiterate()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end()
        if kind is None:
            self._raise_failure()

    def _claim(self, consumer: str) -> None:
        with self._guard:
            if self._consumer:
                raise RuntimeError(f"this engine has a consumer already ({self._consumer}); make another engine")
            self._consumer = consumer

    @property
    def _iterated(self) -> bool:
        return self._consumer is not None and self._on_event is None

    def _begin(self) -> bool:
        """Claim the only life there is; False if it is taken."""
        with self._guard:
            begun, self._begun = self._begun, True
        return not begun

    def _launch(self) -> bool:
        if not self._begin():
            return False
        self._thread = threading.Thread(target=self._work_aside, name="dance engine", daemon=True)
        self._thread.start()
        return True

    def _end(self) -> None:
        if self._begin():
            self._ended.set()
        self._stopping.set()
        self._queue.close()
        self._source.close()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure:
            raise failure

    def _work_aside(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._failure = error

    def _work(self) -> None:
        block = np.empty(_BLOCK, np.float32)
        ended = False
        try:
            while not ended and not self._stopping.is_set():
                read = self._source.read(block, _POLL_SECONDS)
                began = perf_counter()
                if read.lost_before:
                    self._detector.skip(read.lost_before)
                events = self._detector.process(block[: read.count])
                if ended := read.ended:
                    events += self._detector.flush()
                self._busy += perf_counter() - began
                self._samples += read.count
                self._lost += read.lost_before
                if read.count or read.lost_before:
                    self._presence = (self._detector.presence(), monotonic())
                for event in events:
                    if self._stopping.is_set():
                        break
                    self._deliver(event)
        finally:
            self._source.close()
            self._queue.close()
            self._ended.set()

    def _deliver(self, event: Event) -> None:
        self._events += 1
        if self._on_event:
            self._on_event(event)
        else:
            self._queue.put(event, patient=self._iterated and not self._source.live)

    def _iterate(self) -> Iterator[Event]:
        self._launch()
        try:
            while (event := self._queue.get()) is not None:
                yield event
        finally:
            self._end()
        self._raise_failure()

    async def _aiterate(self) -> AsyncIterator[Event]:
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        self._queue.on_news = lambda: loop.call_soon_threadsafe(news.set)
        self._launch()
        try:
            ended = False
            while not ended:
                news.clear()
                ended = self._queue.closed  # asked first: what comes before the end is taken below
                while (event := self._queue.get(wait=False)) is not None:
                    yield event
                if not ended:
                    await news.wait()
        finally:
            self._queue.on_news = lambda: None
            self._end()
        self._raise_failure()


class _Queue:
    """A bounded queue from the engine to one consumer, who waits in a thread or is told by `on_news`."""

    def __init__(self, size: int) -> None:
        self.dropped = 0
        self.closed = False
        self.on_news: Callable[[], object] = lambda: None
        self._size = size
        self._events: deque[Event] = deque()
        self._change = threading.Condition()

    def put(self, event: Event, patient: bool) -> None:
        """Append; when full, wait for room if `patient`, else drop the oldest and count it."""
        with self._change:
            if patient:
                self._change.wait_for(lambda: len(self._events) < self._size or self.closed)
            if self.closed:
                return
            if len(self._events) >= self._size:
                self._events.popleft()
                self.dropped += 1
            self._events.append(event)
            self._change.notify_all()
        self.on_news()

    def get(self, wait: bool = True) -> Event | None:
        """Take the oldest; None at the end, or if there is none and one need not `wait`."""
        with self._change:
            if wait:
                self._change.wait_for(lambda: self._events or self.closed)
            if not self._events:
                return None
            self._change.notify_all()
            return self._events.popleft()

    def close(self) -> None:
        """Take nothing more; the consumer gets what is there, then the end."""
        with self._change:
            self.closed = True
            self._change.notify_all()
        self.on_news()
