"""The engine in a process of its own, for programs that keep Python busy.

A program that draws holds Python's lock for most of a frame, and a thread that hears beside it has to ask for that
lock several times on the way from a sample to an event. Another process has a lock of its own: nothing there waits for
the drawing, no sample is lost whatever the program does, and events wait for it in the order they were decided.

Events, orders and errors travel through one socket; figures and presences lie in shared memory.

Contents
--------
ProcessEngine
"""

import gc
import os
import pickle
import signal
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from . import interrupts
from .base_engine import BaseEngine, Stats
from .board import ROOM, SIZE, Board
from .detector import Detector
from .engine import Engine
from .errors import DanceError, SpecError
from .events import Event
from .parent import follow
from .settings import Settings
from .sources import Source
from .spec import ModelSpec

if TYPE_CHECKING:
    import socket
    from ctypes import Array, c_double

_GO = "go"
_STOP = "stop"
_PATIENCE_SECONDS = 10.0  # for a process that was asked to end, until it is killed
_GRACE_SECONDS = 5.0  # for one that SIGTERM ends, until it goes whatever hangs there
_RECEIVED = 1 << 16  # bytes taken from the socket at once


@dataclass(frozen=True, slots=True)
class _Ready:
    """What the process says when it could begin to hear."""

    spec: ModelSpec
    labels: tuple[str, ...]
    sample_rate: int
    live: bool
    settings: Settings
    latency: int


@dataclass(frozen=True, slots=True)
class _Events:
    """Events that were waiting together, and how many found no room there so far."""

    events: list[Event]
    dropped: int


@dataclass(frozen=True, slots=True)
class _Ended:
    """The last that the process says."""

    failure: BaseException | None
    dropped: int = 0


class ProcessEngine(BaseEngine):
    """An `Engine` whose source and detector live in another process; lives once.

    It is used as an `Engine` is. The source is opened, and the model loaded, when this is made, which takes about half
    a second. Python starts the new process by importing the program's own file, so what that file does when it is run
    belongs under ``if __name__ == "__main__":``.

    Parameters
    ----------
    source : callable
        Makes the source over there: a class such as `Microphone`, a `functools.partial` of one, or a function at the
        top level of a module.
    on_event : callable, optional
        Called here with each `Event`, in a thread beside the program, or in `run`. However long it takes, the process
        goes on hearing. What it raises stops the engine.
    model : path-like, optional
        By default the model inside the package.
    labels, sensitivity, settings
        See `Detector`.
    queue : int
        Events kept for a consumer who iterates or polls, here and once more over there. When it is full, a live engine
        drops the oldest and counts it; one that reads a file waits, once there is a consumer.

    Attributes
    ----------
    labels : tuple of str
        What is reported, in the order of `presence`.
    sample_rate : int
    latency : int
        Samples from an attack to its report, for the label that is reported soonest.

    Raises
    ------
    SourceError, SpecError
        If the source or the model is wrong; and whatever `source` raises.
    DanceError
        If the process ends by itself; here, or from what waits for events later.
    """

    def __init__(
        self,
        source: Callable[[], Source],
        on_event: Callable[[Event], None] | None = None,
        *,
        model: str | os.PathLike[str] | None = None,
        labels: Sequence[str] | None = None,
        sensitivity: float | Mapping[str, float] | None = None,
        settings: Settings | None = None,
        queue: int = 1024,
    ) -> None:
        if not callable(source):
            raise SpecError("source must be what makes a source, as Microphone or functools.partial(Microphone, 2)")
        options = {"labels": labels, "sensitivity": sensitivity, "settings": settings}
        try:
            order = pickle.dumps((source, model, options, queue))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise SpecError(
                "source must be a class, a functools.partial of one or a function at the top level of a module, "
                f"to be found by another process ({error})"
            ) from None
        import multiprocessing  # takes 20 ms to load, which not everybody who imports us should pay
        import socket

        context = multiprocessing.get_context("spawn")
        memory: Array[c_double] = context.RawArray("d", SIZE)
        ours, theirs = socket.socketpair()
        self._wire = _Wire(ours)
        self._watchdog: threading.Timer | None = None
        self._finished = False
        self._process = context.Process(
            target=_child_main, args=(theirs, memory, order), name="dance engine", daemon=True
        )
        with theirs, interrupts.held(signal.SIGTERM):
            self._process.start()
        try:
            first = self._wire.receive()[0]
            if isinstance(first, _Ended) and first.failure:
                raise first.failure
            if not isinstance(first, _Ready):
                raise EOFError
        except EOFError:
            self._reap()
            raise DanceError(
                f"the engine's process ended before it could hear ({self._exit()}); if a message above speaks of "
                'bootstrapping, put what your program does under: if __name__ == "__main__":'
            ) from None
        except BaseException:  # Ctrl-C, too
            self._process.kill()
            self._reap()
            raise
        self.latency = first.latency
        self._dropped_there = 0
        super().__init__(
            first.spec,
            first.labels,
            first.sample_rate,
            first.live,
            first.settings,
            Board(len(first.labels), np.frombuffer(memoryview(memory), np.float64)),
            on_event,
            queue,
        )

    @property
    def stats(self) -> Stats:
        """The figures so far; from any thread."""
        here = super().stats
        return replace(here, dropped=here.dropped + self._dropped_there)

    def _changed(self, settings: Settings) -> None:
        self._order(settings)

    def _work(self) -> None:
        self._order(_GO)
        try:
            while not self._finished:
                for message in self._wire.receive():
                    if isinstance(message, _Ended):
                        self._finished = True
                        self._dropped_there = message.dropped
                        if message.failure:
                            raise message.failure
                    elif isinstance(message, _Events):
                        self._dropped_there = message.dropped
                        for event in message.events:
                            if not self._stopping.is_set():
                                self._deliver(event)
        except EOFError:
            self._finished = True
            self._join()
            raise DanceError(f"the engine's process ended by itself ({self._exit()}); start again") from None

    def _close(self) -> None:
        with self._guard:
            if self._watchdog or self._finished:
                return
            self._watchdog = threading.Timer(_PATIENCE_SECONDS, self._process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        self._order(_STOP)

    def _release(self) -> None:
        self._close()
        with suppress(EOFError):  # what is still being said has to be heard, or the process could not end
            while not self._finished:
                self._finished = any(isinstance(message, _Ended) for message in self._wire.receive())
        self._reap()

    def _order(self, message: object) -> None:
        with suppress(OSError):  # it has ended already, and `_work` says so
            self._wire.send(message)

    def _join(self) -> None:
        self._process.join(_PATIENCE_SECONDS)
        self._process.kill()  # if a thread that the source began keeps it alive
        self._process.join()

    def _reap(self) -> None:
        self._join()
        if self._watchdog:
            self._watchdog.cancel()
        self._wire.close()

    def _exit(self) -> str:
        code = self._process.exitcode
        return f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


class _Wire:
    """Objects through a socket; whole messages, in order. Of the receivers there may be one at a time."""

    _HEAD = struct.Struct("<I")

    def __init__(self, end: "socket.socket") -> None:
        self._socket = end
        self._sending = threading.Lock()
        self._received = bytearray()

    def send(self, message: object) -> None:
        """Send one; waits while the other side does not receive.

        Raises
        ------
        OSError
            If there is nobody any more.
        """
        body = pickle.dumps(message)
        with self._sending:
            self._socket.sendall(self._HEAD.pack(len(body)) + body)

    def receive(self) -> list[object]:
        """Wait for messages; return those that have come, one at least.

        A single call of the system brings what is there: each call gives Python's lock away, and to get it back costs
        milliseconds while the program draws.

        Raises
        ------
        EOFError
            If the other side is gone.
        """
        messages: list[object] = []
        head = self._HEAD.size
        while not messages:
            try:
                part = self._socket.recv(_RECEIVED)
            except OSError:
                part = b""
            if not part:
                raise EOFError
            self._received += part
            while len(self._received) >= head:
                end = head + self._HEAD.unpack_from(self._received)[0]
                if len(self._received) < end:
                    break
                messages.append(pickle.loads(self._received[head:end]))
                del self._received[:end]
        return messages

    def close(self) -> None:
        """Let go."""
        self._socket.close()


def _child_main(end: "socket.socket", memory: "Array[c_double]", order: bytes) -> None:
    """Run in the other process: make source, detector and engine, and send the events."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to us, too; the parent says when to stop
    terminated: SimpleQueue[None] = SimpleQueue()  # the one thing a handler may fill, whatever it interrupts
    signal.signal(signal.SIGTERM, lambda *_: terminated.put(None))
    interrupts.heard(signal.SIGTERM)
    follow()
    wire = _Wire(end)
    failure: BaseException | None = None
    dropped = 0
    try:
        make_source, model, options, queue = pickle.loads(order)
        with ExitStack() as unused:
            source = make_source()
            unused.callback(source.close)
            detector = Detector.load(model, sample_rate=source.sample_rate, **options)
            if len(detector.labels) > ROOM:
                raise SpecError(f"at most {ROOM} labels")
            board = Board(len(detector.labels), np.frombuffer(memoryview(memory), np.float64))
            engine = Engine(source, detector, queue=queue, board=board)
            unused.pop_all()  # the engine closes it
        gc.freeze()  # nothing of all this becomes garbage, and to search it would take milliseconds
        wire.send(
            _Ready(
                detector.spec,
                detector.labels,
                detector.sample_rate,
                source.live,
                detector.settings,
                detector.latency,
            )
        )
        dropped = _send_events(engine, wire, terminated)
    except BaseException as error:
        failure = _portable(error)
    with suppress(OSError):
        wire.send(_Ended(failure, dropped))


def _send_events(engine: Engine, wire: _Wire, terminated: "SimpleQueue[None]") -> int:
    """Send the events, between the order to begin and the end; return how many found no room."""
    go = threading.Event()
    threading.Thread(target=_receive_orders, args=(engine, wire, go), daemon=True).start()
    threading.Thread(target=_end_on_sigterm, args=(engine, terminated, go), daemon=True).start()
    go.wait()
    # The engine's own queue lies between: when the parent does not receive, only this loop waits.
    for event in engine.events():
        # what is hit at once travels at once, for one wait for the program's lock instead of several
        wire.send(_Events([event, *engine._take_waiting()], engine.stats.dropped))
    return engine.stats.dropped


def _receive_orders(engine: Engine, wire: _Wire, go: threading.Event) -> None:
    """Receive the parent's orders and carry them out."""
    try:
        while True:
            for order in wire.receive():
                if isinstance(order, Settings):
                    engine.configure(order)
                    continue
                if order == _STOP:
                    engine._end()  # not `stop`, which would raise here what `_send_events` has to tell
                go.set()
    except EOFError:  # the parent has gone, however: there is nobody to work for
        os._exit(0)


def _end_on_sigterm(engine: Engine, terminated: "SimpleQueue[None]", go: threading.Event) -> None:
    """End as at the source's end when SIGTERM comes: all processes of a service get it, and the parent decides."""
    terminated.get()
    last = threading.Timer(_GRACE_SECONDS, os._exit, (1,))  # a parent that exits sends it, and waits for us
    last.daemon = True
    last.start()
    engine._end()
    go.set()


def _portable(error: BaseException) -> BaseException:
    """Return an error that can be sent, with a note of where it came from unless it is meant for the user."""
    import traceback

    if not isinstance(error, DanceError):
        error.add_note("in the engine's process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
