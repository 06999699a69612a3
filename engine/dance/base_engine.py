"""What `Engine` and `ProcessEngine` share: how an engine runs, ends and meets its consumer.

An engine runs once and has one consumer, which is called, iterates or polls. What the consumer gets are immutable
events and copied arrays, wherever the detector runs.

Contents
--------
Stats, BaseEngine
"""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .board import Board
from .errors import SpecError
from .events import Event
from .peaks import thresholds
from .settings import Settings, as_settings
from .spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Stats:
    """What an engine has done so far.

    Attributes
    ----------
    sample_rate : int
    samples : int
        Samples heard.
    lost : int
        Samples that went missing: the engine was late, or a device was away. The clock counts them.
    events : int
    dropped : int
        Events that the queue lost because the consumer, iterating or polling, was late.
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


class BaseEngine(ABC):
    """What `Engine` and `ProcessEngine` share; subclasses say where the events come from.

    Parameters
    ----------
    spec : ModelSpec
    labels : tuple of str
        What is reported.
    sample_rate : int
    live : bool
        A full queue drops the oldest event; otherwise the engine waits for the consumer.
    settings : Settings
        The first ones.
    board : Board
    on_event : callable or None
    queue : int

    Attributes
    ----------
    labels : tuple of str
        What is reported, in the order of `presence`.
    sample_rate : int

    Raises
    ------
    SpecError
        If the queue has no room for an event.
    """

    def __init__(
        self,
        spec: ModelSpec,
        labels: tuple[str, ...],
        sample_rate: int,
        live: bool,
        settings: Settings,
        board: Board,
        on_event: Callable[[Event], None] | None,
        queue: int,
    ) -> None:
        if queue < 1:
            raise SpecError(f"a queue needs room for 1 event or more, not {queue}")
        self.labels, self.sample_rate = labels, sample_rate
        self._spec, self._live, self._settings, self._board = spec, live, settings, board
        self._on_event = on_event
        self._consumer = "on_event" if on_event else None
        self._queue = _Queue(queue)
        self.observer: Callable[[Event], None] | None = None  # told each event, too, before the consumer
        self._setting = threading.RLock()  # settings are read, changed and written back, by several parties at once
        self._guard = threading.Lock()  # of `_consumer`, `_begun` and `_thread`, which two threads may claim at once
        self._begun = False
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._why: str | None = None
        self._events = 0

    @abstractmethod
    def _work(self) -> None:
        """Call `_deliver` with all events, to the end or until `_stopping`."""

    @abstractmethod
    def _close(self) -> None:
        """Make `_work` end soon; from any thread, any number of times."""

    @abstractmethod
    def _release(self) -> None:
        """Release everything, after `_work` or in place of it; once."""

    def _changed(self, settings: Settings) -> None:  # noqa: B027 (where the detector is in this process, it is asked)
        """Pass settings on to where the detector is, in the order in which they were made."""

    def run(self) -> Stats:
        """Hear the source to its end, or until `stop`, and tell of it in the calling thread.

        Raises
        ------
        SourceError
            If the source fails; and whatever `on_event` raises.
        """
        if not self._begin():
            raise RuntimeError("this engine was started already; make another one")
        try:
            self._work_and_release()
        finally:
            self._over()
        return self.stats

    def start(self) -> None:
        """Hear the source beside the calling thread, until its end or `stop`."""
        if not self._launch():
            raise RuntimeError("this engine was started already; make another one")

    def stop(self) -> Stats:
        """End, and raise what `start`'s work raised, once; from any thread, any number of times.

        In a signal handler only of what `run` hears in the thread that the signal interrupts: other waiting may hold
        locks that the end needs. Let such a handler raise an exception, as Ctrl-C does.
        """
        self._end()
        self._raise_failure()
        return self.stats

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the source has ended or failed; True if it has, False after `timeout` seconds."""
        return self._ended.wait(timeout)

    @property
    def stats(self) -> Stats:
        """The figures so far; from any thread."""
        board = self._board
        dropped = self._queue.dropped if self._queued else 0  # without a consumer nobody misses them
        return Stats(self.sample_rate, board.samples, board.lost, self._events, dropped, board.busy)

    @property
    def failure(self) -> str | None:
        """What went wrong, if something has ended it that was neither the source's end nor `stop`; for showing."""
        return self._why

    @property
    def settings(self) -> Settings:
        """What the detector decides by, or will from the next block on."""
        return self._settings

    def configure(self, settings: Settings) -> None:
        """Decide by these settings from the next block on; from any thread.

        Raises
        ------
        SpecError
            If they name a label that the model does not have; nothing has changed then.
        """
        self.change(lambda _: settings)

    def change(self, how: Callable[[Settings], Settings]) -> None:
        """Decide by what `how` makes of the present settings from the next block on; from any thread.

        What another thread changes meanwhile is not lost; what `how` itself configures gives way to what it returns.

        Raises
        ------
        SpecError
            As `configure`.
        """
        with self._setting:
            settings = as_settings(how(self._settings))
            thresholds(self._spec, settings)  # refuses here, to the caller, what could not be applied there
            self._settings = settings
            self._changed(settings)

    def presence(self) -> NDArray[np.float32]:
        """Return how present each drum is now: jumps to the velocity at a hit, decays; from any thread.

        Between the blocks, and when the input stalls, it goes on decaying by the clock.

        Returns
        -------
        float32 [labels], in the order of `labels`
        """
        return np.exp((self._board.reached - monotonic()) / self._spec.presence_seconds).astype(np.float32)

    def poll(self) -> list[Event]:
        """Return the events decided since the last call, without waiting; starts the engine if need be.

        For loops that draw: a call costs a few microseconds. What the source raises, it raises after the last event.

        Raises
        ------
        RuntimeError
            If there is another consumer already.
        """
        if self._consumer != "poll()":
            self._claim("poll()")
            self._launch()
        over = self._ended.is_set()  # asked first: what comes before the end is taken below
        events = self._take_waiting()
        if over and not events:
            self._raise_failure()
        return events

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
    def _queued(self) -> bool:
        """Whether the consumer takes from the queue."""
        return self._consumer is not None and self._on_event is None

    def _begin(self) -> bool:
        """Claim the only life there is; False if it is taken."""
        with self._guard:
            begun, self._begun = self._begun, True
        return not begun

    def _launch(self) -> bool:
        """Begin in a thread beside the caller's; False if the engine was started before."""
        with self._guard:  # until it is started, or `stop` might find it before it can be joined
            if self._begun:
                return False
            self._begun = True
            self._thread = threading.Thread(target=self._work_aside, name="dance engine", daemon=True)
            self._thread.start()
        return True

    def _take_waiting(self) -> list[Event]:
        """Take the events that wait in the queue, without waiting for more."""
        return self._queue.rest()

    def _end(self) -> None:
        """End as `stop` does, but keep what went wrong for `_raise_failure`; from any thread, any number of times."""
        self._stopping.set()
        self._queue.close()
        if not self._ended.is_set():
            with self._keeping():
                self._close()
        if self._begin():
            with self._keeping():
                self._release()
            self._over()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        """Keep what goes wrong meanwhile for `_raise_failure`, unless something went wrong before."""
        try:
            yield
        except Exception as error:
            self._failure = self._failure or error

    def _raise_failure(self) -> None:
        """Raise what went wrong in the thread or at the end, once."""
        failure, self._failure = self._failure, None
        if failure:
            raise failure

    def _work_aside(self) -> None:
        try:
            self._work_and_release()
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            self._over()

    def _work_and_release(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._why = str(error) or type(error).__name__
            with suppress(Exception):  # of what follows from it, nothing says as much
                self._release()
            raise
        self._release()

    def _over(self) -> None:
        try:
            self._queue.close()
        finally:
            self._ended.set()

    def _deliver(self, event: Event) -> None:
        """Hand an event to the observer and to the consumer."""
        self._events += 1
        if self.observer:
            self.observer(event)
        if self._on_event:
            self._on_event(event)
        else:
            self._queue.put(event, patient=self._queued and not self._live)

    def _iterate(self) -> Iterator[Event]:
        self._launch()
        try:
            while (event := self._queue.get()) is not None:
                yield event
        finally:
            self._end()
        self._raise_failure()

    async def _aiterate(self) -> AsyncIterator[Event]:
        import asyncio  # whoever gets here has it loaded; all others need not wait for it

        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # a loop that was closed meanwhile wants no news
                loop.call_soon_threadsafe(news.set)

        self._queue.on_news = tell
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

    def rest(self) -> list[Event]:
        """Take all that is there."""
        events = []
        while (event := self.get(wait=False)) is not None:
            events.append(event)
        return events

    def close(self) -> None:
        """Take nothing more; the consumer gets what is there, then the end."""
        with self._change:
            self.closed = True
            self._change.notify_all()
        self.on_news()
