"""``dance transcribe``: the drums of files as tables, MIDI, labels and pictures, through the same streaming loop."""

import argparse
import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from ..batch import Report, cores, each
from ..engine import Engine
from ..errors import SourceError, SpecError, install
from ..events import Event
from ..formats import FORMATS, Heard, writers
from ..formats.heard import beside
from ..network import Network
from ..settings import Settings
from ..sources import SoundFile, printable
from .arguments import count
from .common import (
    DRAW_SECONDS,
    MENDABLE,
    add_detector_options,
    load_settings,
    make_detector,
    make_folder,
    progress,
    say,
    spare,
)

NAME = "transcribe"
HELP = "write the drums of audio files as tables, MIDI or labels, as fast as possible"
EXAMPLES = (
    "dance transcribe song.flac --out heard",
    "dance transcribe song.flac --out heard --format midi,audacity --plot",
    "dance transcribe album/*.mp3 --out heard --jobs 4",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="any audio file that libsndfile reads")
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where NAME.tsv goes; files that share a NAME become NAME, NAME-2, NAME-3",
    )
    add(
        "--format",
        default="tsv",
        metavar="A,B",
        help="; ".join(f"{name}: {form.purpose}" for name, form in FORMATS.items()) + "; default: tsv",
    )
    add("--plot", action="store_true", help="draw each song with its events, too: NAME.png")
    add("--force", action="store_true", help="replace what lies beside the song, where --out is the song's own folder")
    add("--jobs", type=count, default=cores(), metavar="N", help="files at once; default: one a core (%(default)s)")
    add_detector_options(parser)


def run(options: argparse.Namespace) -> int:
    """Write the results of each file; what cannot be read is named and passed over."""
    if options.plot and find_spec("matplotlib") is None:
        raise SpecError(f"--plot needs matplotlib: {install('show')}")
    writers(options.format.split(","))  # refuses before the work, not after it
    Network(options.model)
    make_folder(options.out)
    songs = list(map(Song, options.files, output_names(options.files)))
    failures = 0
    with progress(len(songs)) as show:
        work = partial(transcribe, options=options, settings=load_settings(options))
        for song, done in each(work, songs, options.jobs, lambda song, done: show(song.file, done)):
            if isinstance(done, SourceError):
                say(done)
                failures += 1
                continue
            paths = ", ".join(map(str, done.paths))
            print(f"{song.file} -> {paths}: {done.events} events, {done.speed:.0f} x real time")
    return MENDABLE if failures else 0


class Song(NamedTuple):
    """A file and the name of its results."""

    file: str
    name: str

    def __str__(self) -> str:
        return self.file


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a song."""

    paths: list[Path]
    events: int
    speed: float


def transcribe(song: Song, report: Report, options: argparse.Namespace, settings: Settings | None) -> Done:
    """Write the results of one file.

    Raises
    ------
    SourceError
        If it cannot be read, would lose a file that lies beside it, or has too long a name for its results.
    """
    try:
        return _transcribe(song, report, options, settings)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise SourceError(f"{printable(song.file)}: the name is too long for its results; rename the file") from None


def _transcribe(song: Song, report: Report, options: argparse.Namespace, settings: Settings | None) -> Done:
    network = _network(options.model)
    network.reset()
    events: list[Event] = []
    with SoundFile(song.file, network.spec.sample_rates) as source:
        began = perf_counter()
        detector = make_detector(network, source, options, settings)
        spare(_results(song, detector.labels, options), song.file, options)
        with Engine(source, detector, events.append) as engine:
            while not engine.wait(DRAW_SECONDS):
                report(engine.stats.seconds / source.seconds)
        seconds, elapsed = engine.stats.seconds, perf_counter() - began
    heard = Heard(printable(song.name), seconds, detector.sample_rate, detector.labels, tuple(events))
    base = options.out / song.name
    paths = [path for write in writers(options.format.split(",")) for path in write(base, heard)]
    if options.plot:
        from ..plot import draw

        paths.append(beside(base, ".png"))
        with SoundFile(song.file, network.spec.sample_rates) as source:
            draw(paths[-1], source, network.spec.features, detector.labels, events)
    return Done(paths, len(events), seconds / elapsed)


def output_names(files: Sequence[str]) -> list[str]:
    """Return a name for each file's results: its stem, with -2, -3 ... when an earlier one has the same."""
    names: list[str] = []
    taken: set[str] = set()
    last: dict[str, int] = {}
    for file in files:
        stem = name = Path(file).stem
        while name in taken:
            last[stem] = last.get(stem, 1) + 1
            name = f"{stem}-{last[stem]}"
        taken.add(name)
        names.append(name)
    return names


def _results(song: Song, labels: Sequence[str], options: argparse.Namespace) -> Iterator[Path]:
    """Yield the files that a song's results may go to."""
    endings = [FORMATS[name].ending for name in options.format.split(",")] + [".png"] * options.plot
    for ending in endings:
        for label in labels:
            yield beside(options.out / song.name, ending.format(label=label))


@cache
def _network(model: Path) -> Network:
    """Return the network of this process: files share it, one after the other."""
    return Network(model)
