"""Hits from onset activations, and what the settings mean for them.

Activations and velocities are float32 [frames, labels] between 0 and 1; hits are uint8 of the same shape.

Contents
--------
PeakPicker, thresholds, refractories
"""

import math
from typing import Self

from . import _dsp
from .errors import SpecError
from .settings import LabelSettings, Settings
from .spec import ModelSpec

_LOGITS = 6.0
"""How far sensitivity moves a threshold, in logits from end to end."""


class PeakPicker(_dsp.PeakPicker):
    """Decides without looking ahead which frames are hits; see `dance._dsp.PeakPicker` for the other methods.

    Parameters
    ----------
    spec : ModelSpec
    settings : Settings, optional

    Raises
    ------
    SpecError
        If the settings name an unknown label.
    """

    _spec: ModelSpec

    def __new__(cls, spec: ModelSpec, settings: Settings | None = None) -> Self:
        """Turn seconds into frames, and set buffers aside."""
        empty = [0] * len(spec.labels)
        picker = super().__new__(cls, empty, empty, _frames(spec, spec.maximum_seconds))
        picker._spec = spec
        picker.configure(settings or Settings())
        return picker

    def configure(self, settings: Settings) -> None:
        """Decide by these settings from the next frame on; what was heard stays known.

        Raises
        ------
        SpecError
            If the settings name an unknown label; nothing has changed then.
        """
        spec = self._spec
        limits = thresholds(spec, settings)
        self.set(
            [math.inf if settings.for_label(k).mute else x for k, x in zip(spec.labels, limits, strict=True)],
            [_frames(spec, seconds) for seconds in refractories(spec, settings)],
            [settings.for_label(label).gate for label in spec.labels],
        )


def thresholds(spec: ModelSpec, settings: Settings) -> list[float]:
    """Return the activation of each label from which a peak counts.

    Raises
    ------
    SpecError
        If the settings name a label that the model does not have.
    """
    return [
        _shifted(own, _LOGITS * (0.5 - chosen.sensitivity)) if chosen.threshold is None else chosen.threshold
        for own, chosen in zip(spec.thresholds, _of_each(spec, settings), strict=True)
    ]


def refractories(spec: ModelSpec, settings: Settings) -> list[float]:
    """Return the shortest time between two hits of each label in seconds.

    Raises
    ------
    SpecError
        If the settings name a label that the model does not have.
    """
    return [
        own if chosen.refractory is None else chosen.refractory
        for own, chosen in zip(spec.refractory_seconds, _of_each(spec, settings), strict=True)
    ]


def _of_each(spec: ModelSpec, settings: Settings) -> list[LabelSettings]:
    for label in settings.labels:
        if label not in spec.labels:
            raise SpecError(f"no label {label!r}; this model has {', '.join(spec.labels)}")
    return [settings.for_label(label) for label in spec.labels]


def _frames(spec: ModelSpec, seconds: float) -> int:
    return math.floor(seconds / spec.features.hop_seconds + 0.5)


def _shifted(probability: float, logits: float) -> float:
    return 1 / (1 + (1 / probability - 1) * math.exp(-logits))
