"""What several commands share: options, hearing and showing a source, messages to the user.

Contents
--------
add_detector_options, add_display_options, add_scheduling_options, make_folder, refuse_to_overwrite, apply_scheduling,
load_settings, make_detector, hear, progress, say, DRAW_SECONDS, USER_ERROR
"""

import argparse
import gc
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from ..base_engine import Stats
from ..detector import RELEASED, Detector
from ..engine import Engine
from ..errors import DanceError, SourceError, SpecError, install, os_reason
from ..events import Event
from ..network import Network
from ..scheduling import be_realtime, use_cpu
from ..settings import Settings
from ..sources import Source

if TYPE_CHECKING:
    from ..web.monitor import Monitor
    from .outputs import Outputs

DRAW_SECONDS = 1 / 25
"""Time between two looks at a running engine."""

_TELLING_SECONDS = 0.5  # of sound, before which a share of real time says something about the start alone
USER_ERROR = 2
"""Exit code for an error that the user can fix."""


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide what is detected."""
    add = parser.add_argument
    add("--labels", type=_labels, metavar="A,B", help="drums to report; default: the model's choice")
    add(
        "--sensitivity",
        type=_sensitivity,
        metavar="S",
        help="0 (only certain hits) to 1 (every possible hit), for all drums or as kick=0.6,snare=0.4; default: 0.5",
    )
    add("--settings", type=Path, metavar="FILE", help="settings saved earlier; other options override them")
    add("--model", type=Path, default=RELEASED, metavar="PATH", help="an .onnx file; default: the released model")


def add_display_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that show hits as they come."""
    parser.add_argument("--plain", action="store_true", help="print a line per hit instead of the meter")


def add_scheduling_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for priority and processor core."""
    parser.add_argument("--realtime", action="store_true", help="run with real-time priority where permitted")
    parser.add_argument("--cpu", type=int, metavar="N", help="run on this core only")


def make_folder(path: Path) -> None:
    """Make the folder that ``--out`` names, and check that files can be written there.

    Raises
    ------
    SpecError
        If it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise SpecError(f"--out {path}: {os_reason(error)}; choose another folder") from None


def refuse_to_overwrite(paths: Iterable[Path], file: str, options: argparse.Namespace) -> None:
    """Refuse, without ``--force``, to replace files in the folder of `file`: they may be the user's labels.

    Raises
    ------
    SourceError
        If ``--out`` is that folder, and one of `paths` is there.
    """
    folder = Path(file).parent
    if options.force or not folder.is_dir() or not options.out.samefile(folder):
        return
    for path in paths:
        if path.exists():
            raise SourceError(f"{path} lies beside the song: choose another --out, or replace it with --force")


def apply_scheduling(options: argparse.Namespace) -> None:
    """Do what the options of `add_scheduling_options` ask for; before any thread is started."""
    if options.cpu is not None:
        use_cpu(options.cpu)
    if options.realtime:
        try:
            be_realtime()
        except DanceError as error:  # everything works without it
            say(error)


def load_settings(options: argparse.Namespace) -> Settings | None:
    """Read the file of ``--settings``, if any; once, since whoever edits it meanwhile may leave it half written."""
    return Settings.load(options.settings) if options.settings else None


def make_detector(network: Network, source: Source, options: argparse.Namespace, settings: Settings | None) -> Detector:
    """Return the detector that the options ask for, with the settings loaded before."""
    return Detector(
        network,
        sample_rate=source.sample_rate,
        labels=options.labels,
        sensitivity=options.sensitivity,
        settings=settings,
    )


def hear(
    source: Source,
    detector: Detector,
    title: str,
    options: argparse.Namespace,
    *sinks: Callable[[Event], None],
    outputs: "Outputs",
    monitor: "Monitor | None" = None,
) -> None:
    """Pass the events of a source to `sinks`, show and send what passes the filters, and print a summary."""
    deadline = float("inf") if options.seconds is None else monotonic() + options.seconds

    def on_event(event: Event) -> None:
        for sink in sinks:
            sink(event)
        outputs(event)

    engine = (monitor.engine if monitor else Engine)(source, detector, on_event)
    outputs.attach(engine)
    _settle()
    with ExitStack() as stack:
        stack.callback(lambda: _sum_up(engine.stats))
        stack.callback(outputs.check)
        meter = None
        if sys.stdout.isatty() and not options.plain and not outputs.json:
            try:
                from ..sinks.meter import Meter
            except ImportError:
                say(f"printing a line per hit; for the meter: {install('show')}")
            else:
                meter = stack.enter_context(Meter(detector.labels, title))
        if meter is None:
            print(title, file=sys.stderr)
        stack.enter_context(outputs.showing(meter))
        stack.enter_context(engine)
        while not engine.wait(DRAW_SECONDS) and monotonic() < deadline:
            outputs.check()
            if meter:
                meter.draw(engine.presence(), engine.stats)


@cache
def _settle() -> None:
    """Keep what has been loaded out of garbage collection, which would stop everything for tens of milliseconds.

    Once in a process: sources heard one after the other have to be collected.
    """
    gc.freeze()


def _sum_up(stats: Stats) -> None:
    line = f"{stats.seconds:.1f} s heard, {stats.events} events, {stats.lost} samples lost"
    if stats.seconds >= _TELLING_SECONDS:
        line += f", {stats.busy / stats.seconds:.1%} of real time busy"
    print(line, file=sys.stderr)


@contextmanager
def progress(files: int) -> Iterator[Callable[[str, float], None]]:
    """Yield a function that shows the present file and how many are done, where standard error is a terminal."""
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:
            pass
        else:
            # results go above the bar if both are on the terminal, in lines as they are, and else where they belong
            console = Console(stderr=True, soft_wrap=True)
            with Progress(console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
                task = bar.add_task("", total=files)
                yield lambda file, done: bar.update(task, description=Path(file).name, completed=done)
            return
    yield lambda file, done: None


def say(message: object) -> None:
    """Print a message that is not a result."""
    sys.stderr.write(f"dance: {message}\n")  # at once: lines of several threads must not run together


def _labels(text: str) -> tuple[str, ...]:
    return tuple(label.strip() for label in text.split(","))


def _sensitivity(text: str) -> float | Mapping[str, float]:
    try:
        if "=" not in text:
            return float(text)
        pairs = (part.split("=") for part in text.split(","))
        return {label.strip(): float(value) for label, value in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor like kick=0.6,snare=0.4") from None
