"""``dance latency``: how late the callback is, measured through the devices of this machine."""

import argparse

import numpy as np
from numpy.typing import NDArray

from ..detector import Detector
from ..errors import SpecError
from ..latency import PARTS, Measurement, measure, measure_virtually
from ..network import Network
from ..sources import Source
from .arguments import count, device, period
from .common import add_detector_options, load_settings, make_detector, say

NAME = "latency"
HELP = "play hits, hear them, and print how long after the attack the callback comes, part by part"
EXAMPLES = (
    "dance latency                                   (speaker and microphone, or a cable from output to input)",
    "dance latency --device USB --output USB --hits 200 --period 128",
    "dance latency --virtual                         (no hardware: through a PulseAudio server of its own)",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("--device", type=device, help="input: index or part of a name; default: the system's default input")
    add("--output", type=device, help="output: index or part of a name; default: the system's default output")
    add("--virtual", action="store_true", help="measure through a virtual microphone instead (needs PulseAudio)")
    add("--rate", type=count, help="samples a second of both; default: the input's own rate if the model accepts it")
    add("--hits", type=count, default=60, metavar="N", help="how many to play, two a second; default: 60")
    add("--period", type=period, default=256, metavar="N", help="frames per block of the devices; default: 256")
    add_detector_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    if options.virtual and not (options.device is options.output is None):
        raise SpecError("--virtual makes its own devices; leave out --device and --output")
    network = Network(options.model)
    settings = load_settings(options)

    def detect(source: Source) -> Detector:
        return make_detector(network, source, options, settings)

    say(f"playing {options.hits} hits; other sounds near the microphone disturb the measurement")
    if options.virtual:
        rate = options.rate or network.spec.sample_rates[0]
        measured = measure_virtually(detect, sample_rate=rate, hits=options.hits, period=options.period)
    else:
        measured = measure(
            detect,
            device=options.device,
            output=options.output,
            sample_rate=options.rate or network.spec.sample_rates,
            hits=options.hits,
            period=options.period,
        )
    print(report(measured))
    return 0


def report(measured: Measurement) -> str:
    """Return a measurement as text to print."""
    columns = dict(zip(PARTS, measured.parts.T, strict=True))
    all_rows = {**columns, "beyond decision": measured.beyond_decision, "attack to callback": measured.total}
    lines = [
        f'"{measured.output}" -> "{measured.input}", {measured.sample_rate} Hz, periods of {measured.period}: '
        f"{measured.played} hits played, {measured.arrived} arrived, {len(measured.labels)} reported",
        "",
        f"{'milliseconds':20}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}",
        *(_row(name, values) for name, values in all_rows.items()),
        "",
        f"compensation for a visual: {1000 * measured.compensation:.0f} ms behind the sound at the microphone",
        f"(half of the devices' {1000 * measured.device:.1f} ms is the output's, which live music does not pass)",
    ]
    if measured.lost:
        lines.append(
            f"{measured.lost} samples were lost because the engine was late: the machine is busy with something else"
        )
    if measured.underflows:
        lines.append(f"the output ran dry {measured.underflows} times: try a longer --period")
    return "\n".join(lines)


def _row(name: str, seconds: NDArray[np.float64]) -> str:
    values = (*np.percentile(seconds, (50, 95, 99)), seconds.max())
    return f"{name:20}" + "".join(f"{1000 * value:8.2f}" for value in values)
