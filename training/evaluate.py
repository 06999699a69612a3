"""How often a model is right, and how soon, on labelled recordings.

Runs the engine's own Detector over whole recordings. Prints, per label and summed over kick, snare and
hi-hat, precision, recall and F within +-50 and +-25 ms, the decision delay (input that must have arrived
before the event could be reported, minus the labelled time: median, p95, p99) and F per track.

Labels are looked for by the recording's name: ``NAME.tsv`` (columns time, label, velocity) or
``NAME.txt`` (time and class on each line; classes of MDB Drums or our labels). Where a chunk's table says that a hit
drowns in other drums, or that nobody is sure of it (``prominence`` below 0 dB), it counts neither found nor missed.
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from dance import DanceError, Detector, Engine, Event, SourceError
from dance.commands.arguments import chance, positive
from dance.labels import LABELS, OTHER
from dance.sources import SoundFile
from labelgen.chunks import NAMES, Label, layered, read_labels
from labelgen.files import RECORDINGS
from labelgen.label_files import is_number, meanings, read_lines
from training.score import REPORTED, WINDOW, Count, count

WINDOWS = (WINDOW, 0.025)


@dataclass(frozen=True)
class Track:
    """One recording with its truth and what the detector said."""

    name: str
    seconds: float
    truth: list[Label]
    events: list[Event]


def read_truth(path: Path) -> list[Label]:
    """Read a label file of either form; sounds layered to one hit, as chunks may have them, are one.

    Classes that are none of ours are other percussion, and said to be.

    Raises
    ------
    ValueError
        If it is of neither form, the message names the line; or if it names no class of ours.
    OSError
        If it cannot be read.
    """
    if path.suffix == ".tsv":
        labels = read_labels(path, foreign=True)
    else:
        labels = []
        for number, time, cells in read_lines(path):
            name = next((cell for cell in cells if cell and not is_number(cell)), "")
            if not name:
                raise ValueError(f"{path}, line {number}: no class beside the time")
            labels += [Label(time, label or name, 1.0) for label in meanings(name, {})]
    if foreign := sorted({x.label for x in labels}.difference(NAMES)):
        if not any(x.label in NAMES for x in labels):
            raise ValueError(f"{path}: none of its classes ({', '.join(foreign[:5])}) is of {', '.join(NAMES)}")
        print(f"{path}: counted as other percussion: {', '.join(foreign)}", file=sys.stderr)
        labels = [x if x.label in NAMES else x._replace(label=OTHER) for x in labels]
    return layered(labels) if path.suffix == ".tsv" else labels


def detect(detector: Detector, path: Path) -> tuple[list[Event], float]:
    """Return the events of a recording and its length in seconds."""
    events: list[Event] = []
    detector.reset()
    with SoundFile(path, sample_rate=detector.sample_rate) as source:
        stats = Engine(source, detector, events.append).run()
    return events, stats.seconds


def find(audio: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Pair recordings with their label files."""
    pairs = []
    for path in sorted(audio.iterdir()):
        if path.suffix.lower() not in RECORDINGS:
            continue
        found = [p for p in (labels / f"{path.stem}.tsv", labels / f"{path.stem}.txt") if p.exists()]
        if found:
            pairs.append((path, found[0]))
        else:
            print(f"left out, no labels (.tsv or .txt): {path}", file=sys.stderr)
    if not pairs:
        raise ValueError(f"no recording in {audio} has a label file in {labels}")
    return pairs


def score(tracks: Sequence[Track], labels: Sequence[str]) -> dict[str, Any]:
    """Return all figures as plain values."""
    counts: dict[tuple[str, float], Count] = defaultdict(Count)
    by_track: dict[str, Count] = defaultdict(Count)
    delays: dict[str, list[float]] = defaultdict(list)
    biases: dict[str, list[float]] = defaultdict(list)
    for track in tracks:
        for label in labels:
            truth = [x for x in track.truth if x.label == label]
            events = [e for e in track.events if e.label == label]
            for window in WINDOWS:
                counted, pairs = count(truth, [e.time for e in events], window)
                counts[label, window] += counted
                if window == WINDOW:
                    if label in REPORTED:
                        by_track[track.name] += counted
                    for time, e in pairs:
                        event = events[e]
                        delays[label].append(event.reported / event.sample_rate - time)
                        biases[label].append(event.time - time)
    result: dict[str, Any] = {"labels": {}, "tracks": {k: round(c.f, 4) for k, c in by_track.items()}}
    for name in (*labels, "all"):
        members = [x for x in labels if x in REPORTED] if name == "all" else [name]
        late = np.array([d for m in members for d in delays[m]] or [np.nan])
        row: dict[str, Any] = {"tracks": len(tracks)}
        for window in WINDOWS:
            c = sum((counts[m, window] for m in members), Count())
            key = f"{1000 * window:.0f}ms"
            row[key] = {"P": c.precision, "R": c.recall, "F": c.f, "tp": c.tp, "fp": c.fp, "fn": c.fn}
        row["delay_ms"] = {p: 1000 * float(np.percentile(late, q)) for p, q in
                           (("median", 50), ("p95", 95), ("p99", 99))}  # fmt: skip
        row["bias_ms"] = 1000 * float(np.median([b for m in members for b in biases[m]] or [np.nan]))
        result["labels"][name] = row
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """Print the figures as tables."""
    columns = (
        "label",
        "hits",
        "events",
        "P",
        "R",
        "F ±50",
        "F ±25",
        "delay ms: median",
        "p95",
        "p99",
        "bias",
    )
    table = Table(*columns, box=None, header_style="bold")
    for name, row in result["labels"].items():
        c = row["50ms"]
        ms = row["delay_ms"]
        table.add_row(
            name,
            str(c["tp"] + c["fn"]),
            str(c["tp"] + c["fp"]),
            *(f"{c[k]:.3f}" for k in "PRF"),
            f"{row['25ms']['F']:.3f}",
            *(f"{ms[k]:.1f}" for k in ("median", "p95", "p99")),
            f"{row['bias_ms']:+.1f}",
        )
    console.print(table)
    console.print("F ±50 per track: " + ", ".join(f"{k} {v:.2f}" for k, v in result["tracks"].items()))


def _known(value: Any) -> Any:
    """Return figures with None for what nothing was measured of, since JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _known(each) for name, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python training/evaluate.py --audio mdb/audio --labels mdb/labels",
    )
    add = result.add_argument
    add("--model", type=Path, help="ONNX file (default: the released model)")
    add("--audio", type=Path, required=True, help="folder of recordings")
    add("--labels", type=Path, help="folder of label files (default: that of the recordings)")
    add("--only", nargs="+", choices=LABELS, help="score only these labels, if the others are not labelled")
    add("--sensitivity", type=chance, default=0.5, help="0..1 (default: %(default)s)")
    add("--sample-rate", type=positive(int), default=44100, help="the detector's rate (default: %(default)s)")
    add("--json", type=Path, help="also write all figures to this file")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    labels = tuple(args.only or LABELS)
    try:
        detector = Detector.load(args.model, sample_rate=args.sample_rate, labels=labels, sensitivity=args.sensitivity)
        # all labels first: a mistake in the last file need not wait until the others are heard
        pairs = [(path, read_truth(truth)) for path, truth in find(args.audio, args.labels or args.audio)]
        tracks, unheard = [], 0
        for path, truth in tqdm(pairs, unit="track", leave=False):
            try:
                events, seconds = detect(detector, path)
            except SourceError as error:
                print(f"left out: {error}", file=sys.stderr)
                unheard += 1
                continue
            tracks.append(Track(path.stem, seconds, truth, events))
        if not tracks:
            raise ValueError("no recording could be heard")
        result = score(tracks, labels)
        show(result, Console(width=120))
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(_known(result), indent=1) + "\n", encoding="utf-8")
    except (DanceError, OSError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 2 if unheard else 0


if __name__ == "__main__":
    sys.exit(main())
