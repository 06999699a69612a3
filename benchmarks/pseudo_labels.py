"""How far pseudo-labels can be trusted: what labelgen/pseudo.py says of labelled recordings, against their labels.

Per drum, within 50 ms: precision and recall of the hits that the teacher is sure of, and the share of the others that
it at least doubts. What it neither names nor doubts would be taught as silence; training passes over the rest.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import guard
from dance.detector import RELEASED
from labelgen import pseudo
from labelgen.chunks import DOUBTED, Manifest, read_labels
from training.evaluate import find, read_truth
from training.score import REPORTED, Count, match

WINDOW = 0.05


def compare(chunks: Path, labels: dict[str, Path]) -> dict[str, tuple[Count, int]]:
    """Return for each drum the counts of sure hits, and how many of the missed ones are doubted.

    Parameters
    ----------
    chunks : Path
        A set by `labelgen.pseudo`.
    labels : dict of str to Path
        Label files by the names of the recordings.
    """
    result = {drum: (Count(), 0) for drum in REPORTED}
    for chunk in Manifest(chunks).chunks():
        start = chunk.details["start"]
        truth = read_truth(labels[Path(chunk.song).name])
        said = read_labels(chunks / f"{chunk.name}.tsv")
        for drum in REPORTED:
            played = np.array([x.time - start for x in truth if x.label == drum])
            played = played[(played >= 0) & (played < chunk.seconds)]
            sure, doubted = (
                np.array([x.time for x in said if x.label == drum and (x.prominence == DOUBTED) == open_])
                for open_ in (False, True)
            )
            counted, pairs = match(played, sure, WINDOW)
            missed = np.delete(played, [r for r, _ in pairs])
            near = sum(bool(len(doubted)) and np.abs(doubted - time).min() <= WINDOW for time in missed)
            result[drum] = result[drum][0] + counted, result[drum][1] + int(near)
    return result


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/pseudo_labels.py --audio mdb/audio --labels mdb/labels\n",
    )
    add = result.add_argument
    add("--audio", type=Path, required=True, help="folder of recordings")
    add("--labels", type=Path, help="folder of label files (default: that of the recordings)")
    add(
        "--model",
        type=Path,
        nargs="+",
        default=[RELEASED],
        metavar="ONNX",
        help="the teachers (default: the released one)",
    )
    add(
        "--sure",
        default=str(pseudo.SURE),
        metavar="SHARE",
        help="as labelgen/pseudo.py takes it (default: %(default)s)",
    )
    add(
        "--doubt",
        default=str(pseudo.DOUBT),
        metavar="SHARE",
        help="as labelgen/pseudo.py takes it (default: %(default)s)",
    )
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    labels = {audio.name: path for audio, path in find(args.audio, args.labels or args.audio)}
    with tempfile.TemporaryDirectory() as folder:
        songs = [str(args.audio / name) for name in labels]
        options = [
            "--model",
            *map(str, args.model),
            "--sure",
            args.sure,
            "--doubt",
            args.doubt,
            "--confidence",
            "1e-9",
            "--jobs",
            "1",
        ]
        code = pseudo.main([*songs, *options, "--out", folder])
        if code:
            return code
        if not Manifest(Path(folder)).chunks():
            raise ValueError(f"{args.audio}: all recordings were refused")
        figures = compare(Path(folder), labels)
    table = Table("drum", "hits", "sure", "precision", "recall", "others doubted", "taught as silence")
    for drum, (count, doubted) in figures.items():
        hits, sure = count.tp + count.fn, count.tp + count.fp
        open_, silent = doubted / max(1, count.fn), (count.fn - doubted) / max(1, hits)
        row = (
            drum,
            str(hits),
            str(sure),
            f"{count.precision:.2f}",
            f"{count.recall:.2f}",
            f"{open_:.2f}",
            f"{silent:.2f}",
        )
        table.add_row(*row)
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
