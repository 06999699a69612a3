"""Log-mel frames from samples: the only features there are, in training as on stage.

Window and filters are defined in seconds and hertz and scaled as power spectral density, so that one
model serves several sample rates. Samples are float32, mono, full scale 1; frames are float32
[frames, bands] in dB, a full-scale sine having -3 dB in all.

Contents
--------
LogMel, log_mel, window, centres, mel_filters
"""

import math
from typing import Self

import numpy as np
from numpy.typing import NDArray

from . import _dsp
from .errors import SpecError
from .spec import FeatureSpec

_SMALLEST_FFT = 16


class LogMel(_dsp.LogMel):
    """A stream of samples in, log-mel frames out; see `dance._dsp.LogMel` for the methods.

    Parameters
    ----------
    spec : FeatureSpec
    sample_rate : int
        In hertz, at least twice ``spec.f_max``.

    Raises
    ------
    SpecError
        If the sample rate is too low for the spec's highest band, or its hop is shorter than a sample.
    """

    def __new__(cls, spec: FeatureSpec, sample_rate: int) -> Self:
        """Compute window and filters, and set buffers aside."""
        if sample_rate < 2 * spec.f_max:
            raise SpecError(
                f"bands up to {spec.f_max:g} Hz need at least {2 * spec.f_max:g} samples a second, "
                f"not {sample_rate}; resample first"
            )
        if spec.hop_seconds * sample_rate < 1:
            raise SpecError("hop_seconds is shorter than one sample")
        shape = window(spec, sample_rate)
        size = max(_SMALLEST_FFT, 1 << (len(shape) - 1).bit_length())
        # 2 |X|^2 / (rate * sum(w^2)) per hertz, times the rate / size hertz of a bin.
        scaled = shape * math.sqrt(2 / (size * np.sum(shape**2)))
        filters = mel_filters(spec, sample_rate, size)
        return super().__new__(cls, spec.hop_seconds, sample_rate, scaled, filters, spec.floor)


def log_mel(samples: NDArray[np.float32], spec: FeatureSpec, sample_rate: int) -> NDArray[np.float32]:
    """Return the frames of a whole recording, by the streaming loop.

    Parameters
    ----------
    samples : float32 [n]
    spec : FeatureSpec
    sample_rate : int

    Returns
    -------
    float32 [frames, bands]
        Frame k ends at sample ``spec.frame_end(k, sample_rate)``; a last, incomplete hop gives none.
    """
    stream = LogMel(spec, sample_rate)
    frames = np.empty((stream.frames_after(len(samples)), stream.bands), np.float32)
    stream.process(samples, frames)
    return frames


def window(spec: FeatureSpec, sample_rate: int) -> NDArray[np.float64]:
    """Return the window, oldest sample first: a long rise, a short fall, both sine squared."""
    length = math.floor(spec.window_seconds * sample_rate + 0.5)
    age = (np.arange(length)[::-1] + 0.5) / sample_rate
    rise = (spec.window_seconds - age) / (spec.window_seconds - spec.attack_seconds)
    return np.sin(np.pi / 2 * np.minimum(rise, age / spec.attack_seconds)) ** 2


def _edges(spec: FeatureSpec) -> NDArray[np.float64]:
    """Return the edges of the bands in hertz [bands + 2], at equal distances on the HTK mel scale."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (spec.f_min, spec.f_max))
    return np.asarray(700 * (10 ** (np.linspace(low, high, spec.bands + 2) / 2595) - 1))


def centres(spec: FeatureSpec) -> NDArray[np.float64]:
    """Return the frequencies in hertz [bands] in which the bands are centred."""
    return _edges(spec)[1:-1]


def mel_filters(spec: FeatureSpec, sample_rate: int, size: int) -> NDArray[np.float64]:
    """Return the share of each bin of an FFT of `size` points that each band collects.

    Triangles of height 1 between edges at equal distances on the HTK mel scale, averaged over the width
    of each bin: sampled at its middle only, the narrow low bands would depend on the sample rate.

    Returns
    -------
    float64 [bands, size / 2 + 1]
    """
    edges = _edges(spec)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    width = sample_rate / size
    borders = (np.arange(size // 2 + 2) - 0.5) * width
    rising = np.clip(borders, left, centre) - left
    falling = right - np.clip(borders, centre, right)
    # Area under the triangle up to each border.
    area = rising**2 / (2 * (centre - left)) + ((right - centre) ** 2 - falling**2) / (2 * (right - centre))
    shares: NDArray[np.float64] = np.diff(area, axis=1) / width
    return shares
