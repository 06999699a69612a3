"""Remixing in the feature domain: tuning, rooms, balance, tone, compression, level, dark and thin mixes, microphones.

Powers of uncorrelated sounds add, so drums and backing can be mixed frame by frame on log-mel features
as well as on samples, at a thousandth of the cost. Features are dB, [batch, time, bands].

Contents
--------
is_number, Augment, NEPER, remix
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from labelgen.chunks import DOUBTED

FLOOR_DB = -100.0
NEPER = math.log(10) / 10
"""Natural logarithm of the power ratio of 1 dB."""
_CUT = 3  # frames of an attack
_HOP = 0.01  # seconds of a frame, as far as reverberation knows: of another hop, its times scale with it


def is_number(value: object) -> bool:
    """Return whether a setting is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Augment:
    """How crops are mixed; probabilities and ranges.

    Attributes
    ----------
    naked, drumless : float
        Share of crops without backing, and without drums.
    double : float
        Share of crops with a second backing over the first.
    plain : float
        Share of crops of whole mixes that get no further backing.
    balance_db, balance_spread_db : float
        Drums against backing: mean and standard deviation, dB.
    tone_db : float
        Standard deviation of the random equaliser curves, dB.
    dark : float
        Share of crops with a brick-wall low-pass between 4 and 15 kHz, as old records and codecs have.
    level_db : (float, float)
        Range of the power that a tenth of the mix's frames exceed, dB full scale.
    noise : float
        Share of crops with a noise floor, at least 20 dB below that power before a random equaliser curve (`tone_db`
        of 6) colours it.
    tuning : float
        Standard deviation, in bands, of the shift of drums and of backing: other sizes of the same drums.
    room : float
        Share of crops whose drums ring in a room; of half as many the whole mix does.
    squash : float
        Share of crops whose loud moments push everything down, as bus compressors do.
    thin : float
        Share of crops without lows.
    silence : float
        Share of crops that begin in silence, as a stream does before the band starts.
    microphone : float
        Share of crops that a small speaker plays and a microphone hears across a room.
    boomy : float
        Share of crops without drums whose lows tower above the rest, as a microphone close to a guitar or a mouth
        hears them.
    audible_db : float
        Hits that stand out less than this (over the other drums and over the backing) are not asked for.
    """

    naked: float = 0.12
    drumless: float = 0.12
    double: float = 0.3
    plain: float = 0.5
    balance_db: float = -1.0
    balance_spread_db: float = 6.0
    tone_db: float = 3.0
    dark: float = 0.2
    level_db: tuple[float, float] = (-36.0, 0.0)
    noise: float = 0.3
    tuning: float = 1.0
    room: float = 0.25
    squash: float = 0.3
    thin: float = 0.08
    silence: float = 0.1
    microphone: float = 0.15
    boomy: float = 0.0
    audible_db: float = 0.0

    def __post_init__(self) -> None:
        """Check what would otherwise end in the middle of a run.

        Raises
        ------
        ValueError
            If `level_db` is no range, or any other value is no number.
        """
        for name, value in vars(self).items():
            if name != "level_db" and not is_number(value):
                raise ValueError(f"{name} must be a number, not {value!r}")
        level = self.level_db
        if not isinstance(level, tuple) or len(level) != 2 or not all(map(is_number, level)) or level[0] > level[1]:
            raise ValueError(f"level_db must be the least and the greatest level, not {level!r}")


def _tone(count: int, bands: int, spread: float, rng: np.random.Generator) -> Tensor:
    """Smooth random equaliser curves [count, 1, bands]."""
    x = np.linspace(0, 1, bands)
    waves = np.stack([np.cos(np.pi * k * x) / (1 + 0.5 * k) for k in range(1, 6)])
    return torch.from_numpy((rng.normal(0, spread, (count, 5)) @ waves)[:, None].astype(np.float32))


def _loudness(power: Tensor) -> Tensor:
    """Level of the loudest tenth of frames [batch, 1, 1], dB."""
    total = power.sum(dim=2)
    loud = torch.quantile(total, 0.9, dim=1)
    return 10 * torch.log10(loud + 1e-10)[:, None, None]


def _power(db: Tensor) -> Tensor:
    return torch.exp(db * NEPER)


def _column(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))[:, None, None]


def _tuned(db: Tensor, shifts: np.ndarray) -> Tensor:
    """Move each crop along the bands by a fraction of them."""
    bands = db.shape[2]
    at = (torch.arange(bands)[None] + torch.from_numpy(shifts.astype(np.float32))[:, None]).clamp(0, bands - 1)
    low = at.floor().long().clamp(max=bands - 2)
    part = (at - low)[:, None]
    index = low[:, None].expand_as(db)
    return db.gather(2, index) * (1 - part) + db.gather(2, index + 1) * part


def _ringing(
    power: Tensor,
    rooms: np.ndarray,
    direct_db: tuple[float, float],
    seconds: tuple[float, float],
    rng: np.random.Generator,
) -> Tensor:
    """Let the crops at `rooms` decay as in a room: exponentially, highs faster.

    Parameters
    ----------
    power : Tensor [batch, time, bands]
    rooms : int [n]
    direct_db : (float, float)
        Range of the direct sound against all of the reverberation.
    seconds : (float, float)
        Range of the time in which it falls by 60 dB.
    """
    if not len(rooms):
        return power
    frames, bands = power.shape[1:]
    times = rng.uniform(*seconds, (len(rooms), 1)) * np.linspace(1.2, 0.5, bands)[None]
    decay = 10 ** (-6 * _HOP / times)
    wet = 10 ** (-rng.uniform(*direct_db, (len(rooms), 1)) / 10) * (1 - decay) / decay  # the tail's frames sum to 1
    keep, share = torch.from_numpy(decay.astype(np.float32)), torch.from_numpy(wet.astype(np.float32))
    dry = power[torch.from_numpy(rooms)]
    rung, tail = torch.empty_like(dry), torch.zeros_like(dry[:, 0])
    for frame in range(frames):
        tail = (tail + dry[:, frame]) * keep
        rung[:, frame] = tail
    power = power.clone()
    power[torch.from_numpy(rooms)] = dry + rung * share[:, None]
    return power


def _boomy(power: Tensor, crops: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Raise the lows of the crops at `crops` by 6 to 28 dB, up to a band that is drawn, less and less beyond it."""
    if not len(crops):
        return power
    count, bands = len(crops), power.shape[2]
    above = (torch.arange(bands)[None, None] - _column(rng.uniform(0.04, 0.18, count) * bands)).clamp(min=0)
    raised = _column(rng.uniform(6, 28, count)) - above * _column(rng.uniform(1, 4, count))
    power = power.clone()
    power[torch.from_numpy(crops)] *= _power(raised.clamp(min=0))
    return power


def _across_a_room(power: Tensor, crops: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Let the crops at `crops` be played by a small speaker and heard by a microphone in the same room.

    The speaker has no lows, the room rings and colours each band by itself, and noise is 8 to 30 dB below.
    """
    if not len(crops):
        return power
    count, bands = len(crops), power.shape[2]
    at = torch.from_numpy(crops)
    lacking = (_column(rng.uniform(0, 9, count)) - torch.arange(bands)[None, None]).clamp(min=0)
    colour = _tone(count, bands, 3.0, rng) + torch.from_numpy(rng.normal(0, 2, (count, 1, bands)).astype(np.float32))
    heard = power[at] * _power(colour - lacking * _column(rng.uniform(2, 8, count)))
    heard = _ringing(heard, np.arange(count), (-5, 10), (0.15, 0.8), rng)
    tilt = _column(rng.uniform(-30, 10, count)) * torch.linspace(0, 1, bands)[None, None]
    noise = _power(_tone(count, bands, 5.0, rng) + tilt)
    noise = noise / noise.sum(2, keepdim=True)
    power = power.clone()
    power[at] = heard + noise * _power(_loudness(heard) - _column(rng.uniform(8, 30, count)))
    return power


def _squashed(power: Tensor, crops: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Compress the crops at `crops`: a threshold below their loud moments, a ratio, an attack, a release."""
    if not len(crops):
        return power
    chosen = power[torch.from_numpy(crops)]
    level = 10 * torch.log10(chosen.sum(2) + 1e-10)
    above = level - (torch.quantile(level, 0.95, dim=1) - torch.from_numpy(rng.uniform(4, 20, len(crops))))[:, None]
    slope = torch.from_numpy(1 - 1 / rng.uniform(1.5, 6, len(crops)))[:, None]
    wanted = above.clamp(min=0) * slope
    # from a bus compressor to the automatic gain of a microphone, which holds for a second
    release = torch.from_numpy(np.exp(-1 / np.exp(rng.uniform(np.log(4), np.log(100), len(crops)))))
    attack = torch.from_numpy(rng.uniform(0.4, 1, len(crops)))
    cut, held = torch.empty_like(wanted), torch.zeros(len(crops), dtype=wanted.dtype)
    for frame in range(wanted.shape[1]):
        held = torch.maximum(held + (wanted[:, frame] - held) * attack, held * release)
        cut[:, frame] = held
    power = power.clone()
    power[torch.from_numpy(crops)] = chosen * _power(-cut.float())[:, :, None]
    return power


def _audible(drums: Tensor, backing: Tensor, prominence: Tensor) -> Tensor:
    """Return dB by which hits stand out of drums and backing together [batch, time, labels]; powers are given."""
    bands = (10 * torch.log10((drums + 1e-10) / (backing + 1e-10))).amax(dim=2)
    soon = torch.nn.functional.max_pool1d(torch.nn.functional.pad(bands, (0, 2), value=DOUBTED)[:, None], 3, 1)[:, 0]
    return -10 * torch.log10(_power(-prominence) + _power(-soon)[:, :, None])


def remix(
    drums: Tensor,
    backing: Tensor,
    velocity: Tensor,
    prominence: Tensor,
    augment: Augment,
    rng: np.random.Generator,
    louder_db: npt.ArrayLike = 0.0,
) -> dict[str, Tensor]:
    """Mix crops of drums and backing.

    Parameters
    ----------
    drums, backing : Tensor [batch, time, bands]
    velocity, prominence : Tensor [batch, time, labels]
        As in `training.dataset.FeatureSet`; velocities 0..1.
    louder_db : float or array [batch]
        dB added to `Augment.balance_db` for each crop.

    Returns
    -------
    dict
        ``frames`` [batch, time, bands] in dB, ``velocity`` [batch, time, labels], zero where no drum
        is hit, ``heard`` [batch, time, labels], 0 for hits that drown and where a label is not known.
    """
    count, _, bands = drums.shape

    def some(share: float) -> np.ndarray:
        return np.flatnonzero(rng.random(count) < share)

    kind = rng.random(count)
    naked = kind < augment.naked
    drumless = kind > 1 - augment.drumless
    if augment.tuning:
        drums = _tuned(drums, rng.normal(0, augment.tuning, count))
        backing = _tuned(backing, rng.normal(0, augment.tuning, count))
    a = _power(drums + _tone(count, bands, augment.tone_db, rng))
    a = _ringing(a, some(augment.room), (2, 25), (0.15, 1.2), rng)
    b = _power(backing + _tone(count, bands, augment.tone_db, rng))
    balance = np.clip(rng.normal(augment.balance_db + np.asarray(louder_db), augment.balance_spread_db, count), -20, 24)
    loud_a, loud_b = _loudness(a), _loudness(b)
    # a silent backing must not be raised to the level of the drums
    gain = torch.where(loud_b > -80, loud_a - loud_b - _column(balance), torch.zeros(()))
    b = b * _power(gain) * _column(~naked)
    gone = _column(drumless) > 0
    known = (prominence > DOUBTED) | (velocity > 0)
    heard = known & ((velocity == 0) | (_audible(a, b, prominence) >= augment.audible_db))
    heard = heard | gone
    a = torch.where(gone, torch.zeros(()), a)
    if augment.boomy:
        b = _boomy(b, np.flatnonzero(drumless & (rng.random(count) < augment.boomy)), rng)
    mixed = _ringing(a + b, some(augment.room / 2), (5, 25), (0.15, 1.2), rng)
    mixed = _across_a_room(mixed, some(augment.microphone), rng)
    mixed = _squashed(mixed, some(augment.squash), rng)
    loudest = rng.uniform(*augment.level_db, count)
    level = _column(loudest) - _loudness(mixed)
    mixed = mixed * _power(level.clamp(max=60))
    if augment.dark:
        edge = np.where(rng.random(count) < augment.dark, rng.uniform(0.55, 0.97, count) * bands, 2 * bands)
        above = (torch.arange(bands)[None, None] - _column(edge)).clamp(min=0)
        mixed = mixed * _power(-above * 12)
    if augment.thin:
        edge = np.where(rng.random(count) < augment.thin, rng.uniform(0.04, 0.2, count) * bands, 0)
        below = (_column(edge) - torch.arange(bands)[None, None]).clamp(min=0)
        mixed = mixed * _power(-below * 3)
    until = np.zeros(count)
    if augment.silence:
        until = np.where(rng.random(count) < augment.silence, rng.uniform(0.1, 0.6, count) * drums.shape[1], 0)
    before_start = torch.arange(drums.shape[1])[None, :, None] - _column(until)
    silent = before_start < 0
    mixed = torch.where(silent, torch.zeros(()), mixed)
    noisy = rng.random(count) < augment.noise
    # of the converter, whatever plays, or of the place, under what plays; of each band, against all bands together
    place = loudest - rng.uniform(25, 60, count)
    floor = np.where(rng.random(count) < 0.5, np.minimum(rng.uniform(-95, -55, count), loudest - 20), place)
    floor = np.where(noisy, floor, FLOOR_DB)
    mixed = mixed + _power(_column(floor) + _tone(count, bands, 6.0, rng)) * _column(noisy)
    return {
        "frames": 10 * torch.log10(mixed + 1e-10),
        "velocity": torch.where(gone | silent, torch.zeros(()), velocity),
        # where the band starts within a hit, nobody can say whether one was heard
        "heard": ((heard | silent) & ~(silent & (before_start >= -_CUT))).to(velocity.dtype),
    }
