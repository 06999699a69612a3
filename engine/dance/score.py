"""How well a list of events meets the labels: precision, recall, F-measure and decision delay.

A hit is found if an event of its label lies within the tolerance; each event finds one hit at most, and as
many are paired as possible (as `mir_eval.util.match_events` does). Times are in seconds.

Contents
--------
Score, match, compare, report, TOLERANCE
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from .events import Event
from .tables import Hit

TOLERANCE = 0.05
"""Seconds that an event may lie off, the custom of the field."""


@dataclass(frozen=True, slots=True)
class Score:
    """Counts for one label, or for all together.

    Attributes
    ----------
    hits, events, found : int
        Labelled, reported, and paired.
    delays : tuple of float
        For each pair: seconds from the labelled hit to the input that the decision needed.
    """

    hits: int
    events: int
    found: int
    delays: tuple[float, ...]

    @property
    def precision(self) -> float:
        """Share of the events that are hits; 1 if there are none."""
        return self.found / self.events if self.events else 1.0

    @property
    def recall(self) -> float:
        """Share of the hits that were found; 1 if there are none."""
        return self.found / self.hits if self.hits else 1.0

    @property
    def f_measure(self) -> float:
        """Harmonic mean of both; 1 if there was nothing to find and nothing was reported."""
        return 2 * self.found / (self.hits + self.events) if self.hits or self.events else 1.0


def match(reference: Sequence[float], estimated: Sequence[float], tolerance: float) -> list[tuple[int, int]]:
    """Pair as many as possible, each once, at most `tolerance` apart.

    With one tolerance for all, taking the earliest partner first is optimal.

    Parameters
    ----------
    reference, estimated : sequence of float
        Ascending.
    tolerance : float

    Returns
    -------
    list of (int, int)
        Indices into both.
    """
    pairs, i, j = [], 0, 0
    while i < len(reference) and j < len(estimated):
        distance = estimated[j] - reference[i]
        if abs(distance) <= tolerance:
            pairs.append((i, j))
        i, j = i + (distance >= -tolerance), j + (distance <= tolerance)
    return pairs


def compare(
    hits: Iterable[Hit], events: Iterable[Event], labels: Sequence[str], tolerance: float = TOLERANCE
) -> dict[str, Score]:
    """Return one score for each of `labels`, and one for all together under ``"all"``."""
    hits, events = sorted(hits), sorted(events, key=lambda event: event.sample)
    scores = {}
    for label in labels:
        true = [hit.time for hit in hits if hit.label == label]
        mine = [event for event in events if event.label == label]
        pairs = match(true, [event.time for event in mine], tolerance)
        delays = tuple(mine[j].reported / mine[j].sample_rate - true[i] for i, j in pairs)
        scores[label] = Score(len(true), len(mine), len(pairs), delays)
    every = scores.values()
    scores["all"] = Score(
        sum(score.hits for score in every),
        sum(score.events for score in every),
        sum(score.found for score in every),
        tuple(delay for score in every for delay in score.delays),
    )
    return scores


def report(scores: dict[str, Score]) -> str:
    """Return the scores as a table to print."""
    lines = [f"{'':8}{'hits':>6}{'events':>8}{'precision':>11}{'recall':>8}{'F':>7}{'delay (median)':>16}"]
    for label, score in scores.items():
        delay = f"{1000 * median(score.delays):.0f} ms" if score.delays else "-"
        lines.append(
            f"{label:8}{score.hits:6}{score.events:8}{score.precision:11.3f}{score.recall:8.3f}"
            f"{score.f_measure:7.3f}{delay:>16}"
        )
    return "\n".join(lines)
