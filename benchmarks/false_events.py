"""Events where there is no drum: speech, instruments, noise, hum, silence; how many in an hour.

Recordings without drums come from folders (``--audio``, files directly in a folder are one kind, named after it);
silence, noise and mains hum are made here. With ``--labelled``, recordings with labels give the recall at the same
sensitivities, so that the table shows what each setting buys and costs.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.common import RATE, guard, mono, recordings
from dance.commands.arguments import chance, positive
from dance.detector import RELEASED, Detector
from labelgen.material import read_rows
from training.evaluate import Track, detect, find, read_truth, score


def synthetic(seconds: float) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield silence, noise and hum."""
    rng = np.random.default_rng(0)
    n = int(seconds * RATE)
    time = np.arange(n) / RATE
    yield "silence", np.zeros(n, np.float32)
    for level in (-70, -40, -20):
        yield f"noise {level} dB", (10 ** (level / 20) * rng.normal(0, 1, n)).astype(np.float32)
    hum = sum(np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 12))
    yield "mains hum -40 dB", (0.01 * hum).astype(np.float32)


def drumless(folder: Path, split: str) -> list[Path]:
    """Return the recordings in `folder`; those of one split, if `split` names one and there is a manifest.

    Raises
    ------
    ValueError
        If there are none, or the manifest lacks a column.
    """
    found = recordings(folder)
    manifest = folder / "manifest.csv"
    if not split or not manifest.exists():
        return found
    splits = {(folder / row["path"]).resolve(): row["split"] for _, row in read_rows(manifest, ("path", "split"))}
    chosen = [path for path in found if splits.get(path.resolve()) == split]
    if not chosen:
        there = ", ".join(sorted(filter(None, {*splits.values()}))) or "none"
        raise ValueError(f"{folder}: no recordings of the split {split}; splits there: {there}")
    return chosen


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/false_events.py --audio nodrums/ --split test --labelled mdb/audio "
        "--labels mdb/labels",
    )
    add = result.add_argument
    add("--audio", type=Path, nargs="*", default=[], help="folders of recordings without drums")
    add("--split", default="", help="use only this split of folders that have a manifest.csv")
    add("--labelled", type=Path, help="folder of recordings with drums, for the recall")
    add("--labels", type=Path, help="their label files (default: beside them)")
    add("--sensitivity", type=chance, nargs="+", default=[0.3, 0.4, 0.5, 0.6, 0.7], help="(default: %(default)s)")
    add("--seconds", type=positive(float), default=120.0, help="of each synthetic sound (default: %(default)s)")
    add("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    detectors = [Detector.load(args.model, sample_rate=RATE, sensitivity=s) for s in args.sensitivity]
    files = [path for folder in args.audio for path in drumless(folder, args.split)]
    pairs = find(args.labelled, args.labels or args.labelled) if args.labelled else []
    counts: dict[str, list[Counter[str]]] = defaultdict(lambda: [Counter() for _ in detectors])
    hours: dict[str, float] = defaultdict(float)
    sounds = [(path.parent.name, path) for path in files] + list(synthetic(args.seconds))
    for kind, sound in tqdm(sounds, unit="recording", leave=False):
        samples = mono(sound, RATE) if isinstance(sound, Path) else sound
        hours[kind] += len(samples) / RATE / 3600
        for detector, count in zip(detectors, counts[kind], strict=True):
            detector.reset()
            count.update(event.label for event in detector.process(samples) + detector.flush())
    console = Console(width=120)
    table = Table("kind", "minutes", *(f"S {s:g}" for s in args.sensitivity), title="false events in an hour", box=None)
    for kind in (*counts, "all"):
        kinds = list(counts) if kind == "all" else [kind]
        length = sum(hours[k] for k in kinds)
        total = [sum((counts[k][i] for k in kinds), Counter()) for i in range(len(detectors))]
        table.add_row(kind, f"{60 * length:.1f}", *(f"{sum(c.values()) / length:.0f}" for c in total))
    for label in detectors[0].labels:
        length = sum(hours.values())
        each = [sum(c[i][label] for c in counts.values()) / length for i in range(len(detectors))]
        table.add_row(f"all: {label}", "", *(f"{x:.0f}" for x in each))
    console.print(table)
    if pairs:
        table = Table("", "recall", "precision", "F ±50 ms", "false events a minute", title="with drums", box=None)
        for sensitivity, detector in zip(args.sensitivity, detectors, strict=True):
            tracks = []
            for path, truth in pairs:
                events, seconds = detect(detector, path)
                tracks.append(Track(path.stem, seconds, read_truth(truth), events))
            row = score(tracks, detector.labels)["labels"]["all"]["50ms"]
            minutes = sum(track.seconds for track in tracks) / 60
            each = (row["R"], row["P"], row["F"])
            table.add_row(f"S {sensitivity:g}", *(f"{x:.3f}" for x in each), f"{row['fp'] / minutes:.1f}")
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
