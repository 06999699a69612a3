"""Hits from onset activations, and what sensitivity means.

Activations are float32 [frames, labels] between 0 and 1; hits are uint8 of the same shape.

Contents
--------
PeakPicker, thresholds
"""

import math
from collections.abc import Mapping
from typing import Self

from . import _dsp
from .errors import SpecError
from .spec import ModelSpec

_LOGITS = 6.0
"""How far sensitivity moves a threshold, in logits from end to end."""


class PeakPicker(_dsp.PeakPicker):
    """Decides without looking ahead which frames are hits; see `dance._dsp.PeakPicker` for the methods.

    Parameters
    ----------
    spec : ModelSpec
    sensitivity : float or mapping from label to float
        See `thresholds`.

    Raises
    ------
    SpecError
        If the sensitivity is out of range or names an unknown label.
    """

    def __new__(cls, spec: ModelSpec, sensitivity: float | Mapping[str, float] = 0.5) -> Self:
        """Turn seconds into frames, and set buffers aside."""

        def frames(seconds: float) -> int:
            return math.floor(seconds / spec.features.hop_seconds + 0.5)

        return super().__new__(
            cls,
            thresholds(spec, sensitivity),
            [frames(seconds) for seconds in spec.refractory_seconds],
            frames(spec.maximum_seconds),
        )


def thresholds(spec: ModelSpec, sensitivity: float | Mapping[str, float] = 0.5) -> list[float]:
    """Return the activation of each label from which a peak counts.

    Parameters
    ----------
    spec : ModelSpec
    sensitivity : float or mapping from label to float
        Between 0 (only what is beyond doubt) and 1 (everything that might be a hit); 0.5 takes the
        model's own thresholds, as do labels that a mapping leaves out.

    Raises
    ------
    SpecError
        If a value is out of range or a label unknown.
    """
    if not isinstance(sensitivity, Mapping):
        sensitivity = dict.fromkeys(spec.labels, sensitivity)
    for label, value in sensitivity.items():
        if label not in spec.labels:
            raise SpecError(f"no label {label!r}; this model has {', '.join(spec.labels)}")
        if not 0 <= value <= 1:
            raise SpecError(f"sensitivity must lie between 0 and 1, not {value}")
    return [
        _shifted(threshold, _LOGITS * (0.5 - sensitivity.get(label, 0.5)))
        for label, threshold in zip(spec.labels, spec.thresholds, strict=True)
    ]


def _shifted(probability: float, logits: float) -> float:
    return 1 / (1 + (1 / probability - 1) * math.exp(-logits))
