"""Side-sticks, wood blocks, tambourines and shakers made by rule: sample packs hold few of them.

They are struck like drums and are none of the drums that are reported; so a detector has to have heard many. Audio
is mono float32 of peak 1 that begins with the stroke; every choice comes from the generator that is passed in.

Contents
--------
make_percussion, wood, jingles, shaker
"""

import numpy as np

from labelgen.by_rule import Audio, Wave, banded, finished

TAMBOURINE, MARACAS, SHAKER = 54, 70, 82
CLAVES, WOOD_BLOCKS = 75, (76, 77)
VARIATIONS = 4  # hits of one instrument to choose from: no two are alike


def make_percussion(sample_rate: int, rng: np.random.Generator) -> dict[str, list[Audio]]:
    """Return sounds for `labelgen.kits.Kit.sounds`: side-stick, wood, tambourine and shakers of one new kit."""
    wooden = {
        f"perc/{CLAVES}": (rng.uniform(1200, 2600), rng.uniform(0.01, 0.03)),
        f"perc/{WOOD_BLOCKS[0]}": (rng.uniform(800, 1500), rng.uniform(0.01, 0.025)),
        f"perc/{WOOD_BLOCKS[1]}": (rng.uniform(500, 900), rng.uniform(0.01, 0.03)),
    }
    sounds = {key: wood(float(pitch), float(decay), sample_rate, rng) for key, (pitch, decay) in wooden.items()}
    pitch, decay = float(rng.uniform(400, 1200)), float(rng.uniform(0.006, 0.03))
    # the shell and the wires of the snare drum answer to the stick on its rim
    sounds["rim"] = wood(
        pitch, decay, sample_rate, rng, shell=float(rng.uniform(-18, 2)), wires=float(rng.uniform(-30, -8))
    )
    sounds[f"perc/{TAMBOURINE}"] = jingles(sample_rate, rng)
    sounds[f"perc/{MARACAS}"] = shaker(sample_rate, rng)
    sounds[f"perc/{SHAKER}"] = shaker(sample_rate, rng)
    return sounds


def wood(
    pitch: float,
    decay: float,
    sample_rate: int,
    rng: np.random.Generator,
    shell: float = -60.0,
    wires: float = -60.0,
) -> list[Audio]:
    """Return hits of a stick on wood: a few short resonances from `pitch` hertz upwards, and a click.

    Parameters
    ----------
    pitch, decay : float
        Hertz and seconds of the lowest resonance.
    sample_rate : int
    rng : np.random.Generator
    shell, wires : float
        dB of a snare drum's answer.
    """
    ratios = np.concatenate([[1.0], np.sort(rng.uniform(1.4, 6.0, int(rng.integers(2, 5))))])
    levels = 10 ** (rng.uniform(-12, 0, len(ratios)) / 20) / ratios ** rng.uniform(0, 1.2)
    decays = decay / ratios ** rng.uniform(0.2, 0.8)
    click = 10 ** (rng.uniform(-20, -2) / 20)
    hollow, sinking, rattling = (
        float(rng.uniform(130, 350)),
        float(rng.uniform(0.01, 0.04)),
        float(rng.uniform(0.01, 0.05)),
    )
    low, high = float(rng.uniform(500, 2000)), float(rng.uniform(4000, 12000))
    time = np.arange(round(0.15 * sample_rate)) / sample_rate
    hits = []
    for _ in range(VARIATIONS):
        sound = np.zeros(len(time))
        for ratio, level, tau in zip(ratios, levels, decays, strict=True):
            drift = pitch * ratio * rng.uniform(0.99, 1.01)
            amount = level * rng.uniform(0.7, 1.3)
            sound += amount * np.cos(2 * np.pi * drift * time + rng.uniform(-1, 1)) * np.exp(-time / tau)
        sound += click * _noise(time, low, high, rng) * np.exp(-time / rng.uniform(0.0006, 0.003))
        sound += 10 ** (shell / 20) * np.sin(2 * np.pi * hollow * time) * np.exp(-time / sinking)
        sound += 10 ** (wires / 20) * _noise(time, low, high, rng) * np.exp(-time / rattling)
        hits.append(finished(sound, len(sound) // 4))
    return hits


def jingles(sample_rate: int, rng: np.random.Generator) -> list[Audio]:
    """Return hits of a tambourine: high inharmonic partials and noise, sounding twice as the jingles fall back."""
    partials = 1000 * 2 ** rng.uniform(2, 3.7, int(rng.integers(6, 14)))  # 4 to 13 kHz
    decays = rng.uniform(0.02, 0.12, len(partials))
    low, high, ringing = (
        float(rng.uniform(2500, 5500)),
        float(rng.uniform(7000, 14000)),
        float(rng.uniform(0.015, 0.06)),
    )
    gap, noisy = float(rng.uniform(0.012, 0.04)), float(rng.uniform(0.3, 3))
    time = np.arange(round(0.4 * sample_rate)) / sample_rate
    hits = []
    for _ in range(VARIATIONS):
        sound = np.zeros(len(time))
        for late, level in ((0.0, 1.0), (gap * rng.uniform(0.8, 1.25), float(rng.uniform(0.2, 0.9)))):
            begin = round(late * sample_rate)
            since = time[: len(time) - begin]
            for pitch, tau in zip(partials * rng.uniform(0.98, 1.02), decays, strict=True):
                sound[begin:] += (
                    level
                    * rng.uniform(0.2, 1)
                    * np.sin(2 * np.pi * pitch * since + rng.uniform(0, 6))
                    * np.exp(-since / tau)
                )
            sound[begin:] += level * noisy * _noise(since, low, high, rng) * np.exp(-since / ringing)
        hits.append(finished(sound, len(sound) // 4))
    return hits


def shaker(sample_rate: int, rng: np.random.Generator) -> list[Audio]:
    """Return strokes of a shaker: noise that swells, breaks off as the beads land, and may come back once."""
    low, high = float(rng.uniform(2000, 5500)), float(rng.uniform(7000, 14000))
    swell, fall = float(rng.uniform(0.005, 0.05)), float(rng.uniform(0.01, 0.06))
    back = float(rng.choice([0.0, rng.uniform(0.1, 0.5)]))
    time = np.arange(round(0.3 * sample_rate)) / sample_rate
    hits = []
    for _ in range(VARIATIONS):
        rise = swell * rng.uniform(0.8, 1.2)
        shape = np.where(time < rise, (time / rise) ** 2, np.exp(-(time - rise) / fall))
        shape += back * np.exp(-np.abs(time - 2.5 * rise - 0.04) / (0.5 * fall))
        hits.append(finished(shape * _noise(time, low, high, rng), len(time) // 4))
    return hits


def _noise(time: Wave, low: float, high: float, rng: np.random.Generator) -> Wave:
    """Return noise between `low` and `high` hertz, standard deviation 1, one value for each moment of `time`."""
    sound = banded(rng.normal(0, 1, len(time)), 1 / (time[1] - time[0]), low, high, 1)
    return np.asarray(sound / sound.std())
