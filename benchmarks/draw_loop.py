"""What a busy program costs the events: the engine beside a main thread that draws.

The main thread draws 60 frames a second and holds Python's lock for 10 ms of each: particles in pure Python, or
fields in NumPy. Samples come by the clock, a period at a time, through a thread that needs the lock as PortAudio's
callback does. The delay of an event runs from the scheduled arrival of the sample that decides it (`Event.reported`)
until the callback is called, or until the frame that polls it begins; a poll by itself waits for its frame, up to
16.7 ms. Samples that the thread fetches later than the device's buffer lasts are lost, as they are on a device.

Shown are Engine and ProcessEngine, against the same engine beside an idle main thread. Run it alone.
"""

import argparse
import math
import random
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter, sleep

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import RATE, SONG, guard, mono
from dance import Detector, Engine, Event, ProcessEngine, Read
from dance._ring import Ring
from dance.commands.arguments import positive
from dance.sources import Source

PERIOD = 256
FRAME_SECONDS = 1 / 60
BUSY_SECONDS = 0.010
START_SECONDS = 2.0  # until the first sample: by then everything has been loaded


class Clocked(Source):
    """A sound card without hardware: plays a file in circles, and loses what is fetched too late.

    Parameters
    ----------
    path : path
    begin : float
        When the first sample is recorded, by `time.monotonic`.
    seconds : float
        Length of the stream.
    buffer : float
        Seconds that the device keeps.
    """

    def __init__(self, path: Path, begin: float, seconds: float, buffer: float) -> None:
        self.sample_rate, self.live = RATE, True
        self._samples = np.resize(mono(path, RATE), math.ceil(seconds * RATE / PERIOD) * PERIOD)
        self._begin, self._buffer = begin, buffer
        self._ring = Ring(4 * self.sample_rate)
        self._overrun = 0
        self._news, self._closed, self._over = threading.Event(), threading.Event(), threading.Event()
        threading.Thread(target=self._record, daemon=True).start()

    def read(self, out: np.ndarray, timeout: float) -> Read:
        """Take samples; see `Source.read`."""
        while not self._closed.is_set():
            over = self._over.is_set()
            count, lost = self._ring.read(out)
            if count:
                overrun, self._overrun = self._overrun, 0
                return Read(count, lost + overrun)
            if over:
                break
            if not self._news.wait(timeout):
                return Read(0)
            self._news.clear()
        return Read(0, ended=True)

    def close(self) -> None:
        """End; see `Source.close`."""
        self._closed.set()
        self._news.set()

    def _record(self) -> None:
        at = 0
        while at < len(self._samples) and not self._closed.is_set():
            due = self._begin + (at + PERIOD) / self.sample_rate
            sleep(max(due - monotonic(), 0))
            late = int((monotonic() - due - self._buffer) * self.sample_rate / PERIOD) * PERIOD
            if late > 0:
                self._overrun += late
                at += late
            self._ring.write(self._samples[at : at + PERIOD])
            at += PERIOD
            self._news.set()
        self._over.set()
        self._news.set()


@dataclass(slots=True)
class Particle:
    """One of many that fall and bounce."""

    x: float
    y: float
    dx: float
    dy: float

    def step(self) -> None:
        """Move by a frame."""
        self.dy -= 0.01
        self.x, self.y = self.x + self.dx, self.y + self.dy
        if not 0 < self.x < 1:
            self.dx = -self.dx
        if self.y < 0:
            self.y, self.dy = 0.0, 0.9 * abs(self.dy)


def particles() -> Callable[[], object]:
    """Return a step of pure Python, some microseconds long."""
    drawn = [Particle(random.random(), random.random(), random.gauss(0, 0.01), 0.0) for _ in range(50)]
    return lambda: [particle.step() for particle in drawn]


def fields() -> Callable[[], object]:
    """Return a step of NumPy, some hundred microseconds long."""
    grid = np.random.default_rng(0).normal(size=(160, 160))

    def step() -> None:
        nonlocal grid
        grid = np.sin(grid @ grid.T / 160 + np.roll(grid, 1, axis=0))

    return step


LOADS: dict[str, Callable[[], Callable[[], object]] | None] = {
    "idle": None,
    "particles": particles,
    "NumPy": fields,
}


@dataclass(frozen=True, slots=True)
class Result:
    """The delays of a run in milliseconds, and the samples lost."""

    delays: np.ndarray
    lost: int


def measure(kind: type, consumer: str, load: str, seconds: float, buffer: float, song: Path) -> Result:
    """Hear for `seconds` while the main thread draws; return when each event was seen.

    Raises
    ------
    ValueError
        If there was none.
    """
    begin = monotonic() + START_SECONDS
    make = partial(Clocked, song, begin, seconds, buffer)
    delays: list[float] = []

    def see(event: Event) -> None:
        arrival = begin + math.ceil(event.reported / PERIOD) * PERIOD / event.sample_rate
        delays.append(1000 * (monotonic() - arrival))

    on_event = see if consumer == "callback" else None
    # Sensitive, so that there are more events to count.
    if kind is ProcessEngine:
        engine = ProcessEngine(make, on_event, sensitivity=0.9)
    else:
        source = make()
        engine = Engine(source, Detector.load(sample_rate=source.sample_rate, sensitivity=0.9), on_event)
    work = LOADS[load]
    step = work() if work else None
    with engine:
        due = perf_counter()
        while not engine.wait(0):
            if consumer == "poll":
                for event in engine.poll():
                    see(event)
            if step:
                until = perf_counter() + BUSY_SECONDS
                while perf_counter() < until:
                    step()
            due = max(due + FRAME_SECONDS, perf_counter())
            sleep(due - perf_counter() if due > perf_counter() else 0)
    if not delays:
        raise ValueError(f"no drum was heard in {seconds:g} s of {song}; choose more --seconds")
    return Result(np.array(delays), engine.stats.lost)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/draw_loop.py --seconds 60",
    )
    add = result.add_argument
    add("--seconds", type=positive(float), default=60.0, help="length of each of the 12 runs (default: %(default)g)")
    add("--buffer", type=positive(float), default=0.023, help="seconds that the device keeps (default: %(default)g)")
    add("--switch", type=positive(float), default=0.005,
        help="Python's switch interval in seconds (default: %(default)g)")  # fmt: skip
    add("--song", type=Path, default=SONG, help="recording, played in circles (default: the demo song)")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    sys.setswitchinterval(args.switch)
    table = Table(
        "engine", "consumer", "main thread", "events", "p50 ms", "p99 ms", "p99.9 ms", "p99 grows", "lost", box=None
    )
    for kind in (Engine, ProcessEngine):
        for consumer in ("callback", "poll"):
            idle = 0.0
            for load in LOADS:
                result = measure(kind, consumer, load, args.seconds, args.buffer, args.song)
                p50, p99, p999 = np.percentile(result.delays, (50, 99, 99.9))
                idle = p99 if load == "idle" else idle
                figures = (f"{p50:.1f}", f"{p99:.1f}", f"{p999:.1f}", "" if load == "idle" else f"{p99 - idle:+.1f}")
                table.add_row(kind.__name__, consumer, load, str(len(result.delays)), *figures, str(result.lost))
                print(f"{kind.__name__}, {consumer}, {load}: done", file=sys.stderr)
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
