"""``dance play``: a file through the live engine, at the pace of the music."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from ..errors import SourceError, SpecError, install
from ..events import Event
from ..network import Network
from ..score import compare, report
from ..sources import SoundFile
from ..tables import read_hits, write_events
from . import monitor, outputs
from .common import (
    add_detector_options,
    add_display_options,
    hear,
    load_settings,
    make_detector,
    make_folder,
    refuse_to_overwrite,
    say,
)

NAME = "play"
HELP = "show the drums of an audio file at the pace of the music (without playing it)"
EXAMPLES = (
    "dance play song.flac",
    "dance play song.flac --loop --web",
    "dance play song.flac --truth song.tsv --out heard",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("file", metavar="FILE", help="any audio file that libsndfile reads")
    add("--truth", type=Path, metavar="TSV", help="true hits (time, label, velocity): print precision and recall")
    add("--out", type=Path, metavar="DIR", help="write a picture and the list of events to this folder")
    add("--force", action="store_true", help="replace files beside the song if --out is the song's own folder")
    add("--loop", action="store_true", help="start again at the end, until Ctrl-C")
    parser.set_defaults(seconds=None)
    add_display_options(parser)
    add_detector_options(parser)
    monitor.add_options(parser)
    outputs.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Hear the file in real time; compare and draw if asked to."""
    network = Network(options.model)
    rates = network.spec.sample_rates
    settings = load_settings(options)
    hits = read_hits(options.truth) if options.truth else []
    events: list[Event] = []
    if options.out:
        table, picture = (options.out / f"{Path(options.file).stem}.{kind}" for kind in ("tsv", "png"))
        if options.truth and table.resolve() == options.truth.resolve():
            raise SourceError(f"{table} is the truth and would be overwritten; choose another --out")
    if options.loop and (options.truth or options.out):
        raise SpecError(
            "--loop never ends, so there is nothing to sum up; leave out either --loop or --truth and --out"
        )
    if options.out:
        make_folder(options.out)
        refuse_to_overwrite((table, picture), options.file, options)
    with outputs.from_options(options, network) as out, monitor.from_options(options) or nullcontext() as page:
        while True:
            with SoundFile(options.file, rates, realtime=True) as source:
                network.reset()
                detector = make_detector(network, source, options, settings)
                hear(source, detector, source.name, options, events.append, outputs=out, monitor=page)
            if not options.loop:
                break
            events.clear()
    summary = sys.stderr if options.json else sys.stdout
    if options.truth:
        print(report(compare(hits, events, detector.labels)), file=summary)
    if options.out:
        write_events(table, events)
        print(table, file=summary)
        try:
            from ..plot import draw
        except ImportError as error:
            say(f"no picture without matplotlib: {install('show')} ({error})")
            return 0
        with SoundFile(options.file, rates) as source:
            draw(picture, source, detector.spec.features, detector.labels, events, hits)
        print(picture, file=summary)
    return 0
