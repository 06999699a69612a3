"""Labelled chunks from songs as they are, by the ear of a trained model: self-training on real music.

A teacher (`training/export.py`; best one that may wait for what follows a hit, `training/grow.py`, or several, whose
answers are averaged) listens to each song. Where it is sure of a hit, that is a label; where it doubts, nobody claims
anything: such hits get a prominence of -99 dB, which training passes over; and where it hears nothing, nothing is
said to be hit. The student learns that from the same song made harder: with other music over it, darker, in
another room ("noisy student"; Xie et al., "Self-training with noisy student improves ImageNet classification", 2020).
Chunks of which the teacher understands too little are left out. Labels that a model does not report by default are
unknown. A chunk in which not even a doubtful hit is heard is kept as a backing to put drums over.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import maximum_filter1d

from dance.commands.arguments import positive, share
from dance.context import weighed
from dance.errors import SpecError
from dance.features import log_mel
from dance.peaks import PeakPicker
from labelgen.chunks import DOUBTED, Chunk, ChunkWriter, Label, chunk_name
from labelgen.files import MUSIC, missing, regular_file
from labelgen.recordings import LARGEST, RATE, SHORTEST, Song, find_songs, spans, stretches
from labelgen.work import add_work_options, part_seconds, run_command
from models.whole_file import WholeFile

F32 = npt.NDArray[np.float32]

RELEASED = Path(__file__).parents[1] / "checkpoints" / "released" / "late.onnx"
"""The teacher that comes with the checkout: it tells a hit 0.12 s after it."""
SURE, DOUBT = 0.3, 0.2
"""Defaults of `Options`."""
NEAR = 3
"""Frames around a hit in which nothing more is doubted."""
RAREST = 0.5
"""Sure hits a second, below which a chunk is no music with drums, as far as the teacher can tell."""


@dataclass(frozen=True)
class Options:
    """What a worker needs to know.

    Attributes
    ----------
    sure, doubt : float
        A hit is sure from this share of the way from its label's threshold to 1, and doubted from this share of the
        threshold.
    confidence : float
        Least F-measure to expect of a chunk's sure hits.
    """

    out: Path
    models: tuple[Path, ...]
    sure: float
    doubt: float
    confidence: float
    seconds: float
    longest: float
    licence: str


@dataclass(frozen=True)
class Opinion:
    """What teachers think of a stretch of music: its hits, sure or not, and the moments at which there may be one.

    Attributes
    ----------
    times : float64 [n]
        Attacks, seconds.
    columns : int64 [n]
        Index of the label.
    probability, velocity : float32 [n]
    picked : bool [n]
        Whether it would be reported.
    """

    times: npt.NDArray[np.float64]
    columns: npt.NDArray[np.int64]
    probability: F32
    velocity: F32
    picked: npt.NDArray[np.bool_]


class Teachers:
    """Models that are asked together.

    Parameters
    ----------
    paths : sequence of Path
        ONNX files of the same features and labels; they may differ in their delay.
    doubt : float
        As in `Options`.

    Raises
    ------
    SpecError
        If a file is no model, or hears other features or labels than the first.
    """

    def __init__(self, paths: Sequence[Path], doubt: float) -> None:
        torch.set_num_threads(1)  # songs are heard side by side, one process each
        self._models = [WholeFile(path) for path in paths]
        specs = [model.spec for model in self._models]
        self.names = [spec.name for spec in specs]
        self.spec = specs[0]
        for path, spec in zip(paths, specs, strict=True):
            if (spec.features, spec.labels) != (self.spec.features, self.spec.labels):
                raise SpecError(f"{path} hears other features or labels than {paths[0]}")
        # the later a model answers, the more of its first frames are about nothing
        offsets = np.array([np.mean(spec.attack_offset_seconds) for spec in specs])
        self._late = np.round((offsets - offsets[0]) / self.spec.features.hop_seconds).astype(int)
        self._wait = math.ceil(float(offsets[0]) / self.spec.features.hop_seconds)
        self.thresholds = np.mean([spec.thresholds for spec in specs], axis=0)
        # timbres of several networks cannot be compared, so no hits vote where several answer
        self.spec = replace(self.spec, votes=self.spec.votes if len(paths) == 1 else 0.0)
        self._together = replace(self.spec, thresholds=tuple(map(float, self.thresholds)))
        self._doubt = doubt * self.thresholds

    def hear(self, mix: F32) -> Opinion:
        """Return what is heard in `mix` (float32 [n], at `RATE`)."""
        frames = log_mel(mix, self.spec.features, RATE)
        # what was hit at the very end is told after it
        frames = np.pad(frames, ((0, self._wait), (0, 0)), constant_values=frames.min(initial=0.0))
        answers, timbres = zip(*(self._answers(k, frames) for k in range(len(self._models))), strict=True)
        onset, velocity = np.mean(answers, axis=0)
        hits = np.zeros(onset.shape, np.uint8)
        onset = weighed(self.spec, onset, timbres[0] if self.spec.votes else None)
        PeakPicker(self._together).process(onset, hits)
        perhaps = (onset >= self._doubt) & ~maximum_filter1d(hits, 2 * NEAR + 1, axis=0).astype(bool)
        at, columns = np.nonzero((hits > 0) | perhaps)
        ends = np.array([self.spec.features.frame_end(k, RATE) / RATE for k in range(len(onset))])
        times = ends[at] - np.array(self.spec.attack_offset_seconds)[columns]
        heard = times > -self.spec.features.hop_seconds  # before that there was nothing to hear
        at, columns, times = at[heard], columns[heard], np.maximum(times[heard], 0)
        # a hit is reported before its activation has risen to the full
        top = np.max([np.pad(onset, ((0, 2), (0, 0)))[at + ahead, columns] for ahead in range(3)], axis=0)
        return Opinion(times, columns, top.astype(np.float32), velocity[at, columns], hits[at, columns] > 0)

    def _answers(self, number: int, frames: F32) -> tuple[F32, F32]:
        """Return activations and velocities [2, frames, labels] of one model, as if it were as quick as the first.

        And timbres [frames, n], as late as they are.
        """
        late = self._late[number]
        silence = np.full((max(late, 0), frames.shape[1]), frames.min(initial=0.0), np.float32)
        answers, timbres = self._models[number].hear(np.concatenate([frames, silence]))
        as_quick = np.pad(answers, ((0, 0), (max(-late, 0), 0), (0, 0)))[:, max(late, 0) :][:, : len(frames)]
        return as_quick, timbres[: len(frames)]


class Labeller:
    """Labels songs; keeps the models loaded."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.teachers = Teachers(options.models, options.doubt)
        self.writer = ChunkWriter(options.out, RATE)
        spec = self.teachers.spec
        self.known = np.array([label in spec.enabled for label in spec.labels])
        self.sure = self.teachers.thresholds + options.sure * (1 - self.teachers.thresholds)

    def label(self, song: Song) -> list[Chunk]:
        """Write the chunks of one song; raise ValueError with the reason if there are none."""
        regular_file(song.path, LARGEST)
        chunks: list[Chunk] = []
        number, best = 0, 0.0
        for start, margin, audio in stretches(song.path, self.options.longest):
            mix = audio.mean(axis=1)
            mix /= max(1.0, float(np.abs(mix).max(initial=0)))
            opinion = self.teachers.hear(mix)
            for first, last in spans(len(mix), margin, self.options.seconds):
                labels, confidence = self._judge(opinion, first / RATE, last / RATE)
                best = max(best, confidence)
                if confidence >= self.options.confidence and np.any(mix[first:last]):
                    name = chunk_name(song.key, f"{number:03d}")
                    audio_of = {"": mix[first:last]} if labels else dict.fromkeys(("", "backing"), mix[first:last])
                    self.writer.write(name, audio_of, labels)
                    begin = round(start + (first - margin) / RATE, 3)
                    chunks.append(self._chunk(song, name, confidence, (last - first) / RATE, begin, not labels))
                number += 1
        if not number:
            raise ValueError(f"shorter than {SHORTEST:g} s")
        if not chunks:
            raise ValueError(f"the teacher understands too little of it (confidence {best:.2f} at best)")
        return chunks

    def _judge(self, opinion: Opinion, start: float, stop: float) -> tuple[list[Label], float]:
        """Return the labels between two moments, and the F-measure to expect of the sure ones."""
        inside = (opinion.times >= start) & (opinion.times < stop) & self.known[opinion.columns]
        columns, p, picked = opinion.columns[inside], opinion.probability[inside], opinion.picked[inside]
        sure = picked & (p >= self.sure[columns])
        hits = zip(opinion.times[inside], columns, opinion.velocity[inside], sure, strict=True)
        labels = [
            Label(
                float(time - start),
                self.teachers.spec.labels[column],
                float(np.clip(velocity, 0.05, 1)),
                math.inf if certain else DOUBTED,
            )
            for time, column, velocity, certain in hits
        ]
        if not labels:
            return labels, 1.0
        if sure.sum() < RAREST * (stop - start):
            return labels, 0.0
        return labels, float(2 * p[sure].sum() / (sure.sum() + p[picked].sum()))

    def _chunk(self, song: Song, name: str, confidence: float, seconds: float, start: float, drumless: bool) -> Chunk:
        return Chunk(
            name=name,
            unit=song.key,
            source=song.source,
            song=song.key,
            licence=self.options.licence,
            method=f"pseudo, {' + '.join(self.teachers.names)}",
            confidence=round(confidence, 3),
            seconds=seconds,
            stems=("backing",) if drumless else (),
            details={"start": start, "complete": list(self.teachers.spec.enabled)},
        )


_labeller: Labeller | None = None  # one for each worker process: models load once


def _setup(options: Options) -> None:
    global _labeller
    _labeller = Labeller(options)


def _label(song: Song) -> list[Chunk]:
    assert _labeller is not None
    return _labeller.label(song)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python labelgen/pseudo.py ~/music --out data/chunks/music\n"
        "  python labelgen/pseudo.py ~/music --model mine.onnx other.onnx --confidence 0.9\n",
    )
    add = result.add_argument
    add("inputs", nargs="+", type=Path, metavar="INPUT", help="recordings, or folders of them at any depth")
    add("--out", type=Path, default=Path("data/chunks/pseudo"), help="folder of the set (default: %(default)s)")
    add("--model", type=Path, nargs="+", default=[RELEASED], metavar="ONNX",
        help="the teachers, calibrated by training/calibrate.py (default: the released one)")  # fmt: skip
    add("--sure", type=share, default=SURE, metavar="SHARE", help="a hit becomes a label from this share of the way "
        "between its threshold and 1 (default: %(default)s)")  # fmt: skip
    add("--doubt", type=share, default=DOUBT, metavar="SHARE", help="a hit is in doubt from this share of its "
        "threshold (default: %(default)s)")  # fmt: skip
    add("--confidence", type=share, default=0.72, metavar="F", help="leave out chunks whose expected F-measure is "
        "below this (default: %(default)s)")  # fmt: skip
    add("--seconds", type=part_seconds, default=30.0,
        help="longest chunk (default: %(default)s)")  # fmt: skip
    add("--longest", type=positive(float), default=60.0, metavar="MINUTES",
        help="refuse longer recordings (default: %(default)s)")  # fmt: skip
    add("--licence", default="", help="terms of the recordings, kept with every chunk")
    add_work_options(result, limit=1200.0)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    wrong = missing(args.inputs)
    if wrong:
        print(f"labelgen: {wrong}", file=sys.stderr)
        return 2
    options = Options(
        args.out.absolute(),
        tuple(path.absolute() for path in args.model),
        args.sure,
        args.doubt,
        args.confidence,
        args.seconds,
        60 * args.longest,
        args.licence,
    )
    total = sum(1 for _ in find_songs(args.inputs))
    if not total:
        print(f"labelgen: no recordings ({' '.join(MUSIC)}) in {args.inputs[0]}", file=sys.stderr)
        return 2
    try:
        Labeller(options)  # here first: what is wrong with a model is said once
    except (SpecError, OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    songs = find_songs(args.inputs)
    return run_command(args, _label, songs, _setup, (options,), total, inputs=args.inputs, by_file=True)


if __name__ == "__main__":
    sys.exit(main())
