"""Examines a shred classifier on kits that it has not learned from, and chooses its thresholds there.

The kits are cut into two halves. The thresholds with which a half is scored are chosen on the other half,
so no figure is flattered by them; a released classifier gets thresholds chosen on both. Four kinds of tracks:

- one-shots: every one-shot of a kit once, alone, stopped by the next onset at an inter-onset time of a real
  performance; the onsets are given, so this is the classifier alone;
- passages: random single and layered hits that ring into each other, with the effects of a drum bus;
- spoilt: the same degraded, and with music leaked into half of them;
- performances: labels of real performances, played with these kits.

Contents
--------
KINDS, Question, Exam, Answer, answer, choose_thresholds, table
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelgen.chunks import read_labels
from labelgen.kits import KitLibrary
from labelgen.material import Item
from labelgen.recordings import RATE
from labelgen.shreds import Shreds, ShredSpec, find_shreds
from training.score import Count
from training.shred_data import Track, passage, replay, roll_call, spoil, targets

F32 = npt.NDArray[np.float32]

KINDS = ("one-shots", "passages", "spoilt", "performances")
GRID = [round(0.025 * k, 3) for k in range(3, 37)]
"""Thresholds to choose from."""


@dataclass(frozen=True)
class Question:
    """Which track to make: kind, half of the kits, number."""

    kind: str
    half: int
    number: int


@dataclass(frozen=True)
class Exam:
    """Makes the tracks; goes to worker processes whole.

    Attributes
    ----------
    kits : list of list of Item
    gaps : float64 [n]
        Inter-onset times in seconds.
    performances : list of Path
        Label files.
    music : list of Path
        Recordings without drums.
    seed : int
    spec : ShredSpec
    """

    kits: Sequence[Sequence[Item]]
    gaps: npt.NDArray[np.float64]
    performances: Sequence[Path]
    music: Sequence[Path]
    seed: int
    spec: ShredSpec

    @property
    def halves(self) -> int:
        """Parts of the kits; one where there is but one kit, and thresholds are then chosen on what is scored."""
        return min(2, len(self.kits))

    def questions(self, size: int) -> list[Question]:
        """Return what to ask: of each half `size` tracks of every kind; one-shots go through each kit three times."""
        asked = []
        for half in range(self.halves):
            for kind in KINDS:
                count = 3 * len(self.kits[half :: self.halves]) if kind == "one-shots" else size
                asked += [Question(kind, half, number) for number in range(count)]
        return asked

    def __call__(self, question: Question) -> tuple[Question, Track, Shreds]:
        """Make a track and cut it."""
        rng = np.random.default_rng([self.seed, KINDS.index(question.kind), question.half, question.number])
        kits = self.kits[question.half :: self.halves]
        onsets = None
        if question.kind == "one-shots":
            track = roll_call(kits[question.number % len(kits)], self.gaps, rng)
            onsets = [label.time for label in track.labels]
        else:
            library = KitLibrary([item for kit in kits for item in kit], RATE)
            if question.kind == "performances":
                track = replay(library, read_labels(self.performances[question.number % len(self.performances)]), rng)
            else:
                track = passage(library, self.gaps, int(rng.integers(12, 100)), rng)
            if question.kind == "spoilt":
                track = spoil(track, self.music, rng)
        return question, track, find_shreds(track.drums, self.spec, onsets=onsets)


@dataclass(frozen=True)
class Answer:
    """What a classifier said to a track.

    Attributes
    ----------
    question : Question
    probability : float32 [n, labels]
    hit : bool [n, labels]
        The truth.
    missed : int64 [labels]
        Hits that no onset was found for.
    """

    question: Question
    probability: F32
    hit: npt.NDArray[np.bool_]
    missed: npt.NDArray[np.int64]

    def count(self, column: int, threshold: float, rows: npt.NDArray[np.bool_] | None = None) -> Count:
        """Count what is right of one label; with `rows`, in these shreds only, and without what was missed."""
        given, true = self.probability[:, column] >= threshold, self.hit[:, column]
        missed = int(self.missed[column]) if rows is None else 0
        if rows is not None:
            given, true = given[rows], true[rows]
        right = int((given & true).sum())
        return Count(right, int(given.sum()) - right, int(true.sum()) - right + missed)


def answer(
    made: Iterable[tuple[Question, Track, Shreds]], classify: Callable[[Shreds, F32], F32], labels: Sequence[str]
) -> list[Answer]:
    """Let a classifier name the shreds of all tracks; it gets them and the samples of their track."""
    answers = []
    for question, track, shreds in made:
        hit = targets(shreds.times, track.labels, labels) > 0.5
        sounded = np.array([sum(x.label == label for x in track.labels) for label in labels])
        missed = np.maximum(sounded - hit.sum(axis=0), 0)
        answers.append(Answer(question, classify(shreds, track.drums), hit, missed))
    return answers


def choose_thresholds(answers: Sequence[Answer], labels: Sequence[str]) -> tuple[float, ...]:
    """Return for each label the threshold with the best F, as the mean over the kinds of tracks."""

    def quality(column: int, threshold: float) -> float:
        kinds = {a.question.kind for a in answers}
        return float(np.mean([
            sum((a.count(column, threshold) for a in answers if a.question.kind == kind), Count()).f for kind in kinds
        ]))  # fmt: skip

    return tuple(max(GRID, key=lambda threshold, c=column: quality(c, threshold)) for column in range(len(labels)))


def table(answers: Sequence[Answer], labels: Sequence[str]) -> str:
    """Return F for each kind of track and label as Markdown, each half scored with the thresholds of the other."""
    halves = sorted({a.question.half for a in answers})
    thresholds = {
        half: choose_thresholds([a for a in answers if halves == [half] or a.question.half != half], labels)
        for half in halves
    }
    everything: Callable[[Answer], npt.NDArray[np.bool_] | None] = lambda _: None  # noqa: E731
    rows = [
        ("one-shots, each once and alone", "one-shots", everything),
        ("passages", "passages", everything),
        ("of these, shreds with one drum or none", "passages", lambda a: a.hit.sum(axis=1) <= 1),
        ("of these, shreds with several", "passages", lambda a: a.hit.sum(axis=1) > 1),
        ("passages, spoilt", "spoilt", everything),
        ("performances", "performances", everything),
    ]
    lines = [f"| kits never learned from | {' | '.join(labels)} | all | precision | recall |"]
    lines.append(f"| --- {'| --- ' * (len(labels) + 3)}|")
    for title, kind, chosen in rows:
        counts = [Count()] * len(labels)
        for a in answers:
            if a.question.kind == kind:
                for column in range(len(labels)):
                    counts[column] += a.count(column, thresholds[a.question.half][column], chosen(a))
        total = sum(counts, Count())
        figures = [*(count.f for count in counts), total.f, total.precision, total.recall]
        lines.append(f"| {title} | {' | '.join(f'{value:.3f}' for value in figures)} |")
    return "\n".join(lines)
