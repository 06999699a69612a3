"""Counting right and wrong events the way the field does.

One-to-one maximum matching inside a label within a window (mir_eval), counts summed over tracks
(micro average). Times in seconds.

Contents
--------
Count, match, REPORTED
"""

from dataclasses import dataclass

import mir_eval
import numpy as np
from numpy.typing import ArrayLike

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
    """Match times within `window`; return counts and pairs of indices (reference, estimated)."""
    a, b = np.asarray(reference, float), np.asarray(estimated, float)
    pairs = mir_eval.util.match_events(a, b, window) if a.size and b.size else []
    return Count(len(pairs), len(b) - len(pairs), len(a) - len(pairs)), pairs
