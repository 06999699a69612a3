"""Remixing in the feature domain: balance, tone, level, dark mixes, noise.

Powers of uncorrelated sounds add, so drums and backing can be mixed frame by frame on log-mel features
as well as on samples, at a thousandth of the cost. Features are dB, [batch, time, bands].

Contents
--------
Augment, remix
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FLOOR_DB = -100.0


@dataclass(frozen=True)
class Augment:
    """How crops are mixed; probabilities and ranges.

    Attributes
    ----------
    naked, drumless : float
        Share of crops without backing, and without drums.
    balance_db, balance_spread_db : float
        Drums against backing: mean and standard deviation, dB.
    tone_db : float
        Standard deviation of the random equaliser curves, dB.
    dark : float
        Share of crops with a brick-wall low-pass between 4 and 15 kHz, as old records and codecs have.
    level_db : (float, float)
        Range of the mix's loudest frame, dB full scale.
    noise : float
        Share of crops with a noise floor.
    """

    naked: float = 0.12
    drumless: float = 0.06
    balance_db: float = 2.0
    balance_spread_db: float = 6.0
    tone_db: float = 3.0
    dark: float = 0.2
    level_db: tuple[float, float] = (-36.0, 0.0)
    noise: float = 0.3


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
    return torch.exp(db * 0.2302585093)


def _column(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))[:, None, None]


def remix(
    drums: Tensor, backing: Tensor, velocity: Tensor, augment: Augment, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Mix crops of drums and backing.

    Returns
    -------
    dict
        ``frames`` [batch, time, bands] in dB, ``velocity`` [batch, time, labels], zero where no drum
        is hit.
    """
    count, _, bands = drums.shape
    kind = rng.random(count)
    naked = kind < augment.naked
    drumless = kind > 1 - augment.drumless
    a = _power(drums + _tone(count, bands, augment.tone_db, rng))
    b = _power(backing + _tone(count, bands, augment.tone_db, rng))
    balance = np.clip(rng.normal(augment.balance_db, augment.balance_spread_db, count), -10, 24)
    loud_a, loud_b = _loudness(a), _loudness(b)
    # a silent backing must not be raised to the level of the drums
    gain = torch.where(loud_b > -80, loud_a - loud_b - _column(balance), torch.zeros(()))
    b = b * _power(gain) * _column(~naked)
    a = torch.where(_column(drumless) > 0, torch.zeros(()), a)
    mixed = a + b
    level = _column(rng.uniform(*augment.level_db, count)) - _loudness(mixed)
    mixed = mixed * _power(level.clamp(max=60))
    if augment.dark:
        edge = np.where(rng.random(count) < augment.dark, rng.uniform(0.55, 0.97, count) * bands, 2 * bands)
        above = (torch.arange(bands)[None, None] - _column(edge)).clamp(min=0)
        mixed = mixed * _power(-above * 12)
    noisy = rng.random(count) < augment.noise
    floor = np.where(noisy, rng.uniform(-95, -55, count), FLOOR_DB)
    mixed = mixed + _power(_column(floor) + _tone(count, bands, 6.0, rng)) * _column(noisy)
    frames = 10 * torch.log10(mixed + 1e-10)
    return {"frames": frames, "velocity": torch.where(_column(drumless) > 0, torch.zeros(()), velocity)}
