"""Drum machines that nobody built: electronic kicks, snares, claps, hats, toms and cymbals made by rule.

Sampled electronic kits are few and alike, and electronic kicks are what detectors miss first. Here every kit has an
instrument of its own, made as the classic circuits make theirs: swept sines, filtered noise, and the six square
waves of a metal sound (Werner, Abel & Smith, "The TR-808 Cymbal: a Physically-Informed, Circuit-Bendable, Digital
Model", 2014; "A Physically-Informed, Circuit-Bendable, Digital Model of the Roland TR-808 Bass Drum Circuit", 2014).

Contents
--------
make_machine
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from labelgen.by_rule import Audio, Wave, between, filtered, finished

METAL_HZ = np.array([205.3, 304.4, 369.6, 522.7, 540.0, 800.0])  # of the TR-808
FADE = 0.005  # seconds: no sound ends with a click


def make_machine(sample_rate: int, rng: np.random.Generator) -> dict[str, list[Audio]]:
    """Return one sound, of peak 1 and beginning with its attack, for each voice of `labelgen.kits.LEVEL_DB` it has."""
    metal = rng.uniform(0.7, 2.2)  # hats and cymbals of a machine share their oscillators
    makers: dict[str, Callable[[int, np.random.Generator], Wave]] = {
        "kick": _kick,
        "snare": _snare,
        "clap": _clap,
        "tom": _tom,
        "hat_closed": partial(_metal, pitch=metal, seconds=rng.uniform(0.015, 0.07)),
        "hat_pedal": partial(_metal, pitch=metal, seconds=rng.uniform(0.015, 0.05)),
        "hat_open": partial(_metal, pitch=metal, seconds=rng.uniform(0.12, 0.4)),
        "crash": partial(_metal, pitch=metal, seconds=rng.uniform(0.5, 1.0)),
        "ride": partial(_metal, pitch=metal, seconds=rng.uniform(0.3, 0.8)),
    }
    fade = int(FADE * sample_rate)
    return {voice: [finished(maker(sample_rate, rng), fade)] for voice, maker in makers.items()}


def _time(seconds: float, sample_rate: int) -> Wave:
    return np.arange(int(seconds * sample_rate)) / sample_rate


def _swept(t: Wave, low: float, high: float, fall: float, phase: float) -> Wave:
    """Return a sine that falls from `high` to `low` Hz with time constant `fall`."""
    turns = low * t + (high - low) * fall * (1 - np.exp(-t / fall))
    return np.sin(2 * np.pi * turns + phase)


def _driven(wave: Wave, gain: float) -> Wave:
    return np.tanh(gain * wave) / np.tanh(gain)


def _kick(sample_rate: int, rng: np.random.Generator) -> Wave:
    """Make a kick: a falling sine, its decay or gate, a click of noise, and drive."""
    decay = between(rng, 0.05, 0.5)
    t = _time(min(1.2, 5 * decay), sample_rate)
    low = between(rng, 36, 68)
    body = _swept(t, low, low * between(rng, 1.3, 9), between(rng, 0.004, 0.07), rng.uniform(0, np.pi / 2))
    body += rng.uniform(0, 0.7) * _swept(t, low, between(rng, 300, 4000), between(rng, 0.001, 0.008), 0)
    shape = np.exp(-t / decay)
    if rng.random() < 0.3:  # held, then let go, as long kicks of dance music are
        shape = 1 / (1 + np.exp((t - between(rng, 0.08, 0.35)) / 0.02))
    wave = body * shape
    if rng.random() < 0.8:
        click = rng.normal(0, 1, len(t)) * np.exp(-t / between(rng, 0.0007, 0.012))
        click = filtered(click, "lowpass" if rng.random() < 0.5 else "highpass", between(rng, 700, 7000), sample_rate)
        wave += between(rng, 0.03, 0.8) * click / np.abs(click).max()
    if rng.random() < 0.6:
        wave = _driven(wave, between(rng, 1, 15))
    if rng.random() < 0.4:
        wave = filtered(wave, "lowpass", between(rng, 800, 9000), sample_rate)
    return wave


def _snare(sample_rate: int, rng: np.random.Generator) -> Wave:
    """Make a snare: two falling sines and noise, each with a decay of its own."""
    t = _time(0.6, sample_rate)
    low = between(rng, 130, 280)
    fall = between(rng, 0.005, 0.04)
    body = _swept(t, low, low * rng.uniform(1, 2.5), fall, 0)
    body += rng.uniform(0, 1) * _swept(t, low * rng.uniform(1.4, 2.1), low * rng.uniform(2, 4), fall, 0)
    body *= np.exp(-t / between(rng, 0.02, 0.12))
    hiss = filtered(rng.normal(0, 1, len(t)), "highpass", between(rng, 400, 4000), sample_rate)
    if rng.random() < 0.3:
        hiss = filtered(hiss, "lowpass", between(rng, 3000, 12000), sample_rate)
    hiss *= np.exp(-t / between(rng, 0.03, 0.2)) / np.abs(hiss).max()
    wave = body / np.abs(body).max() + between(rng, 0.25, 3) * hiss
    return _driven(wave, between(rng, 1, 8)) if rng.random() < 0.4 else wave


def _clap(sample_rate: int, rng: np.random.Generator) -> Wave:
    """Make a clap: some short bursts of noise, the last one ringing on."""
    t = _time(0.5, sample_rate)
    gap, burst = rng.uniform(0.006, 0.014), between(rng, 0.002, 0.008)
    count = int(rng.integers(2, 5))
    shape = np.zeros_like(t)
    for number in range(count):
        late = t - number * gap * rng.uniform(0.9, 1.1)
        fall = burst if number < count - 1 else between(rng, 0.03, 0.15)
        shape += np.where(late >= 0, np.exp(-np.maximum(late, 0) / fall), 0)
    middle, width = between(rng, 800, 2500), rng.uniform(1.3, 3)
    noise = filtered(rng.normal(0, 1, len(t)), "bandpass", (middle / width, middle * width), sample_rate)
    return noise * shape


def _tom(sample_rate: int, rng: np.random.Generator) -> Wave:
    """Make a tom: a slowly falling sine with a little noise."""
    decay = between(rng, 0.08, 0.4)
    t = _time(min(1.0, 4 * decay), sample_rate)
    low = between(rng, 80, 180)
    wave = _swept(t, low, low * rng.uniform(1.05, 2), between(rng, 0.02, 0.15), 0) * np.exp(-t / decay)
    noise = filtered(rng.normal(0, 1, len(t)), "lowpass", between(rng, 800, 6000), sample_rate)
    return wave + between(rng, 0.01, 0.3) * noise / np.abs(noise).max() * np.exp(-t / between(rng, 0.003, 0.1))


def _metal(sample_rate: int, rng: np.random.Generator, pitch: float, seconds: float) -> Wave:
    """Make a hat or cymbal: six square waves out of tune with each other, and noise, above some kilohertz."""
    t = _time(min(2.0, 5 * seconds + 0.03), sample_rate)
    hertz = METAL_HZ * pitch * rng.uniform(0.97, 1.03, len(METAL_HZ))
    squares = np.sign(np.sin(2 * np.pi * hertz[:, None] * t + rng.uniform(0, 2 * np.pi, (len(hertz), 1)))).mean(axis=0)
    noise = rng.normal(0, 0.4, len(t))
    share = rng.random()
    wave = filtered(share * squares + (1 - share) * noise, "highpass", between(rng, 3500, 10000), sample_rate, 4)
    shape = np.exp(-t / seconds) + rng.uniform(0, 1) * np.exp(-t / 0.006)
    return wave * shape
