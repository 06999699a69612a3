"""Whether velocities are heard: rank correlation of reported and played velocity on labelled chunks.

Hits are matched within 50 ms; Spearman's correlation over all matched hits of a label, and its median over chunks with
at least 20 of them (inside one recording the level of the mix is the same).
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from tqdm import tqdm

from benchmarks.room import RATE, read
from dance import Detector
from labelgen.chunks import Manifest, read_labels
from training.score import match

WINDOW = 0.05
FEWEST = 20


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/velocity.py data/chunks/test-gmd --limit 80",
    )
    add = result.add_argument
    add("sets", nargs="+", type=Path, metavar="SET", help="folders of chunks with velocities")
    add("--model", type=Path, help="ONNX file (default: the released model)")
    add("--limit", type=int, default=0, help="most chunks of a set, 0 for all (default: %(default)s)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    inside: dict[str, list[float]] = defaultdict(list)
    try:
        detector = Detector.load(args.model, sample_rate=RATE)
        for folder in args.sets:
            names = sorted(chunk.name for chunk in Manifest(folder).chunks())
            if args.limit and len(names) > args.limit:
                names = [names[i] for i in np.linspace(0, len(names) - 1, args.limit).astype(int)]
            for name in tqdm(names, desc=folder.name, leave=False):
                samples = read(folder / f"{name}.flac")
                detector.reset()
                events = detector.process(samples) + detector.flush()
                labels = read_labels(folder / f"{name}.tsv")
                for label in detector.labels:
                    played = [x for x in labels if x.label == label]
                    heard = [e for e in events if e.label == label]
                    _, matched = match([x.time for x in played], [e.time for e in heard], WINDOW)
                    both = [(played[i].velocity, heard[j].velocity) for i, j in matched]
                    pairs[label] += both
                    if len(both) >= FEWEST and len({v for v, _ in both}) > 3:
                        inside[label].append(float(spearmanr(*zip(*both, strict=True)).statistic))
    except (OSError, ValueError) as error:
        print(f"velocity: {error}", file=sys.stderr)
        return 2
    table = Table("label", "hits", "correlation", "median in a chunk", "chunks", box=None, header_style="bold")
    for label in detector.labels:
        if len(pairs[label]) > 2:
            overall = spearmanr(*zip(*pairs[label], strict=True)).statistic
            median = np.median(inside[label]) if inside[label] else np.nan
            table.add_row(label, str(len(pairs[label])), f"{overall:.2f}", f"{median:.2f}", str(len(inside[label])))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
