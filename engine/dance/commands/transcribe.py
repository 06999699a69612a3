"""``dance transcribe``: the drums of files as tables, through the same streaming loop."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from ..engine import Engine
from ..errors import SourceError
from ..network import Network
from ..sources import SoundFile
from ..tables import event_writer
from .common import DRAW_SECONDS, MENDABLE, add_detector_options, make_detector, progress, say

NAME = "transcribe"
HELP = "write the drums of audio files as tables, as fast as possible"
EXAMPLES = (
    "dance transcribe song.flac --out heard",
    "dance transcribe album/*.mp3 --out heard",
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
    add_detector_options(parser)


def run(options: argparse.Namespace) -> int:
    """Write a table for each file; what cannot be read is named and passed over."""
    network = Network(options.model)
    failures = 0
    with progress(len(options.files)) as show:
        for number, (file, name) in enumerate(zip(options.files, output_names(options.files), strict=True)):
            target = options.out / f"{name}.tsv"
            try:
                with SoundFile(file, network.spec.sample_rates) as source, event_writer(target) as write:
                    network.reset()
                    began = perf_counter()
                    with Engine(source, make_detector(network, source, options), write) as engine:
                        while not engine.wait(DRAW_SECONDS):
                            show(file, number + engine.stats.seconds / source.seconds)
                    stats, elapsed = engine.stats, perf_counter() - began
            except SourceError as error:
                say(error)
                failures += 1
                continue
            print(f"{file} -> {target}: {stats.events} events, {stats.seconds / elapsed:.0f} x real time")
    return MENDABLE if failures else 0


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
