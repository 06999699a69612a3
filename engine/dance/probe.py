"""A test sound whose every attack can be found again in a recording of it.

Drum hits made from formulas, each with a click of noise a fixed time before it. The click is found by
correlation, to the sample and in a noisy room; the attack is where its click says, so that nothing depends
on how a drum's waveform comes through.

Contents
--------
Attack, Probe, DRUMS, struck
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_HIT_LEVEL = 0.5
_LEAD_SECONDS = 0.75  # a sound server swallows or delays the first of it
# Clicks at the start, found together far below the noise. Their places are a Golomb ruler: shifted against itself, no
# two clicks meet at once, so that a part of them that breaks up on its way cannot be taken for another.
_HEAD = (0, 1, 4, 9, 15, 22, 32, 34)
_HEAD_SECONDS = 0.04  # unit of the ruler
_CLICK_SECONDS = 0.01
_CLICK_LEVEL = 0.25
_AHEAD_SECONDS = 0.2  # a click before its hit: far enough not to be heard as part of it
_FARTHEST_SECONDS = 1.0  # the longest way round that is looked for
_SWALLOWED_SECONDS = 0.2  # and how early the first clicks are where a device has swallowed what was before them
_NEAR_SECONDS = 0.05  # how far a later click may lie from where the first ones were
# Peak of a correlation over its median from which it is no accident. In Gaussian noise the peak of as many
# values lies at 7 and 5.5. One of the first clicks alone reaches 11.
_CLEAR_HEAD = 14.0
_CLEAR = 8.0
_MEDIAN = 0.6745  # of a Gaussian's absolute values, in standard deviations
_AUDIBLE = 1e-6  # gain below which only rounding errors are heard: they stand out of digital silence, too


def _kick(time: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    glide = 50 * time + 130 * 0.03 * (1 - np.exp(-time / 0.03))
    tone: NDArray[np.float64] = np.sin(2 * np.pi * glide) * np.exp(-time / 0.08)
    return tone + 0.3 * noise * np.exp(-time / 0.003)


def _snare(time: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    shell: NDArray[np.float64] = np.sin(2 * np.pi * 190 * time) * np.exp(-time / 0.04)
    return 0.5 * shell + 0.6 * noise * np.exp(-time / 0.06)


def _hihat(time: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    high: NDArray[np.float64] = np.diff(noise, 2, prepend=(0.0, 0.0))
    return high * np.exp(-time / 0.02)


DRUMS: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]] = {
    "kick": _kick,
    "snare": _snare,
    "hihat": _hihat,
}
"""The drums that can be played: functions of time in seconds and white noise, both [n]."""

_RING_SECONDS = 0.2  # how long each of them sounds


def struck(label: str, sample_rate: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return one hit of a drum of `DRUMS` [n], with a peak of half of full scale."""
    time = np.arange(round(_RING_SECONDS * sample_rate)) / sample_rate
    drum = DRUMS[label](time, random.uniform(-1, 1, len(time)))
    scaled: NDArray[np.float64] = _HIT_LEVEL * drum / np.abs(drum).max()
    return scaled


class Attack(NamedTuple):
    """One attack in a `Probe`: `sample` counts from the start of the sound."""

    sample: int
    label: str


class Probe:
    """The sound, and where its hits lie.

    Hits come at uneven distances of 0.4 to 0.5 s, so that they fall anywhere in a device's periods and a
    detector's frames.

    Parameters
    ----------
    sample_rate : int
        In hertz.
    labels : sequence of str
        Drums to play in turn, keys of `DRUMS`.
    count : int
        How many hits.

    Attributes
    ----------
    sound : float32 [n]
        Mono, full scale 1.
    hits : list of Attack
    head : int
        Sample before which the first clicks end: enough of a recording for `find_head`.
    """

    def __init__(self, sample_rate: int, labels: Sequence[str], count: int) -> None:
        rng = np.random.default_rng(0)
        self.sample_rate = sample_rate
        self._click = _CLICK_LEVEL * rng.uniform(-1, 1, self._samples(_CLICK_SECONDS))
        self._ahead = self._samples(_AHEAD_SECONDS)
        self._start = self._samples(_LEAD_SECONDS)
        self._marks = [self._samples(_HEAD_SECONDS * mark) for mark in _HEAD]
        self.head = self._start + self._marks[-1] + len(self._click)
        at = self.head + self._ahead
        self.hits: list[Attack] = []
        for number in range(count):
            at += self._samples(rng.uniform(0.2, 0.3)) + self._ahead
            self.hits.append(Attack(at, labels[number % len(labels)]))
        sound = np.zeros(at + self._samples(_RING_SECONDS) + self._samples(_LEAD_SECONDS))
        for mark in self._marks:
            sound[self._start + mark : self._start + mark + len(self._click)] = self._click
        for hit in self.hits:
            click = hit.sample - self._ahead
            sound[click : click + len(self._click)] += self._click
            drum = struck(hit.label, sample_rate, rng)
            sound[hit.sample : hit.sample + len(drum)] += drum
        self.sound = sound.astype(np.float32)

    def find_head(self, recording: NDArray[np.float32], expected: int) -> int | None:
        """Return how many samples late most of the first clicks are in a recording; None if they are not in it.

        Parameters
        ----------
        recording : float32 [n]
        expected : int
            Where the sound's first sample would be if it took no time; may be negative.
        """
        first = max(expected + self._start - self._samples(_SWALLOWED_SECONDS), 0)
        part = recording[first : max(expected + self.head + self._samples(_FARTHEST_SECONDS), 0)]
        places = len(part) - self._marks[-1] - len(self._click) + 1
        if places < 1:
            return None
        # Each click counts alike however loud it is: a snare resembles one click by chance, but not several. So
        # the clicks that are left are found where a device has swallowed one or torn them apart.
        single = _likeness(part, self._click)
        likeness = np.abs(sum(single[mark : mark + places] for mark in self._marks)) / len(self._marks)
        best = int(likeness.argmax())
        noise = _MEDIAN / math.sqrt(len(self._marks) * len(self._click))  # a Gaussian's; the rest may be silent
        if likeness[best] < _CLEAR_HEAD * max(float(np.median(likeness)), noise):
            return None
        return best + first - expected - self._start

    def find(self, recording: NDArray[np.float32], expected: int, late: int) -> int | None:
        """Return the sample of a recording at which a hit's attack is; None if it is not in it.

        Parameters
        ----------
        recording : float32 [n]
        expected : int
            Where the attack would be if it took no time.
        late : int
            Samples that it is late by, about.
        """
        near = self._samples(_NEAR_SECONDS)
        click = expected + late - self._ahead
        offset = _find(recording, self._click, click - near, click + near)
        return None if offset is None else click - near + offset + self._ahead

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.sample_rate)


def _find(recording: NDArray[np.float32], pattern: NDArray[np.float64], first: int, last: int) -> int | None:
    """Return how far behind `first`, and not behind `last`, `pattern` begins; None if nothing stands out."""
    part = recording[max(first, 0) : max(last + len(pattern), 0)]
    if len(part) < len(pattern):
        return None
    likeness = np.abs(_correlation(part, pattern))
    best = int(likeness.argmax())
    audible = likeness[best] > _AUDIBLE * float(pattern @ pattern)
    if not audible or likeness[best] < _CLEAR * float(np.median(likeness)):
        return None
    return best + max(first, 0) - first


def _likeness(part: NDArray[np.float32], pattern: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how like `pattern` each place of `part` is, -1 to 1, whatever its level."""
    sums = np.concatenate([np.zeros(1), np.cumsum(np.square(part, dtype=np.float64))])
    energy = sums[len(pattern) :] - sums[: -len(pattern)]
    whole = float(pattern @ pattern)
    result: NDArray[np.float64] = _correlation(part, pattern)
    result /= np.sqrt(whole * np.maximum(energy, _AUDIBLE**2 * whole))
    return result


def _correlation(part: NDArray[np.float32], pattern: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of products of `pattern` with each place of `part`."""
    size = 1 << (len(part) - 1).bit_length()
    spectrum = np.fft.rfft(part, size) * np.fft.rfft(pattern, size).conj()
    return np.asarray(np.fft.irfft(spectrum, size)[: len(part) - len(pattern) + 1])
