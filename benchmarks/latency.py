"""How late events are: the decision alone on labelled music, and attack to callback through a virtual microphone.

The first table takes no devices and no clock: for each hit found (within 50 ms, one to one), the audio that must have
arrived before it is reported, minus the labelled time. It is the same on every machine. The second plays
hits into a PulseAudio server of its own and hears them through PortAudio, as ``dance latency --virtual`` does; there,
absolute figures hold for this machine at this moment only: run it alone. Goals for what comes beyond the
decision, with periods of 256: median and p99 at most 25 and 50 ms, better 15 and 30 ms.

Labels are looked for by the recording's name, as ``training/evaluate.py`` does; the default is the demo song.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.common import RATE, SONG, guard
from dance import SourceError
from dance.colours import colour
from dance.commands.arguments import count, natural, period
from dance.commands.latency import report
from dance.detector import RELEASED, Detector
from dance.latency import PARTS, Measurement, measure_virtually
from dance.score import compare
from dance.tables import Hit
from training.evaluate import detect, find, read_truth

PART_COLOURS = ("#8d99ae", "#e4572e", "#f3a712", "#4caf50", "#29b6c6", "#a05cc0")
"""Of the parts of a delay, in a chart that shows no drums."""


def decision_delays(detector: Detector, pairs: Sequence[tuple[Path, Path]]) -> dict[str, npt.NDArray[np.float64]]:
    """Return, for each label of the detector and for all, the seconds of each hit that was found."""
    delays: dict[str, list[float]] = {label: [] for label in (*detector.labels, "all")}
    for audio, labels in pairs:
        events, _ = detect(detector, audio)
        hits = [Hit(hit.time, hit.label, hit.velocity) for hit in read_truth(labels)]
        for label, score in compare(hits, events, detector.labels).items():
            delays[label] += score.delays
    return {label: np.array(values) for label, values in delays.items() if values or label == "all"}


def show(delays: dict[str, npt.NDArray[np.float64]], console: Console) -> None:
    """Print the decision delays."""
    table = Table("decision delay, ms", "hits found", "p50", "p95", "p99", "max", box=None)
    for label, values in delays.items():
        ms = (*np.percentile(values, (50, 95, 99)), values.max())
        table.add_row(label, str(len(values)), *(f"{1000 * value:.1f}" for value in ms))
    console.print(table)


def draw(path: Path, delays: dict[str, npt.NDArray[np.float64]], measured: Measurement | None) -> None:
    """Write the chart: how many hits are told within a time, and where that time goes."""
    figure = Figure(figsize=(11, 4.4), dpi=100, layout="constrained")
    if measured is None:
        left = figure.subplots()
    else:
        grid = figure.add_gridspec(2, 2, height_ratios=(3, 1))
        left = figure.add_subplot(grid[:, 0])
    for label, values in delays.items():
        if label != "all":
            _share(left, values, f"{label} ({len(values)} hits)", colour(label))
    left.set_title("Decision: audio needed after the attack")
    left.set_xlabel("milliseconds after the labelled attack")
    left.set_ylabel("share of the hits found, %")
    left.legend(loc="lower right")
    if measured is not None:
        right, below = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
        _share(right, measured.total, "attack to callback", "0.2")
        _share(right, measured.beyond_decision, "of that, beyond the decision", PART_COLOURS[0])
        right.set_xlim(0, 1.05 * 1000 * measured.total.max())
        right.set_title(f"Through a virtual microphone ({measured.period} frames, {len(measured.labels)} hits)", pad=26)
        right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
        _bar(below, 1000 * measured.parts.mean(axis=0))
        below.set_xlim(right.get_xlim())
    figure.savefig(path)


def _share(axes: Axes, seconds: npt.NDArray[np.float64], name: str, shade: str) -> None:
    axes.ecdf(1000 * seconds, label=name, color=shade, linewidth=2)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{share:.0f}" for share in np.linspace(0, 100, 6)])
    axes.grid(color="0.9")


def _bar(axes: Axes, means: npt.NDArray[np.float64]) -> None:
    """Draw the parts of the mean in a row."""
    start = 0.0
    for part, mean, shade in zip(PARTS, means, PART_COLOURS, strict=True):
        axes.barh(0, mean, left=start, color=shade, label=f"{part} {mean:.2g}")
        start += mean
    axes.set_yticks([])
    axes.set_xlabel("milliseconds; the bar: the mean, part by part")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6), ncols=3, frameon=False)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python benchmarks/latency.py --out latency.png\n"
        "  python benchmarks/latency.py --audio mdb/audio --labels mdb/labels",
    )
    add = result.add_argument
    add("--audio", type=Path, help="folder of labelled recordings (default: the demo song)")
    add("--labels", type=Path, help="folder of label files (default: that of the recordings)")
    add("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    add("--sample-rate", type=count, default=RATE, help="(default: %(default)s)")
    add("--hits", type=natural, default=200,
        help="to play through the virtual microphone; 0: none (default: %(default)s)")  # fmt: skip
    add("--period", type=period, default=256, metavar="N", help="of the virtual microphone, in frames (default: "
        "%(default)s)")  # fmt: skip
    add("--out", type=Path, help="write the chart here, a PNG")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    console = Console(width=100)
    detector = Detector.load(args.model, sample_rate=args.sample_rate)
    pairs = find(args.audio, args.labels or args.audio) if args.audio else [(SONG, SONG.with_suffix(".tsv"))]
    delays = decision_delays(detector, pairs)
    if not len(delays["all"]):
        raise ValueError("no labelled hit was found: do the labels belong to these recordings?")
    show(delays, console)
    measured = None
    if args.hits:
        try:
            measured = measure_virtually(
                lambda source: Detector.load(args.model, sample_rate=source.sample_rate),
                sample_rate=args.sample_rate,
                hits=args.hits,
                period=args.period,
            )
        except SourceError as error:
            print(f"latency: not measured through the virtual microphone: {error}", file=sys.stderr)
        else:
            console.print()
            console.print(report(measured), highlight=False, markup=False)
    if args.out:
        draw(args.out, delays, measured)
        print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
