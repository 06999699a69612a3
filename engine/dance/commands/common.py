"""What several commands share: options of the detector, showing a live source, a word to the user.

Contents
--------
add_detector_options, add_display_options, make_detector, hear, progress, say, MENDABLE
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

from ..detector import RELEASED, Detector
from ..engine import Engine, Stats
from ..events import Event
from ..network import Network
from ..sinks.lines import print_event
from ..sources import Source

DRAW_SECONDS = 1 / 25
MENDABLE = 2
"""Exit code for what the user can mend."""


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide what is detected."""
    add = parser.add_argument
    add("--labels", type=_labels, metavar="A,B", help="drums to report; default: the model's choice")
    add(
        "--sensitivity",
        type=_sensitivity,
        default=0.5,
        metavar="S",
        help="0 (only sure hits) to 1 (every suspicion), for all or as kick=0.6,snare=0.4; default: 0.5",
    )
    add("--model", type=Path, default=RELEASED, metavar="PATH", help="an .onnx file; default: the one inside")


def add_display_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that show hits as they come."""
    parser.add_argument("--plain", action="store_true", help="a line per hit instead of the meter")


def make_detector(network: Network, source: Source, options: argparse.Namespace) -> Detector:
    """Return the detector that the options ask for."""
    return Detector(network, sample_rate=source.sample_rate, labels=options.labels, sensitivity=options.sensitivity)


def hear(
    source: Source,
    detector: Detector,
    title: str,
    options: argparse.Namespace,
    *sinks: Callable[[Event], None],
) -> None:
    """Show the events of a source that runs by the clock, tell `sinks`, and sum up."""
    deadline = monotonic() + options.seconds if options.seconds else float("inf")
    told = list(sinks)

    def on_event(event: Event) -> None:
        for sink in told:
            sink(event)

    engine = Engine(source, detector, on_event)
    with ExitStack() as stack:
        stack.callback(lambda: _sum_up(engine.stats))
        meter = None
        if sys.stdout.isatty() and not options.plain:
            try:
                from ..sinks.meter import Meter
            except ImportError:
                say('a line per hit; for the meter: pip install "dance[show]"')
            else:
                meter = stack.enter_context(Meter(detector.labels, title))
        if meter is None:
            print(title, file=sys.stderr)
        told.append(meter or print_event)
        stack.enter_context(engine)
        while not engine.wait(DRAW_SECONDS) and monotonic() < deadline:
            if meter:
                meter.draw(engine.presence(), engine.stats)


def _sum_up(stats: Stats) -> None:
    busy = stats.busy / stats.seconds if stats.seconds else 0.0
    print(
        f"{stats.seconds:.1f} s heard, {stats.events} events, {stats.lost} samples lost, {busy:.1%} of real time busy",
        file=sys.stderr,
    )


@contextmanager
def progress(files: int) -> Iterator[Callable[[str, float], None]]:
    """Give a function that shows the present file and how many are done, to whoever can see it."""
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:
            pass
        else:
            with Progress(console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task("", total=files)
                yield lambda file, done: bar.update(task, description=Path(file).name, completed=done)
            return
    yield lambda file, done: None


def say(message: object) -> None:
    """Tell the user something that is no result."""
    print(f"dance: {message}", file=sys.stderr)


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
