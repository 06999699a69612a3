"""A drum track cut at its onsets into shreds, and the classifier that names what each one is.

Onsets come from librosa's spectral flux over four registers, on the engine's own log-mel frames, and are
refined to the audible attack in the samples. A shred is a stretch of frames around an onset that the next
onset cuts off; it is seen twice, against the loudness of the track's hits and against what is usual in
each band of this track, so that neither level nor tone of a recording matters much.

Contents
--------
RELEASED, ShredSpec, Shreds, find_shreds, as_images, gap_features, velocities, ShredClassifier
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from dance.features import log_mel
from dance.labels import LABELS
from dance.spec import FeatureSpec
from labelgen.librosa_once import librosa
from labelgen.recordings import RATE, full_scale

if TYPE_CHECKING:
    from labelgen.second_opinion import SecondOpinion

F32 = npt.NDArray[np.float32]

RELEASED = Path(__file__).parents[1] / "checkpoints" / "released" / "shred.onnx"
"""The classifier that comes with the checkout."""
REGISTERS = (0, 8, 20, 40, 64)
"""Borders, in bands, of the registers that have onsets of their own: a hat must not need a kick's energy."""
RISE_DB = 1.0
"""Rise above the local mean that counts as an onset: low, since the classifier throws out what is no drum."""
SHORTEST = 3
"""Frames that two onsets lie apart at least."""
ATTACK = 8
"""Frames from the onset on whose maximum is the loudness of a hit."""
BLOCK = 512
"""Shreds that are classified at once."""
QUIETEST_DB = -70.0
"""Below the loudest frame: nothing there is looked at."""


@dataclass(frozen=True, slots=True)
class ShredSpec:
    """What a classifier expects and what it answers; stored as JSON in its ``.onnx`` file.

    Attributes
    ----------
    labels : tuple of str
    thresholds : tuple of float
        Probability from which a label is given.
    second : float
        Weight of the detector's opinion (`labelgen.second_opinion`) in these probabilities; the rest is the network's.
    before, after : int
        Frames of a shred before its onset and from it on.
    features : FeatureSpec
    """

    labels: tuple[str, ...] = LABELS
    thresholds: tuple[float, ...] = (0.5,) * len(LABELS)
    second: float = 0.0
    before: int = 4
    after: int = 36
    features: FeatureSpec = field(default_factory=lambda: FeatureSpec(hop_seconds=0.005, bands=64))

    def to_json(self) -> str:
        """Return the spec as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; ValueError if it is something else."""
        try:
            values = json.loads(text)
            features = FeatureSpec(**values.pop("features"))
            values.setdefault("second", 0.0)  # of files that are older than it
            if set(values) != {f.name for f in fields(cls)} - {"features"}:
                raise ValueError("missing or unknown fields")
            return cls(features=features, **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the description of a shred classifier ({error})") from None


@dataclass(frozen=True, slots=True)
class Shreds:
    """The shreds of one track.

    Attributes
    ----------
    times : float64 [n]
        Audible attacks in seconds, ascending.
    windows : float32 [n, before + after, bands]
        The frames around each onset, in dB.
    lasts : int64 [n]
        How many of them the shred has: the next onset ends it.
    images : float32 [n, 3, before + after, bands]
        Level in tens of dB against the track's hits; the same against each band's own; 1 where the shred lasts.
    loudness : float32 [n, bands]
        Power of the attack in dB.
    """

    times: npt.NDArray[np.float64]
    windows: F32
    lasts: npt.NDArray[np.int64]
    images: F32
    loudness: F32


def find_shreds(
    samples: F32, spec: ShredSpec, rise_db: float = RISE_DB, onsets: Sequence[float] | None = None
) -> Shreds:
    """Find the onsets of a drum track and cut it there.

    Parameters
    ----------
    samples : float32 [n]
        Mono, at `RATE`.
    spec : ShredSpec
    rise_db : float
        Sensitivity.
    onsets : sequence of float, optional
        Cut at these times in seconds instead.
    """
    frames = log_mel(full_scale(samples), spec.features, RATE)
    hop = spec.features.hop_seconds
    if onsets is None:
        at = _onset_frames(frames, rise_db)
        times = _refine(samples, at * hop)
    else:
        times = np.sort(np.asarray(onsets, np.float64))
    keep = np.append(np.diff(times) >= (SHORTEST - 0.5) * hop, True) if len(times) else np.zeros(0, bool)
    times = times[keep]
    # the frame that ends right after the attack is the first to see it
    windows, lasts = _cut(frames, np.floor(times / hop).astype(np.int64), spec)
    return Shreds(times, windows, lasts, *as_images(windows, lasts, spec))


def _onset_frames(frames: F32, rise_db: float) -> npt.NDArray[np.int64]:
    if len(frames) < 8:
        return np.zeros(0, np.int64)
    audible = np.maximum(frames, max(frames.max() + QUIETEST_DB, -90.0)).T
    flux = librosa().onset.onset_strength_multi(
        S=audible, lag=2, max_size=3, center=False, channels=list(REGISTERS), aggregate=np.mean, sr=1, hop_length=1
    )
    return np.asarray(
        librosa().util.peak_pick(
            flux.max(axis=0), pre_max=3, post_max=3, pre_avg=20, post_avg=6, delta=rise_db, wait=SHORTEST
        )
    )


def _refine(samples: F32, coarse: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Move onsets to where the energy of the next 6 ms exceeds that of the last 6 ms the most."""
    if not len(coarse):
        return coarse
    high = np.diff(samples, prepend=samples[:1]).astype(np.float64)
    low = samples.astype(np.float64)
    # both the waveform and its difference, at equal weight: a kick under a hat, and a hat over a kick
    energy = low**2 / (np.mean(low**2) + 1e-20) + high**2 / (np.mean(high**2) + 1e-20)
    total = np.concatenate([[0.0], np.cumsum(energy)])
    side = int(0.006 * RATE)
    floor = 1e-3 * 0.005 * RATE * energy.mean()
    at = (coarse[:, None] * RATE).astype(int) + np.arange(int(-0.022 * RATE), int(0.010 * RATE), 22)

    def until(position: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return total[np.clip(position, 0, len(samples))]

    rise = np.log((until(at + side) - until(at)) / side + floor) - np.log((until(at) - until(at - side)) / side + floor)
    best = at[np.arange(len(at)), rise.argmax(axis=1)]
    return np.sort(np.maximum(best, 0)) / RATE


def _cut(frames: F32, at: npt.NDArray[np.int64], spec: ShredSpec) -> tuple[F32, npt.NDArray[np.int64]]:
    """Return frames around each onset [n, before + after, bands] in dB, and how many of them the shred has."""
    floor = np.float32(10 * np.log10(spec.features.floor))
    before, after = (np.full((n, spec.features.bands), floor) for n in (spec.before, spec.after + 1))
    padded = np.concatenate([before, frames, after])
    windows = padded[at[:, None] + np.arange(spec.before + spec.after)].astype(np.float32)
    return windows, np.minimum(np.diff(at, append=np.iinfo(np.int64).max), spec.after) + spec.before


def as_images(windows: F32, lasts: npt.NDArray[np.int64], spec: ShredSpec) -> tuple[F32, F32]:
    """Return `Shreds.images` and `Shreds.loudness` of shreds that belong together.

    Parameters
    ----------
    windows : float32 [n, before + after, bands]
        In dB.
    lasts : int64 [n]
        Frames inside each shred.
    """
    inside = np.arange(windows.shape[1]) < lasts[:, None]
    images = np.zeros((len(windows), 3, *windows.shape[1:]), np.float32)
    if not len(windows):
        return images, windows[:, 0]
    head = slice(spec.before, spec.before + ATTACK)
    attack = np.where(inside[:, head, None], windows[:, head], -np.inf).max(axis=1)
    power = 10 * np.log10(np.sum(10 ** (attack / 10), axis=1))
    images[:, 0] = np.clip(windows - np.percentile(power, 90), -80, 20) / 10
    images[:, 1] = np.clip(windows - np.percentile(attack, 90, axis=0), -60, 20) / 10
    images[:, :2] *= inside[:, None, :, None]
    images[:, 2] = inside[:, :, None]
    return images, attack


def gap_features(times: npt.NDArray[np.float64]) -> F32:
    """Return seconds since the onset before and until the one after, at most 1 [n, 2]."""
    apart = np.minimum(np.diff(times), 1)
    return np.stack([np.append(1, apart), np.append(apart, 1)], axis=1).astype(np.float32)[: len(times)]


VELOCITY_HZ = {
    "kick": (30, 160),
    "snare": (150, 9000),
    "hihat": (5000, 16000),
    "tom": (60, 500),
    "cymbal": (3000, 16000),
}
"""Where the loudness of each drum is measured: away from the others that may sound with it."""
VELOCITY_DB = 40.0
"""Decibels of a factor of ten in velocity, as on most synthesisers."""


def velocities(shreds: Shreds, given: npt.NDArray[np.bool_], spec: ShredSpec) -> F32:
    """Return velocities 0..1 [n, labels] from loudness, against the track's loud hits of the same label.

    Parameters
    ----------
    shreds : Shreds
    given : bool [n, labels]
        Which labels each shred has.
    """
    centre = librosa().mel_frequencies(spec.features.bands + 2, fmin=spec.features.f_min, fmax=spec.features.f_max,
                                     htk=True)[1:-1]  # fmt: skip
    result = np.zeros(given.shape, np.float32)
    for column, label in enumerate(spec.labels):
        low, high = VELOCITY_HZ.get(label, (0, np.inf))
        band = (centre >= low) & (centre <= high)
        hits = given[:, column]
        if hits.any():
            level = 10 * np.log10(np.sum(10 ** (shreds.loudness[hits][:, band] / 10), axis=1) + 1e-12)
            result[hits, column] = np.clip(10 ** ((level - np.percentile(level, 95)) / VELOCITY_DB), 0.05, 1)
    return result


class ShredClassifier:
    """Says which drums sound in each shred.

    Parameters
    ----------
    path : Path
        A file written by ``training/train_shreds.py``.

    Raises
    ------
    ValueError
        If it is none.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # songs run side by side, one process each
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has an exception for each kind of bad file
            raise ValueError(f"{path}: not a readable model ({error})") from None
        about = self._session.get_modelmeta().custom_metadata_map
        self.spec = ShredSpec.from_json(about.get("shred", ""))
        self._second: SecondOpinion | None = None

    def probabilities(self, shreds: Shreds, drums: F32) -> F32:
        """Return the probability of each label [n, labels], the detector's opinion included.

        Parameters
        ----------
        shreds : Shreds
        drums : float32 [n]
            The track that they are of, as `find_shreds` takes it.
        """
        alone = self.alone(shreds)
        if not self.spec.second:
            return alone
        from labelgen.second_opinion import SecondOpinion  # loads torch, which most users do without

        self._second = self._second or SecondOpinion()
        return self._second.join(alone, drums, shreds.times, self.spec.labels, self.spec.second)

    def alone(self, shreds: Shreds) -> F32:
        """Return the network's own probability of each label [n, labels], by the shreds alone."""
        gaps = gap_features(shreds.times)
        parts = [np.zeros((0, len(self.spec.labels)), np.float32)]
        for start in range(0, len(gaps), BLOCK):
            block = slice(start, start + BLOCK)
            parts.append(self._session.run(None, {"images": shreds.images[block], "gaps": gaps[block]})[0])
        return np.concatenate(parts)

    def labels(self, probabilities: F32) -> npt.NDArray[np.bool_]:
        """Return which labels are given, by the thresholds of the spec."""
        return probabilities >= np.array(self.spec.thresholds, np.float32)
