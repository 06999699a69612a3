"""How good labels from audio are, when a separator leaves some of the music in the drums.

The drums of each track are labelled as labelgen/audio.py does it after separation, with the rest of the
music mixed in at several levels: from perfect separation (no rest) to none at all (0 dB). F-measure
within 50 ms against the labels given, summed over tracks, and the mean confidence that the labels claim.

With ``--oneshots`` it is the classifier alone that is measured, on kits that it has not learned from
(`training.shred_exam`); the tables of its card come from there.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.common import guard
from dance.commands.arguments import natural, positive
from labelgen.audio import hear
from labelgen.chunks import Label, Manifest, read_labels
from labelgen.files import RECORDINGS
from labelgen.material import read_manifest
from labelgen.shreds import RELEASED, ShredClassifier
from training.evaluate import find, read_truth
from training.score import Count, match
from training.shred_data import backings, gaps_between, read_audio, whole_kits
from training.shred_exam import Exam, answer, table

F32 = npt.NDArray[np.float32]
LEVELS = (-math.inf, -30.0, -20.0, -15.0, -10.0, -5.0, 0.0)


def from_folders(drums: Path, mixes: Path, labels: Path) -> Iterator[tuple[F32, F32, list[Label]]]:
    """Yield drums, the rest of the music and labels of the files that the three folders share."""
    for path, truth in find(drums, labels):
        mix = next((p for suffix in RECORDINGS if (p := mixes / f"{path.stem}{suffix}").exists()), None)
        if mix is None:
            print(f"left out, without a mix in {mixes}: {path}", file=sys.stderr)
            continue
        a, b = read_audio(path), read_audio(mix)
        length = min(len(a), len(b))
        yield a[:length], b[:length] - a[:length], read_truth(truth)


def from_chunks(folder: Path) -> Iterator[tuple[F32, F32, list[Label]]]:
    """Yield drums, backing and labels of the chunks that have both stems."""
    for chunk in Manifest(folder).chunks():
        if {"drums", "backing"} <= set(chunk.stems):
            drums, backing = (read_audio(folder / f"{chunk.name}.{stem}.flac") for stem in ("drums", "backing"))
            yield drums, backing, read_labels(folder / f"{chunk.name}.tsv")


def decibels(text: str) -> float:
    """Return a level in dB, from the command line; of nothing for ``none``."""
    value = -math.inf if text == "none" else float(text)
    if math.isnan(value) or value == math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no level")
    return value


def examine(args: argparse.Namespace, classifier: ShredClassifier) -> str:
    """Return F on kits never learned from, as a table in Markdown."""
    shots = [x for path in args.oneshots for x in read_manifest(path, args.split or None) if "midi" not in x.cls]
    played = [folder / f"{chunk.name}.tsv" for folder in args.performances for chunk in Manifest(folder).chunks()]
    gaps = gaps_between(args.performances)
    if not len(gaps):
        raise ValueError("--oneshots needs --performances: sets of labelled chunks to take rhythms from")
    exam = Exam(whole_kits(shots), gaps, played, backings(args.music), args.seed, classifier.spec)
    made = map(exam, tqdm(exam.questions(args.tracks), "exam", unit="track"))
    names = classifier.spec.labels
    return table(answer(made, classifier.probabilities, names), names)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python benchmarks/label_quality.py --folders mdb/drum_only mdb/audio mdb/labels\n"
        "  python benchmarks/label_quality.py --chunks data/chunks/test-patterns\n"
        "  python benchmarks/label_quality.py --oneshots packs/manifest.csv --performances data/chunks/test-gmd",
    )
    add = result.add_argument
    source = result.add_mutually_exclusive_group(required=True)
    source.add_argument("--folders", nargs=3, type=Path, metavar=("DRUMS", "MIXES", "LABELS"),
                        help="files of the same names: drums alone, whole songs, labels (.txt or .tsv)")  # fmt: skip
    source.add_argument("--chunks", type=Path, metavar="SET", help="chunks with stems, by labelgen/midi.py --stems")
    source.add_argument("--oneshots", nargs="+", type=Path, metavar="CSV", help="manifests of one-shots never learned "
                        "from: measure the classifier alone")  # fmt: skip
    add("--split", default="test", help="of the one-shots; '' for all (default: %(default)s)")
    add("--performances", nargs="+", type=Path, default=[], metavar="SET", help="labels for the one-shots to play")
    add("--music", nargs="*", type=Path, default=[], metavar="SET", help="with `backing` stems to leak into one-shots")
    add("--tracks", type=positive(int), default=40, help="of one-shots, for each kind and half of the kits "
        "(default: %(default)s)")  # fmt: skip
    add("--seed", type=natural, default=0, help="decides what is played (default: %(default)s)")
    add("--classifier", type=Path, default=RELEASED, help="by training/train_shreds.py (default: the released one)")
    add("--levels", nargs="+", type=decibels, default=LEVELS, metavar="DB",
        help="of the rest; none: without it (default: none -30 to 0)")  # fmt: skip
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    classifier = ShredClassifier(args.classifier)
    if args.oneshots:
        print(examine(args, classifier))
        return 0
    tracks = list(from_chunks(args.chunks) if args.chunks else from_folders(*args.folders))
    if not tracks:
        raise ValueError(f"{args.chunks or args.folders[0]}: no tracks with drums, music and labels")
    names = classifier.spec.labels
    print(f"{'music':>8}" + "".join(f"{name:>9}" for name in names) + f"{'all':>9}{'confidence':>12}")
    for level in args.levels:
        counts = dict.fromkeys(names, Count())
        confidence = []
        for drums, rest, truth in tracks:
            stem = drums + np.float32(10 ** (level / 20)) * rest
            heard = hear(stem, drums + rest, classifier)
            confidence.append(heard.confidence(0, np.inf))
            for name in names:
                times = ([x.time for x in labels if x.label == name] for labels in (truth, heard.labels))
                counts[name] += match(*map(sorted, times), 0.05)[0]
        row = [counts[name].f for name in names] + [sum(counts.values(), Count()).f]
        title = "none" if level == -math.inf else f"{level:g} dB"
        print(f"{title:>8}" + "".join(f"{value:9.3f}" for value in row) + f"{np.mean(confidence):12.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
