"""What the released detector says about the shreds of a drum track: a second opinion beside the classifier's.

It is another network, with other features, that has learned from whole songs, so the two seldom err in the same place.

Contents
--------
SecondOpinion, pooled
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dance.detector import RELEASED
from dance.features import log_mel
from labelgen.recordings import RATE, full_scale
from models.whole_file import WholeFile

F32 = npt.NDArray[np.float32]

EARLY, LATE = 1, 3
"""Frames before and after the one that should report a hit in which its activation may be highest."""
CERTAIN = 0.999
"""Probability beyond which an opinion counts no more: log-odds are finite."""


class SecondOpinion:
    """A detector that is asked about attacks whose times are known.

    Parameters
    ----------
    path : Path
        A file of ``training/export.py``.
    """

    def __init__(self, path: Path = RELEASED) -> None:
        self._model = WholeFile(path)

    def join(
        self, first: F32, samples: F32, times: npt.NDArray[np.float64], labels: Sequence[str], weight: float
    ) -> F32:
        """Return the probabilities [n, labels] of another, `first`, pooled with its own.

        Parameters
        ----------
        first : float32 [n, labels]
        samples, times, labels
            As `on` takes them.
        weight : float
            Of its own opinion, 0 to 1.
        """
        return pooled(first, self.on(samples, times, labels), weight)

    def on(self, samples: F32, times: npt.NDArray[np.float64], labels: Sequence[str]) -> F32:
        """Return the activation of each label at each attack [n, labels].

        Parameters
        ----------
        samples : float32 [time]
            The drums, mono, at `RATE`.
        times : float64 [n]
            Audible attacks in seconds.
        labels : sequence of str
            Of those that the detector knows.
        """
        spec = self._model.spec
        answers, _ = self._model.hear(log_mel(full_scale(samples), spec.features, RATE))
        reach = np.arange(-EARLY, LATE + 1)
        result = np.zeros((len(times), len(labels)), np.float32)
        for column, label in enumerate(labels):
            index = spec.labels.index(label)
            # frame k ends after k + 1 hops
            late = times + spec.attack_offset_seconds[index]
            frames = np.round(late / spec.features.hop_seconds).astype(np.int64) - 1
            near = frames[:, None] + reach
            if len(times) and answers.shape[1]:
                result[:, column] = answers[0, np.clip(near, 0, answers.shape[1] - 1), index].max(axis=1)
        return result


def pooled(first: F32, second: F32, weight: float) -> F32:
    """Return one probability of two: the mean of their log-odds, the second with so much of the weight.

    This is the logarithmic opinion pool (Genest & Zidek, "Combining probability distributions", 1986).
    """
    odds = (_log_odds(each) for each in (first, second))
    return np.asarray(1 / (1 + np.exp(-np.tensordot((1 - weight, weight), list(odds), 1))), np.float32)


def _log_odds(probability: F32) -> npt.NDArray[np.float64]:
    clipped = np.clip(probability.astype(np.float64), 1 - CERTAIN, CERTAIN)
    return np.asarray(np.log(clipped / (1 - clipped)))
