"""What a user may set while the engine runs: label by label, and one offset; kept in a small JSON file.

Sensitivities, thresholds, gates and velocities lie between 0 and 1; times are seconds.

Contents
--------
LabelSettings, Settings, as_settings, FORMAT
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any, Self

from .errors import SpecError, os_reason
from .files import replacing

FORMAT = 1
"""Version of the JSON layout."""

_LONGEST_REFRACTORY = 60.0
_LARGEST_OFFSET = 10.0


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How one drum is decided.

    Attributes
    ----------
    sensitivity : float
        0 (only what is beyond doubt) to 1 (everything that might be a hit); 0.5 is the model's own threshold.
    threshold : float, optional
        Activation from which a peak counts, in place of `sensitivity`.
    refractory : float, optional
        Shortest time between two hits in seconds, in place of the model's.
    mute : bool
        No hits, and no presence.
    gate : float
        Softer hits are none: they do not even begin a refractory time.

    Raises
    ------
    SpecError
        If a value is out of range.
    """

    sensitivity: float = 0.5
    threshold: float | None = None
    refractory: float | None = None
    mute: bool = False
    gate: float = 0.0

    def __post_init__(self) -> None:
        _check(self, "sensitivity", 0, 1)
        _check(self, "gate", 0, 1)
        if self.threshold is not None:
            _check(self, "threshold", 0, 1)
        if self.refractory is not None:
            _check(self, "refractory", 0, _LONGEST_REFRACTORY)
        if not isinstance(self.mute, bool):
            raise SpecError(f"mute must be true or false, not {self.mute!r}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may set.

    Attributes
    ----------
    labels : mapping from label to LabelSettings
        Labels that are missing have the defaults.
    offset : float
        Seconds that sinks add to the times that they send, to make up for what lies before and behind the engine.

    Raises
    ------
    SpecError
        If a value is out of range.
    """

    labels: Mapping[str, LabelSettings] = field(default_factory=dict)
    offset: float = 0.0

    def __post_init__(self) -> None:
        _check(self, "offset", -_LARGEST_OFFSET, _LARGEST_OFFSET)
        for label, own in self.labels.items():
            if not isinstance(own, LabelSettings):
                raise SpecError(f"the settings of {label} must be a LabelSettings, such as LabelSettings(gate=0.3)")
        object.__setattr__(self, "labels", dict(self.labels))  # ours: nobody else can change it behind our back

    def for_label(self, label: str) -> LabelSettings:
        """Return the settings of one label."""
        return self.labels.get(label, _DEFAULT)

    def with_label(self, label: str, **changes: Any) -> Self:
        """Return settings that differ in one label, as in ``with_label("kick", gate=0.3)``.

        Raises
        ------
        SpecError
            If there is no such setting, or a value is out of range.
        """
        try:
            own = replace(self.for_label(label), **changes)
        except TypeError:
            unknown = ", ".join(changes.keys() - {each.name for each in fields(LabelSettings)})
            raise SpecError(f"no setting {unknown}; there are {_names(LabelSettings)}") from None
        return replace(self, labels={**self.labels, label: own})

    def with_sensitivity(self, sensitivity: float | Mapping[str, float], labels: Iterable[str]) -> Self:
        """Return settings with this sensitivity, for some labels or for all of `labels`; it replaces a threshold.

        Raises
        ------
        SpecError
            If it is out of range.
        """
        if not isinstance(sensitivity, Mapping):
            sensitivity = dict.fromkeys(labels, sensitivity)
        changed = self
        for label, value in sensitivity.items():
            changed = changed.with_label(label, sensitivity=value, threshold=None)
        return changed

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads: numbers, strings and dictionaries only."""
        labels = {label: asdict(own) for label, own in self.labels.items()}
        return {"format": FORMAT, "offset": self.offset, "labels": labels}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Make settings of what `to_dict` returned; what is left out has its default.

        Raises
        ------
        SpecError
            If the format, a name or a value is wrong.
        """
        values = dict(_mapping("settings", values))
        if values.pop("format", None) != FORMAT:
            raise SpecError(f'settings need "format": {FORMAT}')
        labels = {
            label: LabelSettings(**_known(LabelSettings, _mapping(label, own)))
            for label, own in _mapping("labels", values.pop("labels", {})).items()
        }
        return cls(labels=labels, **_known(cls, values))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that `save` wrote.

        Raises
        ------
        SpecError
            If there is no such file, it cannot be read or does not hold settings.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise SpecError(f"no settings file {path}") from None
        except OSError as error:
            raise SpecError(f"settings file {path}: {os_reason(error)}") from None
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{path} is not JSON: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file; one that was there is replaced at once or not at all."""
        with replacing(Path(path)) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")


def as_settings(value: object) -> Settings:
    """Return `value` if it is settings.

    Raises
    ------
    SpecError
        If it is anything else, such as a dictionary.
    """
    if not isinstance(value, Settings):
        raise SpecError(f"settings must be a Settings, not {value!r}; Settings.from_dict makes one from a dictionary")
    return value


def _check(owner: object, name: str, low: float, high: float) -> None:
    """Refuse a field that is no number in this range; make one of NumPy's a plain one, which JSON can hold."""
    value = getattr(owner, name)
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # of whole numbers, which may be of any size
        number = math.inf
    if not low <= number <= high:
        raise SpecError(f"{name} must lie between {low:g} and {high:g}, not {value!r}")
    object.__setattr__(owner, name, number)


def _mapping(name: str, values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise SpecError(f"{name} must be a JSON object, not {values!r}")
    return values


def _known(cls: type, values: Mapping[str, Any]) -> Mapping[str, Any]:
    if unknown := values.keys() - {each.name for each in fields(cls)}:
        raise SpecError(f"no setting {', '.join(sorted(unknown))}; there are {_names(cls)}")
    return values


def _names(cls: type) -> str:
    return ", ".join(each.name for each in fields(cls))


_DEFAULT = LabelSettings()
