"""Counting right and wrong events the way the field does.

One-to-one maximum matching inside a label within a window (`dance.score.match`), counts summed over tracks
(micro average). Times in seconds.

Contents
--------
Count, match, count, REPORTED, WINDOW, AUDIBLE_DB
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from dance.score import TOLERANCE
from dance.score import match as as_events
from labelgen.chunks import Label

WINDOW = TOLERANCE
"""Seconds by which a report may be wrong, unless said otherwise."""
AUDIBLE_DB = 0.0
"""Prominence of a hit (`labelgen.chunks.Label`) below which nobody need hear it."""
REPORTED = ("kick", "snare", "hihat")
"""Labels whose sum is the headline figure."""


@dataclass(frozen=True)
class Count:
    """True positives, false positives, false negatives; they add up."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """Share of events that are right; 0 without events."""
        return self.tp / max(1, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of labels that were found; 0 without labels."""
        return self.tp / max(1, self.tp + self.fn)

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall."""
        return self.f_beta(1.0)

    def f_beta(self, beta: float) -> float:
        """Mean of precision and recall in which recall counts `beta` times as much (van Rijsbergen)."""
        hits = (1 + beta**2) * self.tp
        return hits / max(1, hits + beta**2 * self.fn + self.fp)


def match(reference: ArrayLike, estimated: ArrayLike, window: float) -> tuple[Count, list[tuple[int, int]]]:
    """Match ascending times within `window`; return counts and pairs of indices (reference, estimated)."""
    a, b = (np.asarray(times, float).tolist() for times in (reference, estimated))
    pairs = as_events(a, b, window)
    return Count(len(pairs), len(b) - len(pairs), len(a) - len(pairs)), pairs


def count(hits: Iterable[Label], times: ArrayLike, window: float = WINDOW) -> tuple[Count, list[tuple[float, int]]]:
    """Count right and wrong reports of one drum; to report a hit that drowns or is doubted is neither right nor wrong.

    Parameters
    ----------
    hits : iterable of Label
        All that the drum plays.
    times : array [n]
        Of the reports, ascending.
    window : float
        Seconds.

    Returns
    -------
    counted : Count
    pairs : list of (float, int)
        Of each hit that was found, its time and which report it was.
    """
    truth: list[float] = []
    drowned: list[float] = []
    for hit in sorted(hits):
        (truth if hit.prominence >= AUDIBLE_DB else drowned).append(hit.time)
    counted, pairs = match(truth, times, window)
    excused, _ = match(drowned, np.delete(np.asarray(times, float), [e for _, e in pairs]), window)
    return replace(counted, fp=counted.fp - excused.tp), [(truth[r], e) for r, e in pairs]
