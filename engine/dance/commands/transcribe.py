"""``dance transcribe``: the drums of files as tables, MIDI, labels and pictures, through the same streaming loop."""

import argparse
import errno
from collections.abc import Sequence
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
    USER_ERROR,
    add_detector_options,
    load_settings,
    make_detector,
    make_folder,
    progress,
    refuse_to_overwrite,
    say,
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
        help="folder for NAME.tsv and so on; files with the same NAME become NAME, NAME-2, NAME-3",
    )
    add(
        "--format",
        default="tsv",
        metavar="A,B",
        help="; ".join(f"{name}: {form.purpose}" for name, form in FORMATS.items()) + "; default: tsv",
    )
    add("--plot", action="store_true", help="also draw each song with its events: NAME.png")
    add("--force", action="store_true", help="replace files beside the song if --out is the song's own folder")
    add("--jobs", type=count, default=cores(), metavar="N", help="files at once; default: one a core (%(default)s)")
    add_detector_options(parser)


def run(options: argparse.Namespace) -> int:
    """Write the results of each file; files that cannot be read are named and passed over."""
    if options.plot and find_spec("matplotlib") is None:
        raise SpecError(f"--plot needs matplotlib: {install('show')}")
    writers(options.format.split(","))  # what is wrong with these is told before the work, not after it
    _network(options.model)
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
    return USER_ERROR if failures else 0


class Song(NamedTuple):
    """A file and the name of its results."""

    file: str
    name: str

    def __str__(self) -> str:
        return self.file


@dataclass(frozen=True, slots=True)
class Done:
    """What was written for a song, how many events it has, and how many times faster than real time that was."""

    paths: list[Path]
    events: int
    speed: float


def transcribe(song: Song, report: Report, options: argparse.Namespace, settings: Settings | None) -> Done:
    """Write the results of one file.

    Raises
    ------
    SourceError
        If it cannot be read, its results would replace files beside it, or its name is too long for them.
    """
    try:
        return _transcribe(song, report, options, settings)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise SourceError(
            f"{printable(song.file)}: the name is too long for those of its results; rename the file"
        ) from None


def _transcribe(song: Song, report: Report, options: argparse.Namespace, settings: Settings | None) -> Done:
    network = _network(options.model)
    network.reset()
    names = dict.fromkeys(options.format.split(","))
    base = options.out / song.name
    picture = beside(base, ".png")
    events: list[Event] = []
    with SoundFile(song.file, network.spec.sample_rates) as source:
        began = perf_counter()
        detector = make_detector(network, source, options, settings)
        paths = [path for name in names for path in FORMATS[name].paths(base, detector.labels)]
        paths += [picture] if options.plot else []
        refuse_to_overwrite(paths, song.file, options)
        with Engine(source, detector, events.append) as engine:
            while not engine.wait(DRAW_SECONDS):
                report(engine.stats.seconds / source.seconds)
        seconds, elapsed = engine.stats.seconds, perf_counter() - began
    heard = Heard(printable(song.name), seconds, detector.sample_rate, detector.labels, tuple(events))
    for write in writers(names):
        write(base, heard)
    if options.plot:
        from ..plot import draw

        with SoundFile(song.file, network.spec.sample_rates) as source:
            draw(picture, source, network.spec.features, detector.labels, events)
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


@cache
def _network(model: Path) -> Network:
    """Return this process's network, which its files use one after the other."""
    return Network(model)
