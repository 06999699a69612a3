"""The command ``dance``: devices, listen, play, transcribe.

Results go to standard output, everything else to standard error. What the user can mend (a missing device, a
broken file, a wrong argument) is one line there and exit code 2; Ctrl-C is 130; anything else is a bug and
shows its traceback.

Contents
--------
main
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, perf_counter

from ._version import __version__
from .detector import RELEASED, Detector
from .engine import Engine, Stats
from .errors import DanceError, SourceError
from .events import Event
from .microphone import Microphone, list_devices
from .network import Network
from .score import compare, report
from .sinks.lines import print_event
from .sources import SoundFile, Source
from .tables import event_writer, read_hits

_DRAW_SECONDS = 1 / 25
_MENDABLE, _INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (DanceError, OSError) as error:
        _say(error)
        return _MENDABLE
    except KeyboardInterrupt:
        return _INTERRUPTED


def _devices(options: argparse.Namespace) -> int:
    found = list_devices()
    if not found:
        raise SourceError("no input device: plug one in, or start the sound server (PipeWire, PulseAudio, JACK)")
    print("index  channels    rate  name      (* taken when none is named)")
    for device in found:
        mark = "*" if device.default else " "
        print(f"{device.index:4} {mark}{device.channels:9}{device.sample_rate:8}  {device.name}")
    return 0


def _listen(options: argparse.Namespace) -> int:
    network = Network(options.model)
    with Microphone(options.device, options.rate or network.spec.sample_rates) as source:
        detector = _detector(network, source, options)
        try:
            _hear(source, detector, f"{source.name}, {source.sample_rate} Hz", options)
        finally:
            if source.overflows:
                _say(f"the device itself lost input {source.overflows} times: something else loads the machine")
    return 0


def _play(options: argparse.Namespace) -> int:
    network = Network(options.model)
    rates = network.spec.sample_rates
    hits = read_hits(options.truth) if options.truth else []
    events: list[Event] = []
    if options.out:
        table, picture = (options.out / f"{Path(options.file).stem}.{kind}" for kind in ("tsv", "png"))
        if options.truth and table.resolve() == options.truth.resolve():
            raise SourceError(f"{table} is the truth and would be overwritten; choose another --out")
    with SoundFile(options.file, rates, realtime=True) as source:
        detector = _detector(network, source, options)
        _hear(source, detector, options.file, options, events.append)
    if options.truth:
        print(report(compare(hits, events, detector.labels)))
    if options.out:
        with event_writer(table) as write:
            for event in events:
                write(event)
        print(table)
        try:
            from .plot import draw
        except ImportError as error:
            _say(f'no picture without matplotlib: pip install "dance[show]" ({error})')
            return 0
        with SoundFile(options.file, rates) as source:
            draw(picture, source, detector.spec.features, detector.labels, events, hits)
        print(picture)
    return 0


def _transcribe(options: argparse.Namespace) -> int:
    network = Network(options.model)
    failures = 0
    with _progress(len(options.files)) as show:
        for number, (file, name) in enumerate(zip(options.files, output_names(options.files), strict=True)):
            target = options.out / f"{name}.tsv"
            try:
                with SoundFile(file, network.spec.sample_rates) as source, event_writer(target) as write:
                    network.reset()
                    began = perf_counter()
                    with Engine(source, _detector(network, source, options), write) as engine:
                        while not engine.wait(_DRAW_SECONDS):
                            show(file, number + engine.stats.seconds / source.seconds)
                    stats, elapsed = engine.stats, perf_counter() - began
            except SourceError as error:
                _say(error)
                failures += 1
                continue
            print(f"{file} -> {target}: {stats.events} events, {stats.seconds / elapsed:.0f} x real time")
    return _MENDABLE if failures else 0


def output_names(files: Sequence[str]) -> list[str]:
    """Return a name for each file's results: its stem, with -2, -3 ... when an earlier one has the same."""
    names: list[str] = []
    for file in files:
        stem = name = Path(file).stem
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names


def _detector(network: Network, source: Source, options: argparse.Namespace) -> Detector:
    return Detector(network, sample_rate=source.sample_rate, labels=options.labels, sensitivity=options.sensitivity)


def _hear(
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
                from .sinks.meter import Meter
            except ImportError:
                _say('a line per hit; for the meter: pip install "dance[show]"')
            else:
                meter = stack.enter_context(Meter(detector.labels, title))
        if meter is None:
            print(title, file=sys.stderr)
        told.append(meter or print_event)
        stack.enter_context(engine)
        while not engine.wait(_DRAW_SECONDS) and monotonic() < deadline:
            if meter:
                meter.draw(engine.presence(), engine.stats)


def _sum_up(stats: Stats) -> None:
    busy = stats.busy / stats.seconds if stats.seconds else 0.0
    print(
        f"{stats.seconds:.1f} s heard, {stats.events} events, {stats.lost} samples lost, {busy:.1%} of real time busy",
        file=sys.stderr,
    )


@contextmanager
def _progress(files: int) -> Iterator[Callable[[str, float], None]]:
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


def _say(message: object) -> None:
    print(f"dance: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dance",
        description="Hear every drum: which, when, how hard.",
        epilog="dance COMMAND -h explains each.",
    )
    parser.add_argument("--version", action="version", version=f"dance {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str, *examples: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog="\n  ".join(["examples:", *examples]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(command=run)
        return added

    command("devices", _devices, "list the inputs that `dance listen --device` takes", "dance devices")

    listen = command(
        "listen",
        _listen,
        "show the drums of a microphone, line input or loopback device",
        "dance listen",
        "dance listen --device USB --sensitivity 0.6",
        "dance listen --labels kick,snare --plain --seconds 60 > hits.txt",
    )
    listen.add_argument("--device", type=_device, help="index or part of a name; default: the system's default input")
    listen.add_argument("--rate", type=int, help="samples a second; default: the device's own if the model takes it")
    listen.add_argument("--seconds", type=float, help="stop after this time")

    play = command(
        "play",
        _play,
        "show the drums of an audio file at the pace of the music (nothing sounds)",
        "dance play song.flac",
        "dance play song.flac --truth song.tsv --out heard",
    )
    play.add_argument("file", metavar="FILE", help="any audio file that libsndfile reads")
    play.add_argument(
        "--truth", type=Path, metavar="TSV", help="true hits (time, label, velocity): print precision and recall"
    )
    play.add_argument("--out", type=Path, metavar="DIR", help="leave a picture and the list of events here")
    play.set_defaults(seconds=None)

    transcribe = command(
        "transcribe",
        _transcribe,
        "write the drums of audio files as tables, as fast as possible",
        "dance transcribe song.flac --out heard",
        "dance transcribe album/*.mp3 --out heard",
    )
    transcribe.add_argument("files", nargs="+", metavar="FILE", help="any audio file that libsndfile reads")
    transcribe.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where NAME.tsv goes; files that share a NAME become NAME, NAME-2, NAME-3",
    )

    for each in (listen, play):
        each.add_argument("--plain", action="store_true", help="a line per hit instead of the meter")
    for each in (listen, play, transcribe):
        each.add_argument("--labels", type=_labels, metavar="A,B", help="drums to report; default: the model's choice")
        each.add_argument(
            "--sensitivity",
            type=_sensitivity,
            default=0.5,
            metavar="S",
            help="0 (only sure hits) to 1 (every suspicion), for all or as kick=0.6,snare=0.4; default: 0.5",
        )
        each.add_argument(
            "--model",
            type=Path,
            default=RELEASED,
            metavar="PATH",
            help="an .onnx file; default: the one inside",
        )
    return parser


def _device(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


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
