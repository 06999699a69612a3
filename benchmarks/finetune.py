"""What fine-tuning on the first half of a recording does to its second half, and to everything else.

For each labelled recording a copy of the released model is adapted with training/finetune.py to the first half, then
thrown away. F of the enabled labels within 50 ms by the engine's own Detector: on the second half, and on all
other recordings together; and kick recall on recordings of which only the kicks are labelled (``--loops``). Labels
have no velocities here, and fine-tuning needs none.
"""

import argparse
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import RATE, guard, mono
from dance import Detector
from labelgen.chunks import Chunk, ChunkWriter, Label, Manifest
from training import finetune
from training.evaluate import detect, find, read_truth
from training.score import Count, match

Recordings = Sequence[tuple[Path, list[Label]]]


def half(path: Path, labels: Sequence[Label], folder: Path) -> float:
    """Write the first half of a recording as a set of one chunk; return where it ends, in seconds."""
    samples = mono(path, RATE)
    first = samples[: len(samples) // 2]
    end = len(first) / RATE
    ChunkWriter(folder, RATE).write(path.stem, {"": first}, [x for x in labels if x.time < end])
    Manifest(folder).add([Chunk(path.stem, path.stem, "benchmark", path.stem, "", "by hand", 1.0, end)])
    return end


def heard(detector: Detector, path: Path, labels: Sequence[Label], names: Sequence[str], after: float = 0.0) -> Count:
    """Count right and wrong events of a recording, those before `after` seconds aside."""
    events, _ = detect(detector, path)
    result = Count()
    for name in names:
        truth = [x.time for x in labels if x.label == name and x.time >= after]
        result += match(truth, [e.time for e in events if e.label == name and e.time >= after], 0.05)[0]
    return result


def everywhere(model: Path | None, recordings: Recordings, names: Sequence[str] | None = None) -> list[Count]:
    """Return the counts of a model for each recording; of the enabled labels unless `names` are given."""
    detector = Detector.load(model, sample_rate=RATE)
    return [heard(detector, path, labels, names or detector.labels) for path, labels in recordings]


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/finetune.py --audio mdb/audio --labels mdb/labels",
    )
    add = result.add_argument
    add("--audio", type=Path, required=True, help="folder of completely labelled recordings")
    add("--labels", type=Path, required=True, help="folder of their label files, as training/evaluate.py reads them")
    add("--loops", nargs=2, type=Path, metavar=("AUDIO", "LABELS"), help="the same, with nothing but kicks labelled")
    add("--options", default="", help="more options for training/finetune.py, in quotes")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    options = shlex.split(args.options)
    recordings = [(path, read_truth(labels)) for path, labels in find(args.audio, args.labels)]
    loops = [(path, read_truth(labels)) for path, labels in find(*args.loops)] if args.loops else []
    released = everywhere(None, recordings)
    kicks = sum(everywhere(None, loops, ["kick"]), Count())
    rows = []
    for number, (path, labels) in enumerate(recordings):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            end = half(path, labels, Path(folder) / "chunks")
            tuned = Path(folder) / "album.onnx"
            asked = [str(Path(folder) / "chunks"), "--out", str(tuned), *options]
            code = finetune.main(asked)
            if code > 1:
                return code
            minutes = (time.monotonic() - began) / 60
            model = tuned if code == 0 else None  # nothing gained
            detectors = [Detector.load(each, sample_rate=RATE) for each in (None, model)]
            own = [heard(each, path, labels, each.labels, end).f for each in detectors]
            now = everywhere(model, recordings)
            rest = loop = [math.nan, math.nan]  # not measured
            if len(recordings) > 1:
                rest = [sum(counts[:number] + counts[number + 1 :], Count()).f for counts in (released, now)]
            if loops:
                loop = [each.recall for each in (kicks, sum(everywhere(model, loops, ["kick"]), Count()))]
        rows.append((*own, *rest, *loop, minutes))
    heads = ("2nd half", "tuned", "others", "tuned", "loops' kicks", "tuned", "minutes")
    print(f"{'recording':16}" + "".join(f"{head:>13}" for head in heads))
    for name, row in zip([path.stem for path, _ in recordings] + ["mean"], [*rows, np.mean(rows, axis=0)], strict=True):
        print(f"{name:16}" + "".join(f"{'-' if math.isnan(value) else f'{value:.3f}':>13}" for value in row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
