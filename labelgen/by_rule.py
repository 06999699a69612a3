"""What sounds made by rule have in common: how numbers are drawn, filters, and how a sound ends.

Every choice comes from the generator that is passed in.

Contents
--------
between, filtered, banded, peak_1, finished
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

Audio = npt.NDArray[np.float32]
Wave = npt.NDArray[np.float64]


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw log-uniformly from `low` to `high`."""
    return float(low * (high / low) ** rng.random())


def filtered(wave: Wave, kind: str, hertz: float | tuple[float, float], sample_rate: int, order: int = 2) -> Wave:
    """Return a sound through a Butterworth filter, its edges kept within what the rate holds."""
    edges = np.clip(hertz, 20, 0.48 * sample_rate)
    return np.asarray(sosfilt(butter(order, edges, kind, fs=sample_rate, output="sos"), wave))


def banded(wave: Wave, sample_rate: float, low: float | None, high: float | None, order: int = 2) -> Wave:
    """Return what lies between two frequencies, None for no edge; the upper one is at most what the rate allows."""
    high = min(high, 0.45 * sample_rate) if high else None
    return np.asarray(sosfilt(_sections(sample_rate, low, high, order), wave))


@lru_cache(maxsize=256)
def _sections(sample_rate: float, low: float | None, high: float | None, order: int) -> Wave:
    if low and high:
        sections = butter(order, (low, high), "bandpass", fs=sample_rate, output="sos")
    else:
        sections = butter(order, low or high, "highpass" if low else "lowpass", fs=sample_rate, output="sos")
    return np.asarray(sections)


def peak_1(wave: Wave) -> Audio:
    """Return a sound whose largest amplitude is 1."""
    return np.asarray(wave / np.abs(wave).max(), np.float32)


def finished(wave: Wave, fade: int) -> Audio:
    """Return a sound of peak 1 whose last `fade` samples fade to nothing; `wave` is changed."""
    wave[-fade:] *= np.linspace(1, 0, fade)
    return peak_1(wave)
