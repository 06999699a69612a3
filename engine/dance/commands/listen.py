"""``dance listen``: drums from a microphone, as they are hit."""

import argparse
import math
from contextlib import nullcontext

from .. import raw
from ..errors import SpecError
from ..microphone import PERIOD, Microphone
from ..network import Network
from ..portaudio import list_devices
from . import monitor, outputs
from .arguments import count, device, period, positive
from .common import (
    add_detector_options,
    add_display_options,
    add_scheduling_options,
    apply_scheduling,
    hear,
    load_settings,
    make_detector,
    say,
)

NAME = "listen"
HELP = "show the drums of a microphone, line input or loopback device"
EXAMPLES = (
    "dance listen",
    "dance listen --device USB --sensitivity 0.6",
    "dance listen --web",
    "dance listen --realtime --cpu 3 --period 128 --settings room.json",
    "dance listen --osc 7000 --every kick=4 --above snare=0.3",
    "dance listen --midi --websocket --wled strip.local",
    "ffmpeg -re -i song.mp3 -f f32le -ac 1 -ar 44100 - | dance listen --stdin",
    "dance listen --labels kick,snare --plain --seconds 60 > hits.txt",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("--device", type=device, help="index or part of a name; default: the system's default input")
    add("--rate", type=count, help="samples a second; default: the device's own rate if the model accepts it")
    add(
        "--period",
        type=period,
        metavar="N",
        help=f"frames per block from the device; fewer mean less delay and more load; default: {PERIOD}",
    )
    add(
        "--stdin",
        nargs="?",
        choices=tuple(raw.FORMATS),
        const=next(iter(raw.FORMATS)),
        help="read raw mono samples from standard input instead, in this format (default: %(const)s), at --rate",
    )
    add("--no-reconnect", action="store_true", help="end when the device is not available, instead of waiting for it")
    add(
        "--seconds",
        type=positive(float, "seconds"),
        metavar="S",
        help="stop after this time; also the longest wait for a device",
    )
    add_display_options(parser)
    add_detector_options(parser)
    monitor.add_options(parser)
    outputs.add_options(parser)
    add_scheduling_options(parser)


def run(options: argparse.Namespace) -> int:
    """Hear the device until Ctrl-C, or standard input to its end."""
    apply_scheduling(options)
    network = Network(options.model)
    settings = load_settings(options)

    known = network.spec.sample_rates
    rates = options.rate or known
    if options.stdin and options.device is not None:
        raise SpecError("--stdin and --device are two sources; choose one")
    if options.stdin and options.period is not None:
        raise SpecError("--period applies to devices only; leave it out with --stdin")
    if options.stdin and options.rate and options.rate not in known:
        raise SpecError(
            f"{network.spec.name} takes {' or '.join(map(str, known))} samples a second, not {options.rate}: "
            f"let the program that writes them resample, as in ffmpeg -ar {known[0]}, and give --rate {known[0]}"
        )
    frames = options.period or PERIOD
    patience = 0.0 if options.no_reconnect else options.seconds or math.inf

    def tell(change: str) -> None:
        say(change)
        if page:
            page.tell(change)

    def open_source(device: int | str | None) -> Microphone | raw.RawInput:
        if options.stdin:
            return raw.RawInput(options.stdin, options.rate or known[0])
        return Microphone(
            device,
            rates,
            period=frames,
            reconnect=not options.no_reconnect,
            patience=0.0 if page else patience,  # the page offers others meanwhile
            tell=tell,
        )

    def hear_one(device: int | str | None) -> None:
        with open_source(device) as source:
            network.reset()
            detector = make_detector(network, source, options, settings)
            try:
                hear(source, detector, f"{source.name}, {source.sample_rate} Hz", options, outputs=out, monitor=page)
            finally:
                if isinstance(source, Microphone) and source.overflows:
                    say(
                        f"the device itself lost input {source.overflows} times: "
                        "the machine is busy with something else"
                    )

    with (
        outputs.from_options(options, network) as out,
        monitor.from_options(options, None if options.stdin else list_devices) or nullcontext() as page,
    ):
        monitor.in_turn(hear_one, options.device, page, patience=patience)
    return 0
