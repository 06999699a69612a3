"""Every number that can change a result, in two frozen records.

A model file describes itself: both records travel as JSON in the metadata of the ``.onnx`` file, in
seconds and hertz, so that one model serves every sample rate that it names.

Contents
--------
FeatureSpec, ModelSpec, FORMAT
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, Self

from .errors import SpecError

FORMAT = 1
"""Version of the JSON layout; raised when an old reader would misread a new file."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """How samples become log-mel frames.

    Frame ``k`` ends at sample ``round((k + 1) * hop_seconds * rate)`` and sees the
    `window_seconds` before that. The window rises over all but the last `attack_seconds` and falls
    over those: the shorter the fall, the sooner a fresh attack counts.

    Attributes
    ----------
    hop_seconds, window_seconds, attack_seconds : float
        Distance of frames, length of the window and of its falling ramp, in seconds.
    bands : int
        Number of mel bands (HTK scale).
    f_min, f_max : float
        Edges of the lowest and the highest band in hertz.
    floor : float
        Power added before the logarithm (full-scale square wave: 1), 0 dB being full scale.
    """

    hop_seconds: float = 0.010
    window_seconds: float = 0.0425
    attack_seconds: float = 0.004
    bands: int = 80
    f_min: float = 30.0
    f_max: float = 16000.0
    floor: float = 1e-10

    def __post_init__(self) -> None:
        if not 0 < self.hop_seconds <= self.window_seconds < math.inf:
            raise SpecError("hop_seconds must be positive and at most window_seconds, which must be finite")
        if not 0 < self.attack_seconds < self.window_seconds:
            raise SpecError("attack_seconds must lie between 0 and window_seconds")
        if not 0 <= self.f_min < self.f_max < math.inf:
            raise SpecError("f_min must be at least 0 and below f_max, which must be finite")
        if not self.bands >= 1 or not 0 < self.floor < math.inf:
            raise SpecError("bands must be at least 1, floor positive and finite")

    def frame_end(self, frame: int, sample_rate: int) -> int:
        """Return the sample before which frame number `frame` (from 0) ends."""
        return math.floor((frame + 1) * self.hop_seconds * sample_rate + 0.5)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a streaming model expects and what its outputs mean.

    Attributes
    ----------
    name : str
        Name and version of the model, for reports.
    labels : tuple of str
        One onset activation and one velocity per label, in this order.
    enabled : tuple of str
        Labels that are reported unless the caller chooses others (weak ones are left out).
    features : FeatureSpec
    sample_rates : tuple of int
        Live rates in hertz that need no resampler.
    thresholds : tuple of float
        Activation per label from which a peak counts at sensitivity 0.5.
    refractory_seconds : tuple of float
        Shortest distance of two hits of one label.
    maximum_seconds : float
        A hit's activation must exceed all those of this long before it.
    attack_offset_seconds : tuple of float
        From the attack to the end of the frame that reports it, on average, per label: training
        delay plus the measured bias. `Event.sample` is the frame's end minus this.
    presence_seconds : float
        Time constant of the decay of presence.
    expectation : float
        How much repetition moves an activation, in logits (`dance.expectation`); 0, the default of files without
        this field: not at all.
    votes : float
        How far log-odds of an activation move towards those of hits that sounded alike (`dance.votes`), at most 1;
        0, the default of files without this field: not at all.
    evidence : float
        How far log-odds of activations fall while nothing has proved that there are drums (`dance.evidence`); 0,
        the default of files without this field: not at all.
    """

    name: str
    labels: tuple[str, ...]
    enabled: tuple[str, ...]
    features: FeatureSpec
    sample_rates: tuple[int, ...]
    thresholds: tuple[float, ...]
    refractory_seconds: tuple[float, ...]
    attack_offset_seconds: tuple[float, ...]
    maximum_seconds: float = 0.03
    presence_seconds: float = 0.15
    expectation: float = 0.0
    votes: float = 0.0
    evidence: float = 0.0

    def __post_init__(self) -> None:
        count = len(self.labels)
        if not count or len(set(self.labels)) != count:
            raise SpecError("labels must be distinct and at least one")
        for name in ("thresholds", "refractory_seconds", "attack_offset_seconds"):
            values = getattr(self, name)
            if len(values) != count or not all(isinstance(value, Real) and math.isfinite(value) for value in values):
                raise SpecError(f"{name} needs a number for each of the {count} labels")
        if not set(self.enabled) <= set(self.labels):
            raise SpecError("enabled names a label that the model does not have")
        if not all(0 < value < 1 for value in self.thresholds):
            raise SpecError("thresholds must lie between 0 and 1")
        if min(self.refractory_seconds) < 0:
            raise SpecError("refractory_seconds must not be negative")
        if not self.sample_rates or not all(2 * self.features.f_max <= rate < math.inf for rate in self.sample_rates):
            raise SpecError("sample_rates must be given, each at least twice f_max")
        if not 0 < self.presence_seconds < math.inf:
            raise SpecError("presence_seconds must be positive and finite")
        if not 0 <= self.maximum_seconds < math.inf:
            raise SpecError("maximum_seconds must be 0 or more, and finite")
        for name in ("expectation", "evidence"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SpecError(f"{name} must be 0 or more, and finite")
        if not 0 <= self.votes <= 1:
            raise SpecError("votes must lie between 0 and 1")

    def to_json(self) -> str:
        """Return the spec as JSON, as stored in the model file."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        SpecError
            If the text is no such JSON, of another format, or lacks or misnames a field.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"the model's description is not JSON: {error}") from None
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise SpecError(f"the model's description is not of format {FORMAT}; export it again")
        for name in ("expectation", "votes", "evidence"):  # models exported before these fields existed
            values.setdefault(name, 0.0)
        features = values.pop("features", None)
        try:
            spec = FeatureSpec(**_checked(FeatureSpec, features, set()))
            return cls(features=spec, **_checked(cls, values, {"features"}))
        except TypeError as error:
            raise SpecError(f"the model's description has a value of the wrong type: {error}") from None


def _checked(cls: type, values: Any, given: set[str]) -> dict[str, Any]:
    """Return `values` as keyword arguments of `cls`, every field present and none unknown."""
    if not isinstance(values, Mapping):
        raise SpecError(f"the model's description lacks {cls.__name__}")
    names = {field.name for field in fields(cls)} - given
    if names != set(values):
        wrong = ", ".join(sorted(names ^ set(values)))
        raise SpecError(f"the model's description has missing or unknown fields: {wrong}")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
