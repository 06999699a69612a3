"""Choose a model's thresholds and measure its timing on labelled chunks, and store both in it.

For each label it takes the threshold with the best F (or F-beta) within +-50 ms on the given sets, which should not be
those that the model is judged on; then it measures the median time from attack to report, so that `Event.time` is the
audible attack. Mixes whose drums lie deeper than --balance dB below the music are left out, and so are hits that
drown in other drums (`labelgen.prominence`): both would pull thresholds down.

With --votes, --expectation and --evidence, the model's activations are from then on weighed by hits that sounded alike
(`dance.votes`), by what repeats (`dance.expectation`) and by whether drums were heard at all (`dance.evidence`);
thresholds are chosen accordingly.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from tqdm import tqdm

from dance.commands.arguments import chance, level, natural, positive, within
from dance.context import weighed
from dance.features import log_mel
from dance.peaks import PeakPicker
from dance.spec import ModelSpec
from labelgen.chunks import Chunk, Label, chunks_of, layered, read_labels, whole
from models.whole_file import WholeFile
from training.metadata import write_spec
from training.score import Count, count
from training.sounds import read_sound

FEW = 100  # hits of a drum on which its threshold should not rest alone
GRID = np.round(np.arange(0.06, 0.95, 0.02), 2)
Activations = npt.NDArray[np.float32]


def activations(model: WholeFile, spec: ModelSpec, samples: npt.NDArray[np.float32], rate: int) -> Activations:
    """Return onset activations [frames, labels] of a recording, weighed as `spec` says."""
    answers, timbres = model.hear(log_mel(samples, spec.features, rate))
    return weighed(spec, answers[0], timbres)


def picked(spec: ModelSpec, onsets: Activations) -> list[list[int]]:
    """Return for each label the frames in which a hit is reported."""
    hits = np.zeros(onsets.shape, np.uint8)
    PeakPicker(spec).process(onsets, hits)
    return [np.flatnonzero(column).tolist() for column in hits.T]


def calibrate(
    spec: ModelSpec, tracks: Sequence[tuple[Activations, list[Label], int]], only: Sequence[str] = (), beta: float = 1.0
) -> tuple[ModelSpec, list[tuple[float, Count, float]]]:
    """Return the calibrated spec and, per label, threshold, counts and offset.

    Parameters
    ----------
    spec : ModelSpec
    tracks : sequence of (activations, labels, sample rate)
    only : sequence of str
        Labels to calibrate; the others keep their threshold and offset, as do labels that nothing is heard of. All if
        empty.
    beta : float
        Weight of recall against precision in the F that is maximised.
    """
    size = len(spec.labels)
    table = np.empty((len(GRID), size), object)
    offsets: list[list[list[float]]] = [[[] for _ in range(size)] for _ in GRID]
    for row, threshold in enumerate(tqdm(GRID, desc="thresholds")):
        trial = replace(spec, thresholds=(float(threshold),) * size)
        totals = [Count()] * size
        for onsets, labels, rate in tracks:
            ends = np.array([spec.features.frame_end(k, rate) / rate for k in range(len(onsets))])
            for index, frames in enumerate(picked(trial, onsets)):
                mine = [x for x in labels if x.label == spec.labels[index]]
                times = ends[frames] - spec.attack_offset_seconds[index] if frames else np.empty(0)
                counted, pairs = count(mine, times)
                totals[index] += counted
                offsets[row][index] += [float(ends[frames[e]] - time) for time, e in pairs]
        table[row] = totals
    chosen: list[tuple[float, Count, float]] = []
    for index, label in enumerate(spec.labels):
        if only and label not in only:
            chosen.append((spec.thresholds[index], Count(), spec.attack_offset_seconds[index]))
            continue
        scores = np.array([c.f_beta(beta) for c in table[:, index]])
        if not any(c.tp + c.fn for c in table[:, index]):  # nothing to choose by
            chosen.append((spec.thresholds[index], Count(), spec.attack_offset_seconds[index]))
            continue
        # the middle of the plateau: its edge is an accident of the set
        good = np.flatnonzero(scores >= scores.max() - 0.003)
        row = int(good[len(good) // 2])
        delays = offsets[row][index]
        offset = float(np.median(delays)) if delays else spec.attack_offset_seconds[index]
        chosen.append((float(GRID[row]), table[row, index], offset))
    return (
        replace(
            spec,
            thresholds=tuple(threshold for threshold, _, _ in chosen),
            attack_offset_seconds=tuple(round(offset, 4) for _, _, offset in chosen),
        ),
        chosen,
    )


def chosen_chunks(folder: Path, balance: float, limit: int) -> list[Chunk]:
    """Return the chunks of a set whose drums lie at most so deep, at most `limit` of them (0: all), evenly drawn.

    Raises
    ------
    ValueError
        If the set is empty.
    """
    kept = [c for c in chunks_of(folder) if (c.details.get("balance_db") or 0.0) >= balance]
    kept.sort(key=lambda c: c.name)
    if limit and len(kept) > limit:
        kept = [kept[i] for i in np.linspace(0, len(kept) - 1, limit).astype(int)]
    return kept


def load_tracks(
    model: WholeFile,
    spec: ModelSpec,
    sets: Sequence[Path],
    balance: float,
    limit: int,
    only: Sequence[str] = (),
) -> list[tuple[Activations, list[Label], int]]:
    """Run the model over the mixes of chunk sets, its activations weighed as `spec` says.

    Raises
    ------
    ValueError
        If no chunk is left, one cannot be read, or not all hits of one are labelled.
    OSError
        If a file is missing.
    """
    tracks = []
    for folder in sets:
        for chunk in tqdm(chosen_chunks(folder, balance, limit), desc=folder.name, unit="chunk"):
            if missing := set(only or spec.labels) - set(chunk.details.get("complete", spec.labels)):
                raise ValueError(
                    f"{folder}: {chunk.name} does not claim that every {', '.join(sorted(missing))} is labelled; "
                    "choose thresholds on other chunks, or of other labels with --only"
                )
            samples, rate = read_sound(folder / f"{chunk.name}.flac")
            labels = layered(read_labels(folder / f"{chunk.name}.tsv"))
            tracks.append((activations(model, spec, samples, rate), labels, rate))
    if not tracks:
        raise ValueError("the drums of all chunks lie deeper below the music than --balance allows")
    return tracks


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add ``--balance`` and ``--limit``, by which `chosen_chunks` takes those of a set."""
    add = parser.add_argument
    add("--balance", type=level, default=-3.0, help="leave out mixes whose drums lie lower against the music, in dB "
        "(default: %(default)s)")  # fmt: skip
    add("--limit", type=natural, default=60, help="most chunks of a set, 0: all (default: %(default)s)")


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python training/calibrate.py first.onnx data/chunks/test-*",
    )
    add = result.add_argument
    add("model", type=Path, help="ONNX file written by training/export.py; its metadata is rewritten")
    add("sets", nargs="+", type=Path, help="folders of completely labelled chunks")
    add("--out", type=Path, help="write here instead of in place")
    add("--only", nargs="+", default=[], metavar="LABEL", help="calibrate only these labels, keep the others")
    add("--beta", type=positive(float), default=1.0, help="weight of recall against precision (default: %(default)s)")
    add("--expectation", type=within(float, 0), metavar="LOGITS",
        help="weight of repetition, 0: none (default: as in the model)")  # fmt: skip
    add("--votes", type=chance, metavar="0..1",
        help="weight of hits that sound alike, 0: none (default: as in the model)")  # fmt: skip
    add("--evidence", type=within(float, 0), metavar="LOGITS",
        help="how much hits are doubted until drums are proved, 0: not at all (default: as in the model)")  # fmt: skip
    add_choice(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        heard = WholeFile(args.model)
        given = heard.spec
        for name in ("expectation", "votes", "evidence"):
            if (value := getattr(args, name)) is not None:
                given = replace(given, **{name: value})
        if given.votes and not heard.timbre:
            raise ValueError(f"{args.model} has no timbres, which --votes needs; training/survey.py adds them")
        if unknown := set(args.only) - set(given.labels):
            raise ValueError(f"the model has no label {', '.join(sorted(unknown))}")
        tracks = load_tracks(heard, given, args.sets, args.balance, args.limit, args.only)
        spec, chosen = calibrate(given, tracks, args.only, args.beta)
        model = onnx.load(args.model)
        write_spec(model, spec)
        target = args.out or args.model
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as partial:
            onnx.save(model, partial)
    except (OSError, ValueError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("calibrate: stopped; the model is as it was", file=sys.stderr)
        return 130
    print(f"{'label':8} {'threshold':>9} {'hits':>6} {'P':>5} {'R':>5} {'F':>5} {'offset ms':>9}")
    few = []
    for label, (threshold, counted, offset) in zip(spec.labels, chosen, strict=True):
        hits = counted.tp + counted.fn
        if not hits:
            print(f"{label:8} {threshold:9.2f} {'as before':>16}")
            continue
        few += [f"{label} ({hits})"] * (hits < FEW)
        print(
            f"{label:8} {threshold:9.2f} {hits:6} {counted.precision:5.2f} {counted.recall:5.2f} {counted.f:5.2f} "
            f"{1000 * offset:9.1f}"
        )
    if few:
        print(f"calibrate: too few hits to rely on: {', '.join(few)}; give more music, or keep these drums as they "
              f"were with --only", file=sys.stderr)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
