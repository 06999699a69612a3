"""Models side by side: how often they are right, how soon, and what they cost; a table and a picture.

Each model detects on the same labelled recordings with its own thresholds, as ``training/evaluate.py`` does. The
delay is the audio that must have arrived before an event can be reported, minus the labelled time; the cost is the
time of a hop (features, network and peaks), the best of three passes over the demo song. Run it alone.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.common import RATE, SONG, guard, mono
from dance import Detector
from training.evaluate import Track, detect, find, read_truth, score
from training.score import REPORTED

PASSES = 3


@dataclass(frozen=True)
class Measured:
    """Figures of one model: F at 50 and 25 ms, delays in ms, microseconds a hop, weights."""

    name: str
    f50: float
    f25: float
    labels: tuple[float, ...]
    median: float
    p95: float
    cost: float
    weights: int


def named(text: str) -> tuple[str, Path]:
    """Return the name and the file of a model, from the command line; a file may have ``=`` in its own name."""
    whole = "=" not in text or Path(text).is_file()
    name, _, path = ("", "", text) if whole else text.partition("=")
    return name or Path(path).stem, Path(path)


def weights_of(path: Path) -> int:
    """Return how many numbers a model's graph holds."""
    floats = [t for t in onnx.load(path).graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    return sum(int(np.prod(tensor.dims)) for tensor in floats)


def hop_microseconds(detector: Detector) -> float:
    """Return the time of a hop, the best of some passes over the demo song."""
    samples = mono(SONG, RATE)
    took = []
    for _ in range(PASSES):
        detector.reset()
        begin = perf_counter()
        detector.process(samples)
        took.append(perf_counter() - begin)
    return 1e6 * min(took) * detector.spec.features.hop_seconds * RATE / len(samples)


def measure(name: str, path: Path, pairs: Sequence[tuple[Path, Path]]) -> Measured:
    """Run one model over all recordings."""
    detector = Detector.load(path, sample_rate=RATE)
    tracks = []
    for audio, truth in tqdm(pairs, desc=name, leave=False):
        events, seconds = detect(detector, audio)
        tracks.append(Track(audio.stem, seconds, read_truth(truth), events))
    rows = score(tracks, detector.labels)["labels"]
    figures, late = rows["all"], rows["all"]["delay_ms"]
    return Measured(
        name,
        figures["50ms"]["F"],
        figures["25ms"]["F"],
        tuple(rows[label]["50ms"]["F"] if label in rows else np.nan for label in REPORTED),
        late["median"],
        late["p95"],
        hop_microseconds(detector),
        weights_of(path),
    )


def picture(measured: Sequence[Measured]) -> Figure:
    """Draw F against delay and against cost."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    columns = (
        ("delay of the decision, 95th percentile (ms)", [m.p95 for m in measured]),
        ("a hop (µs)", [m.cost for m in measured]),
    )
    for axes, (title, values) in zip(panels, columns, strict=True):
        axes.scatter(values, [m.f50 for m in measured], s=40)
        for m, value in zip(measured, values, strict=True):
            axes.annotate(m.name, (value, m.f50), xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.set_xlabel(title)
        axes.set_xlim(0, 1.3 * float(np.nanmax([1e-9, *values])))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("micro F of kick, snare, hi-hat (±50 ms)")
    return figure


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/compare.py tcn=tcn.onnx both=both.onnx --audio mdb/audio "
        "--labels mdb/labels --out models.png",
    )
    add = result.add_argument
    add("models", nargs="+", type=named, metavar="NAME=ONNX", help="models and the names to show them by")
    add("--audio", type=Path, required=True, help="folder of recordings")
    add("--labels", type=Path, help="folder of label files (default: that of the recordings)")
    add("--out", type=Path, help="draw a picture of it (PNG, SVG or PDF)")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    pairs = find(args.audio, args.labels or args.audio)
    for _, path in args.models:  # a mistake in the last is told before the first has run
        Detector.load(path, sample_rate=RATE)
    measured = [measure(name, path, pairs) for name, path in args.models]
    table = Table("model", "F ±50 ms", "±25 ms", *REPORTED, "median ms", "p95 ms", "µs a hop", "weights",
                  box=None, header_style="bold")  # fmt: skip
    for m in measured:
        table.add_row(m.name, f"{m.f50:.3f}", f"{m.f25:.3f}", *(f"{f:.3f}" for f in m.labels), f"{m.median:.0f}",
                      f"{m.p95:.0f}", f"{m.cost:.0f}", f"{m.weights:,}")  # fmt: skip
    Console(width=120).print(table)
    if args.out:
        picture(measured).savefig(args.out, dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(main())
