"""Whether velocities are heard: rank correlation of reported and played velocity on labelled chunks.

Hits are matched within 50 ms; Spearman's correlation over all matched hits of a label, and its median over chunks with
at least 20 of them (inside one recording the level of the mix is the same).

With ``--ceiling`` the same correlations of what a listener could go by stand below: the loudness in the drum's own
bands of the mix at the moment of the report and with 20 ms more, that of the drums alone, and the played velocities
themselves with each recording's mean replaced by the mean that was heard, or by the same mean for all: who hears every
difference inside a recording, but not how hard the drummer plays as a whole.
"""

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from tqdm import tqdm

from benchmarks.common import RATE, guard, mono
from dance import Event, FeatureSpec
from dance.commands.arguments import natural
from dance.detector import RELEASED, Detector
from dance.features import centres, log_mel
from dance.loudness import RANGES
from labelgen.chunks import Label, Manifest, read_labels
from training.score import match

F32 = npt.NDArray[np.float32]
WINDOW = 0.05
FEWEST = 20
HEARD, BY_MEAN, BY_NONE = "velocity", "played, heard means", "played, no means"


def chosen(folder: Path, limit: int) -> list[str]:
    """Return the names of the chunks of a set, or of `limit` spread over it; raise ValueError if there are none."""
    names = sorted(chunk.name for chunk in Manifest(folder).chunks())
    if not names:
        raise ValueError(f"{folder}: no chunks here; make some with labelgen")
    if limit and len(names) > limit:
        names = [names[i] for i in np.linspace(0, len(names) - 1, limit).astype(int)]
    return names


def loudness(frames: F32, spec: FeatureSpec, label: str) -> F32:
    """Return the level of frames [time, bands] in the bands of a drum, in dB [time]."""
    at = centres(spec)
    low, high = RANGES[label]
    power = 10 ** (frames[:, (at >= low) & (at <= high)] / 10)
    return np.asarray(10 * np.log10(power.sum(axis=1) + 1e-12), np.float32)


def around(level: F32, event: Event, spec: FeatureSpec, later: int) -> float:
    """Return the highest level from two frames before an event's report to `later` after it."""
    frame = round(event.reported / event.sample_rate / spec.hop_seconds) - 1
    return float(level[max(0, min(frame, len(level) - 1) - 2) : frame + later + 1].max())


def correlation(rows: Sequence[tuple[int, float, float]]) -> tuple[float, float, int]:
    """Return Spearman's correlation over all rows (chunk, played, heard), its median over chunks, and their number."""
    chunk, played, heard = (np.array(column) for column in zip(*rows, strict=True))

    def rank(of: npt.NDArray[np.bool_]) -> float:
        varied = len(set(played[of])) > 3 and len(set(heard[of])) > 1
        return float(spearmanr(played[of], heard[of]).statistic) if varied else float("nan")

    inside = [rank(chunk == k) for k in np.unique(chunk) if (chunk == k).sum() >= FEWEST]
    inside = [value for value in inside if not np.isnan(value)]
    return rank(chunk >= 0), float(np.median(inside)) if inside else float("nan"), len(inside)


def with_means(rows: Sequence[tuple[int, float, float]]) -> dict[str, list[tuple[int, float, float]]]:
    """Return rows that hear each chunk's differences as played, with the heard mean of the chunk, and with none."""
    chunk, played, heard = (np.array(column) for column in zip(*rows, strict=True))
    own, found = np.zeros(len(rows)), np.zeros(len(rows))
    for k in np.unique(chunk):
        own[chunk == k], found[chunk == k] = played[chunk == k].mean(), heard[chunk == k].mean()
    return {
        name: list(zip(chunk.tolist(), played.tolist(), (played - own + mean).tolist(), strict=True))
        for name, mean in ((BY_MEAN, found), (BY_NONE, 0 * found))
    }


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/velocity.py data/chunks/test-gmd --limit 80",
    )
    add = result.add_argument
    add("sets", nargs="+", type=Path, metavar="SET", help="folders of chunks with velocities")
    add("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    add("--limit", type=natural, default=0, help="most chunks of a set, 0 for all (default: %(default)s)")
    add("--ceiling", action="store_true", help="also what loudness alone would say")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    rows: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    numbers = itertools.count()
    detector = Detector.load(args.model, sample_rate=RATE)
    spec = detector.spec.features
    for folder, names in [(folder, chosen(folder, args.limit)) for folder in args.sets]:
        for number, name in zip(numbers, tqdm(names, desc=folder.name, leave=False)):  # noqa: B905 (no end)
            samples = mono(folder / f"{name}.flac", RATE)
            detector.reset()
            events = detector.process(samples) + detector.flush()
            labels = read_labels(folder / f"{name}.tsv")
            mixed, alone = None, None
            if args.ceiling:
                mixed = log_mel(samples, spec, RATE)
                drums = folder / f"{name}.drums.flac"
                alone = log_mel(mono(drums, RATE), spec, RATE) if drums.exists() else None
            for label in detector.labels:
                for played, event in pairs(labels, events, label):
                    rows[label, HEARD].append((number, played.velocity, event.velocity))
                for what, frames, later in (
                    ("loudness at report", mixed, 0),
                    ("loudness 20 ms later", mixed, 2),
                    ("the same, drums alone", alone, 2),
                ):
                    if frames is not None:
                        level = loudness(frames, spec, label)
                        for played, event in pairs(labels, events, label):
                            rows[label, what].append((number, played.velocity, around(level, event, spec, later)))
    if args.ceiling:
        for label in detector.labels:
            if rows[label, HEARD]:
                for what, made in with_means(rows[label, HEARD]).items():
                    rows[label, what] = made
    table = Table("label", "by", "hits", "correlation", "median in a chunk", "chunks", box=None, header_style="bold")
    for label in detector.labels:
        for (of, what), found in rows.items():
            if of == label and len(found) > 2:
                overall, median, chunks = correlation(found)
                table.add_row(label, what, str(len(found)), f"{overall:.2f}", f"{median:.2f}", str(chunks))
    Console(width=120).print(table)
    return 0


def pairs(labels: Sequence[Label], events: Sequence[Event], label: str) -> list[tuple[Label, Event]]:
    """Return the hits of a label that were found, with their events."""
    played, heard = [x for x in labels if x.label == label], [e for e in events if e.label == label]
    _, matched = match([x.time for x in played], [e.time for e in heard], WINDOW)
    return [(played[i], heard[j]) for i, j in matched]


if __name__ == "__main__":
    sys.exit(main())
