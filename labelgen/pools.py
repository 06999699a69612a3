"""Where units of work are done: processes of this machine, or the workers of a Dask cluster.

Both do one unit at a time in a process, prepare each process once, survive a unit that takes its process
down with it or never ends, and say so in one line.

Contents
--------
Pool, Outcome, WorkError, Processes, Cluster, attempt
"""

import errno
import queue
import signal
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import connection, get_context
from typing import Any, Protocol

from dance.errors import install
from dance.parent import follow
from labelgen.chunks import Chunk

Make = Callable[[Any], list[Chunk]]
Setup = Callable[..., None]

NOT_THE_UNITS_FAULT = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE}
RENEWED = 1000  # units after which a process makes room for a fresh one: leaks of C libraries stay small
TICK = 1.0  # seconds between two looks at the clock
PATIENCE = 30.0  # seconds that a scheduler, and its first worker, may take to answer


class WorkError(Exception):
    """The work as a whole cannot go on, and why; no unit is to blame."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a unit: its chunks, or the reason that there are none, or why everything must stop."""

    chunks: tuple[Chunk, ...] = ()
    refused: str = ""
    stop: str = ""


class Pool(Protocol):
    """Does units of work; `slots` of them should be in it at any time."""

    @property
    def slots(self) -> int:
        """Number of units that can be worked on at once."""

    def submit(self, unit: str, job: object) -> None:
        """Hand over one unit."""

    def next(self) -> tuple[str, Outcome]:
        """Wait for any unit to be done and return what became of it."""

    def close(self) -> None:
        """Stop; units not done are forgotten."""


def attempt(make: Make, job: object) -> Outcome:
    """Do one unit; a broken file costs one line, a full disk stops the run."""
    try:
        chunks = make(job)
    except WorkError as error:
        return Outcome(stop=str(error))
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        if isinstance(error, OSError) and error.errno in NOT_THE_UNITS_FAULT:
            return Outcome(stop=text)
        return Outcome(refused=text)
    return Outcome(tuple(chunks)) if chunks else Outcome(refused="nothing to label")


def _too_long(seconds: float) -> str:
    return f"not finished after {seconds:g} seconds (--limit)"


class Processes:
    """Processes of this machine.

    A unit whose process dies is tried once more: memory may have been short, or two processes may have compiled a
    library for the first time at once.

    Parameters
    ----------
    make : callable
    setup, setup_args
        Called once in each process.
    workers : int
    limit : float or None
        Seconds that a unit may take.
    """

    def __init__(
        self, make: Make, setup: Setup | None, setup_args: Iterable[object], workers: int, limit: float | None
    ) -> None:
        self.slots = workers
        self._limit = limit
        self._arguments = (make, setup, tuple(setup_args))
        self._idle: list[_Process] = []
        self._busy: list[_Process] = []
        self._deaths: set[str] = set()

    def submit(self, unit: str, job: object) -> None:
        """Hand over one unit."""
        while True:
            worker = self._idle.pop() if self._idle else _Process(*self._arguments)
            self._busy.append(worker)
            try:
                worker.take(unit, job)
            except OSError:  # it died while it had nothing to do, or could not be prepared
                told = not worker.ready and worker.pipe.poll() and worker.pipe.recv()
                self._drop(worker, patience=2.0)
                if not worker.ready:
                    raise WorkError(told or f"a worker process {worker.fate()} before it was ready") from None
            else:
                return

    def next(self) -> tuple[str, Outcome]:
        """Wait for any unit to be done and return what became of it."""
        while True:
            now = time.monotonic()
            left = [max(0.0, w.started + self._limit - now) for w in self._busy if self._limit and w.ready]
            asked = min(TICK, *left) if left else None
            heard = connection.wait([w.pipe for w in self._busy], asked)
            waited = time.monotonic() - now
            if asked is not None and waited > asked + TICK:  # this process was stopped, and with it the others
                for worker in self._busy:
                    worker.started += waited
            for worker in [w for w in self._busy if w.pipe in heard]:
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    self._drop(worker, patience=2.0)  # it is on its way out, and its exit code will tell why
                    fate = worker.fate()
                    if not worker.ready:
                        raise WorkError(f"a worker process {fate} before it was ready") from None
                    if worker.unit not in self._deaths:
                        self._deaths.add(worker.unit)
                        self.submit(worker.unit, worker.job)
                        break
                    return worker.unit, Outcome(refused=f"the process {fate} while working on it")
                if not worker.ready:
                    if message:
                        raise WorkError(message)
                    worker.ready, worker.started = True, time.monotonic()
                    continue
                worker.done += 1
                if worker.done < RENEWED:
                    self._busy.remove(worker)
                    self._idle.append(worker)
                else:
                    self._drop(worker)
                return worker.unit, message
            for worker in self._busy:
                if self._limit and worker.ready and time.monotonic() - worker.started > self._limit:
                    self._drop(worker)
                    return worker.unit, Outcome(refused=_too_long(self._limit))

    def _drop(self, worker: "_Process", patience: float = 0.0) -> None:
        self._busy.remove(worker)
        worker.stop(patience)

    def close(self) -> None:
        """Stop; units not done are forgotten."""
        for worker in self._idle + self._busy:
            worker.stop()
        self._idle, self._busy = [], []


class _Process:
    """One process, the pipe to it, and the unit that it has."""

    # spawn: FluidSynth's threads do not survive a fork, and a spawned child inherits no other's pipe
    _context = get_context("spawn")

    def __init__(self, *arguments: object) -> None:
        self.pipe, other = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(other, *arguments), daemon=True)
        self._process.start()
        other.close()
        self.ready = False
        self.unit = ""
        self.job: object = None
        self.started = 0.0
        self.done = 0

    def take(self, unit: str, job: object) -> None:
        self.unit, self.job, self.started = unit, job, time.monotonic()
        self.pipe.send(job)

    def stop(self, patience: float = 0.0) -> None:
        self.pipe.close()
        self._process.join(patience)
        self._process.kill()
        self._process.join()

    def fate(self) -> str:
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return "was killed (SIGKILL: out of memory?)"
        return f"died ({signal.Signals(-code).name})" if code < 0 else f"exited with code {code}"


def _serve(
    pipe: "connection.Connection[Any, Any]", make: Make, setup: Setup | None, setup_args: tuple[object, ...]
) -> None:
    """Be a worker process: do what comes through the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent decides
    follow()
    try:
        if setup:
            setup(*setup_args)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send("")
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(attempt(make, job))


class Cluster:
    """The workers of a Dask cluster; they see the same files, under the same paths, as this machine.

    Parameters
    ----------
    address : str
        Of the scheduler, as ``tcp://host:8786``.
    make, setup, setup_args, limit
        As for `Processes`.

    Raises
    ------
    WorkError
        If no scheduler answers or it has no worker.
    """

    def __init__(
        self, address: str, make: Make, setup: Setup | None, setup_args: Iterable[object], limit: float | None
    ) -> None:
        try:
            from distributed import Client

            from labelgen.crew import Crew
        except ImportError as error:
            raise WorkError(f"--scheduler needs Dask ({error}); {install('cluster')}") from None
        try:
            self._client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise WorkError(f"no Dask scheduler answers at {address} ({error})") from None
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            self._client.close()
            raise WorkError(
                f"the scheduler at {address} has no workers; start some with `dask worker {address} --nthreads 1`"
            ) from None
        self._limit = limit
        self._crew = f"labelgen-{uuid.uuid4().hex[:12]}"
        # a plugin reaches workers that join later, too, and everything in it is pickled together: functions
        # of a script go on sharing that script's globals
        self._client.register_plugin(Crew(self._crew, make, setup, tuple(setup_args), limit))
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._units: dict[str, tuple[str, Any]] = {}  # by Dask's key
        self._count = 0
        self._workers, self._counted = 0, 0.0

    @property
    def slots(self) -> int:
        """Workers of the cluster at present; one unit each, so that a unit that kills its worker is alone."""
        if time.monotonic() - self._counted > 2:
            self._workers, self._counted = len(self._client.nthreads()), time.monotonic()
        return max(1, self._workers)

    def submit(self, unit: str, job: object) -> None:
        """Hand over one unit."""
        from labelgen.crew import on_worker

        key = f"{self._crew}-{self._count}"
        self._count += 1
        future = self._client.submit(on_worker, self._crew, job, key=key, pure=False)
        self._units[key] = unit, future
        future.add_done_callback(self._finished.put)

    def next(self) -> tuple[str, Outcome]:
        """Wait for any unit to be done and return what became of it."""
        from distributed import KilledWorker

        future = self._finished.get()
        unit, _ = self._units.pop(future.key)
        try:
            return unit, future.result(timeout=PATIENCE)
        except KilledWorker as error:
            tries = getattr(error, "allowed_failures", -1) + 1
            died = f"{tries} workers died" if tries else "its worker died repeatedly"
            limit = f", or took longer than {self._limit:g} seconds (--limit)" if self._limit else ""
            return unit, Outcome(refused=f"{died} while working on it{limit}")
        except WorkError:
            raise
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise WorkError(f"the cluster failed ({told}); the same command goes on from here") from None

    def close(self) -> None:
        """Stop; units not done are forgotten."""
        try:
            self._client.cancel([future for _, future in self._units.values()])
            self._client.unregister_worker_plugin(self._crew)
            self._client.close()
        except Exception:  # the scheduler may be what has gone
            self._client.close(timeout=1)
