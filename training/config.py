"""All that decides a training run, as checkpoints and JSON files hold it.

Contents
--------
TrainConfig, OF_THE_NETWORK, read_settings
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dance.labels import LABELS
from dance.spec import FeatureSpec
from training.augment import Augment, is_number
from training.dataset import Boldness
from training.loss import WARMUP


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_texts(values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, str) for value in values)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a training run.

    Attributes
    ----------
    train, valid : tuple of str
        Folders of chunk sets.
    weights : tuple of float
        How often each training set is drawn, relative to its length; empty: 1 each.
    boldness : tuple of float or of tuples of float
        How many times `positive` a hit weighs in each training set, of all labels or of one after the other; empty: 1
        each. The threshold with the best F is half of that F (Lipton, Elkan & Narayanaswamy, "Optimal thresholding of
        classifiers to maximize F1 measure", 2014), so where little can be heard, in a room, a smaller chance should do;
        there is one threshold, so the network must raise it.
    louder_db : tuple of float
        dB added to `training.augment.Augment.balance_db` for each training set; empty: 0 each.
        Songs lose more of their drums to a small speaker than of the rest.
    architecture : str
        A name in `models.ARCHITECTURES`, or "ensemble".
    sizes : dict
        Fields of the architecture's config that differ from its defaults.
    features : FeatureSpec
    labels : tuple of str
    delay : int or tuple of int
        Label delay in frames, for each label if there are several.
    positive : float
        Weight of a hit against silence.
    velocity, order : float
        Weights of the velocities' squared error, and of their disorder inside a crop (`training.loss.disorder`).
    importance : tuple of float
        Weight of each label's onsets; empty: 1 each.
    augment : Augment
        How crops are mixed and changed.
    steps, epoch_steps, batch, seconds
        Length of the run, of an epoch (one checkpoint each), of a batch (of each process) and of a crop.
    rate : float
        Peak learning rate; warm-up, then a cosine to zero.
    weight_decay : float
        Of AdamW.
    average : float
        Decay of the running average of weights (EMA), which is what is validated and kept.
    seed : int
        Decides every random choice.
    """

    train: tuple[str, ...] = ("data/chunks/midi",)
    valid: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    boldness: tuple[Boldness, ...] = ()
    louder_db: tuple[float, ...] = ()
    architecture: str = "tcn"
    sizes: dict[str, Any] = field(default_factory=dict)
    features: FeatureSpec = field(default_factory=FeatureSpec)
    labels: tuple[str, ...] = LABELS
    delay: int | tuple[int, ...] = 1
    positive: float = 1.5
    velocity: float = 0.3
    order: float = 0.0
    importance: tuple[float, ...] = ()
    augment: Augment = field(default_factory=Augment)
    steps: int = 3000
    epoch_steps: int = 100
    batch: int = 32
    seconds: float = 6.0
    rate: float = 3e-3
    weight_decay: float = 1e-2
    average: float = 0.995
    seed: int = 0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Build from plain values, as stored in checkpoints and JSON files.

        Raises
        ------
        ValueError
            If a name is unknown, or a value is wrong.
        """
        parts = {"features": FeatureSpec, "augment": Augment}
        given = {k: v for k, v in values.items() if k in parts and isinstance(v, dict)}
        for kind, settings in ((cls, values), *((parts[name], part) for name, part in given.items())):
            unknown = set(settings) - {f.name for f in fields(kind)}
            if unknown:
                raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        built = {name: parts[name](**_tuples(part)) for name, part in given.items()}
        return cls(**{**_tuples(values), **built})

    def __post_init__(self) -> None:
        """Check what would otherwise end in the middle of a run.

        Raises
        ------
        ValueError
            If a value is of the wrong kind or out of range.
        """

        def check(name: str, right: Callable[[Any], bool], what: str) -> None:
            if not right(value := getattr(self, name)):
                raise ValueError(f"{name} must be {what}, not {value!r}")

        for name in ("train", "valid"):
            check(name, _are_texts, "a list of folders")
        check("labels", lambda x: bool(x) and _are_texts(x) and len(set(x)) == len(x), "a list of names")
        check("architecture", lambda x: isinstance(x, str), "a name")
        check("sizes", lambda x: isinstance(x, dict) and "architecture" not in x, "sizes by name")
        check("features", lambda x: isinstance(x, FeatureSpec), "settings by name")
        check("augment", lambda x: isinstance(x, Augment), "settings by name")
        for name in ("seconds", "rate"):
            check(name, lambda x: is_number(x) and x > 0, "a positive number")
        for name in ("positive", "velocity", "order", "weight_decay"):
            check(name, lambda x: is_number(x) and x >= 0, "a number, 0 or more")
        check("average", lambda x: is_number(x) and 0 <= x <= 1, "a number from 0 to 1")
        for name, least in (("steps", 1), ("epoch_steps", 1), ("batch", 1), ("seed", 0)):
            if not _is_whole(value := getattr(self, name)) or value < least:
                raise ValueError(f"{name} must be a whole number, {least} or more, not {value!r}")
        for name in ("weights", "boldness", "louder_db"):
            each = f"one for each of the {len(self.train)} sets of train"
            check(name, lambda x: isinstance(x, tuple) and len(x) in (0, len(self.train)), each)
        for name in ("weights", "louder_db"):
            check(name, lambda x: all(map(is_number, x)), "numbers")
        check("importance", self._are_importances, f"numbers, 0 or more, one for each of {', '.join(self.labels)}")
        check("boldness", lambda x: all(map(self._is_boldness, x)), "numbers, or one for each label")
        delays = self.delays if isinstance(self.delay, int | tuple) else ()
        if len(delays) != len(self.labels) or not all(_is_whole(x) and x >= 0 for x in delays):
            raise ValueError(f"delay must be one number of frames, or one for each of {', '.join(self.labels)}")
        if self.frames <= (unheard := max((WARMUP, *self.delays))):
            shortest = (unheard + 1) * self.features.hop_seconds
            raise ValueError(
                f"seconds must be {shortest:g} or more, or crops hold nothing to learn, not {self.seconds}"
            )

    def _are_importances(self, values: Any) -> bool:
        right = isinstance(values, tuple) and len(values) in (0, len(self.labels))
        return right and all(is_number(x) and x >= 0 for x in values)

    def _is_boldness(self, value: Any) -> bool:
        each = isinstance(value, list | tuple) and len(value) == len(self.labels) and all(map(is_number, value))
        return is_number(value) or each

    @property
    def delays(self) -> tuple[int, ...]:
        """Label delay of each label in frames."""
        return (self.delay,) * len(self.labels) if isinstance(self.delay, int) else self.delay

    @property
    def frames(self) -> int:
        """Length of a crop."""
        return round(self.seconds / self.features.hop_seconds)


OF_THE_NETWORK = ("architecture", "sizes", "features", "labels", "delay")
"""Settings that a checkpoint brings along."""


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file of settings by name.

    Raises
    ------
    ValueError
        If it is none.
    OSError
        If it cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: must hold settings by name, {{...}}")
    return values
