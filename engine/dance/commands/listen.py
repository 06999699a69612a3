"""``dance listen``: drums from a microphone, as they are hit."""

import argparse

from ..microphone import Microphone
from ..network import Network
from .common import add_detector_options, add_display_options, hear, make_detector, say

NAME = "listen"
HELP = "show the drums of a microphone, line input or loopback device"
EXAMPLES = (
    "dance listen",
    "dance listen --device USB --sensitivity 0.6",
    "dance listen --labels kick,snare --plain --seconds 60 > hits.txt",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("--device", type=_device, help="index or part of a name; default: the system's default input")
    add("--rate", type=int, help="samples a second; default: the device's own if the model takes it")
    add("--seconds", type=float, help="stop after this time")
    add_display_options(parser)
    add_detector_options(parser)


def run(options: argparse.Namespace) -> int:
    """Hear the device until Ctrl-C."""
    network = Network(options.model)
    with Microphone(options.device, options.rate or network.spec.sample_rates) as source:
        detector = make_detector(network, source, options)
        try:
            hear(source, detector, f"{source.name}, {source.sample_rate} Hz", options)
        finally:
            if source.overflows:
                say(f"the device itself lost input {source.overflows} times: something else loads the machine")
    return 0


def _device(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
