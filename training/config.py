"""All that decides a training run, as checkpoints and JSON files hold it.

Contents
--------
TrainConfig, OF_THE_NETWORK, read_settings
"""

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dance.labels import LABELS
from dance.spec import FeatureSpec
from training.augment import Augment
from training.dataset import Boldness
from training.loss import WARMUP


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
        What the drums of each training set are louder than `training.augment.Augment.balance_db` says; empty: 0 each.
        Songs lose more of their drums to a small speaker than of the rest.
    architecture : str
    sizes : dict
        Fields of the architecture's config that differ from its defaults.
    delay : int or tuple of int
        Label delay in frames, for each label if there are several.
    positive : float
        Weight of a hit against silence.
    velocity, order : float
        Weights of the velocities' squared error, and of their disorder inside a crop (`training.loss.disorder`).
    steps, epoch_steps, batch, seconds
        Length of the run, of an epoch (one checkpoint each), of a batch (of each process) and of a crop.
    rate : float
        Peak learning rate; warm-up, then a cosine to zero.
    average : float
        Decay of the running average of weights (EMA), which is what is validated and kept.
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
            If a name is unknown.
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
            If a number is none or out of range.
        """
        for name in ("train", "valid"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not all(isinstance(folder, str) for folder in value):
                raise ValueError(f"{name} must be a list of folders, not {value!r}")
        for name in ("seconds", "rate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number, not {value!r}")
        for name, least in (("steps", 1), ("epoch_steps", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number, {least} or more, not {value!r}")
        for name in ("weights", "boldness", "louder_db"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) not in (0, len(self.train)):
                raise ValueError(f"{name} must be one for each of the {len(self.train)} sets of train, not {value!r}")
        if min(self.delays, default=0) < 0 or len(self.delays) != len(self.labels):
            raise ValueError(f"delay must be one number of frames, or one for each of {', '.join(self.labels)}")
        if self.frames <= (unheard := max((WARMUP, *self.delays))):
            least = (unheard + 1) * self.features.hop_seconds
            raise ValueError(f"seconds must be {least:g} or more, for a crop to ask for anything, not {self.seconds}")

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
        raise ValueError(f"{path}: need settings by name, {{...}}")
    return values
