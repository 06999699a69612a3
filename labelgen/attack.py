"""Where sounds begin: the rise of level in three bands of a recording, and the attack to the millisecond.

A band's rise at a moment is the level just after it minus the level just before it, in dB: it peaks at the
attack itself, not some way up its slope. Levels end `RANGE` dB below a band's loud moments, so what
nobody hears does not rise. Both are read from the file in blocks, so memory does not grow with its length
beyond 6 kB a second.

Contents
--------
BANDS, Band, Rises, rises_of, peaks_of, strongest, attack_at, new_spectrum, ring
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, sosfilt

from labelgen.recordings import RATE

F32 = npt.NDArray[np.float32]

HOP = 88
"""Samples of a frame: 2 ms."""
FRAME = HOP / RATE


@dataclass(frozen=True)
class Band:
    """A band of the spectrum.

    Attributes
    ----------
    low, high : float
        Edges in hertz.
    window : float
        Seconds before and after an attack whose levels are compared: some periods of the lowest tone.
    """

    low: float
    high: float
    window: float


BANDS = {
    "low": Band(35, 110, 0.030),
    "mid": Band(250, 4000, 0.014),
    "high": Band(6500, 16000, 0.010),
}
"""Where kicks, snares and hats are heard best."""
SHARP = 0.004
AUDIBLE = 6.0  # dB by which a band rises at an attack
RANGE = 30.0  # dB below the loud moments of a band where listening ends
LOUD = 99.0  # percentile of the levels that counts as loud


@dataclass(frozen=True)
class Rises:
    """How much each band's level rises at each frame (`FRAME` seconds), and how loud it then is.

    Attributes
    ----------
    rise : dict of str to float32 array
        dB, 0 where the level does not rise.
    level : dict of str to float32 array
        dB over the `window` after the moment; `RANGE` below loud at least.
    edge : dict of str to float32 array
        Amplitude over the `SHARP` seconds after the moment minus that before it: largest in the steepest part
        of an attack, which is what people mark, while `rise` is largest at its first faint noise.
    """

    rise: dict[str, F32]
    level: dict[str, F32]

    edge: dict[str, F32]

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.rise["low"]) * FRAME


def rises_of(blocks: Iterator[F32]) -> Rises:
    """Measure rises over blocks of samples at `RATE`."""
    filters = {n: butter(2, (b.low, b.high), "bandpass", fs=RATE, output="sos") for n, b in BANDS.items()}
    states = {n: np.zeros((len(sos), 2)) for n, sos in filters.items()}
    powers: dict[str, list[F32]] = {n: [] for n in BANDS}
    rest = np.empty(0, np.float32)
    for block in blocks:
        block = np.concatenate([rest, block])
        whole = len(block) // HOP * HOP
        block, rest = block[:whole], block[whole:]
        for name, sos in filters.items() if whole else ():
            filtered, states[name] = sosfilt(sos, block, zi=states[name])
            powers[name].append(np.square(filtered).reshape(-1, HOP).mean(axis=1).astype(np.float32))
    rise, level, edge = {}, {}, {}
    for name, band in BANDS.items():
        power = np.concatenate([np.empty(0, np.float32), *powers.pop(name)])
        width = max(1, round(band.window / FRAME))
        mean = uniform_filter1d(power, width, mode="constant")
        # mean[k] covers width frames around k: shift it to begin at k, and to end before k
        after, before = np.roll(mean, -(width // 2)), np.roll(mean, width - width // 2)
        before[:width] = 0
        after[len(after) - width // 2 :] = 0
        if not len(power):
            rise[name] = level[name] = edge[name] = power
            continue
        short = round(SHARP / FRAME)
        amplitude = np.sqrt(np.convolve(power, np.full(short, 1 / short, np.float32))[: len(power)])
        edge[name] = np.roll(amplitude, 1 - short) - np.roll(amplitude, 1)
        edge[name][-short:] = 0
        floor = max(1e-12, float(np.percentile(mean, LOUD)) * 10 ** (-RANGE / 10))
        level[name] = 10 * np.log10(np.maximum(after, floor, dtype=np.float32))
        rise[name] = np.maximum(0, level[name] - 10 * np.log10(np.maximum(before, floor, dtype=np.float32)))
    return Rises(rise, level, edge)


def peaks_of(rise: F32, least: float, apart: float) -> npt.NDArray[np.int64]:
    """Return the frames where `rise` is the largest within `apart` seconds and at least `least` dB."""
    width = 2 * round(apart / FRAME) + 1
    return np.flatnonzero((rise >= least) & (rise == maximum_filter1d(rise, width)))


def strongest(rise: F32, time: float, reach: float) -> tuple[float, float]:
    """Return moment and dB of the largest rise within `reach` seconds of `time`."""
    first = max(0, round((time - reach) / FRAME))
    part = rise[first : max(first, round((time + reach) / FRAME) + 1)]
    if not len(part):
        return time, 0.0
    at = int(part.argmax())
    return (first + at) * FRAME, float(part[at])


def attack_at(rises: Rises, time: float, bands: tuple[str, ...], reach: float = 0.02) -> float:
    """Return the audible attack near `time`: the first band named in `bands` that rises there decides.

    Low tones take a period to be measured, so a kick's click tells its attack better than its tone.
    """
    for name in bands:
        at, rise = strongest(rises.rise[name], time, reach)
        if rise >= AUDIBLE:
            return strongest(rises.edge[name], at + SHARP, 2 * SHARP)[0]
    return time


EDGES = np.geomspace(40, 14000, 21)
"""Edges in hertz of the bands of `new_spectrum`."""
_SIZE = 2048  # 46 ms
_WINDOW = np.hanning(_SIZE).astype(np.float32)
_BINS = np.searchsorted(np.fft.rfftfreq(_SIZE, 1 / RATE), EDGES)


def new_spectrum(samples: F32, at: int) -> F32:
    """Return the power in dB that `EDGES`' bands have after sample `at` and did not have before it."""
    padded = np.pad(samples[max(0, at - _SIZE) : at + _SIZE], (max(0, _SIZE - at), max(0, at + _SIZE - len(samples))))
    parts = np.stack([padded[:_SIZE], padded[_SIZE:]]) * _WINDOW
    power = np.square(np.abs(np.fft.rfft(parts)))
    before, after = np.add.reduceat(power, _BINS[:-1], axis=1)
    return (10 * np.log10(np.maximum(after - before, 1e-3 * after) + 1e-9)).astype(np.float32)


def ring(samples: F32, at: int) -> F32:
    """Return the power in dB that `EDGES`' bands have from 10 ms after sample `at`, when a click is over."""
    part = samples[at + RATE // 100 :][:_SIZE]
    power = np.square(np.abs(np.fft.rfft(np.pad(part, (0, _SIZE - len(part))) * _WINDOW)))
    return (10 * np.log10(np.add.reduceat(power, _BINS[:-1])[: len(EDGES) - 1] + 1e-9)).astype(np.float32)
