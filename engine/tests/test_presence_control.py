"""Presence as a control of pictures: still while notes are held, falling from hit to hit, zero in silence."""

import numpy as np
import pytest
import stage
from scipy.signal import butter, sosfilt

from dance import Detector

RATE = 44100
PICTURE = RATE // 60


def looked_at(detector, samples):
    """Return the presence at each picture of a draw loop [pictures, labels], and the hits before each."""
    seen, hits = [], []
    for start in range(0, len(samples) - PICTURE + 1, PICTURE):
        hits.append(detector.process(samples[start : start + PICTURE]))
        seen.append(detector.presence())
    return np.stack(seen), hits


def held(kind, seconds=12.0):
    """Return music that goes on without a new attack, faded in over two seconds."""
    rng = np.random.default_rng(0)
    time = np.arange(int(seconds * RATE)) / RATE
    noise = rng.normal(0, 1, len(time))
    if kind == "organ":
        pitches = 110 * 2 ** (np.array([0, 7, 12, 16, 19]) / 12)
        samples = sum(np.sin(2 * np.pi * n * f * time) / n for f in pitches for n in (1, 2, 3, 4, 6))
    elif kind == "strings":  # many players, each with a vibrato of their own
        samples = sum(
            np.sin(2 * np.pi * n * f * d * time + 0.02 * n * np.sin(2 * np.pi * rng.uniform(4, 6) * time + n)) / n
            for f in (196.0, 247.0, 294.0, 392.0)
            for d in rng.uniform(0.997, 1.003, 3)
            for n in range(1, 9)
        )
    elif kind == "drone":
        samples = np.sin(2 * np.pi * 55 * time) * (1 + 0.3 * np.sin(2 * np.pi * 0.7 * time))
    else:  # wind
        samples = sosfilt(butter(2, (300, 3000), "bandpass", fs=RATE, output="sos"), noise)
        samples = samples * (1 + 0.3 * np.sin(2 * np.pi * 0.3 * time))
    samples = samples * np.minimum(1, time / 2) ** 2
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32)


@pytest.mark.parametrize("kind", ["organ", "strings", "drone", "wind"])
def test_it_is_still_while_music_is_held(model_path, kind):
    detector = Detector.load(model_path, sample_rate=RATE)
    seen, _ = looked_at(detector, held(kind))
    assert not seen.any()


def test_held_music_does_not_strike_again_what_was_struck(model_path):
    detector = Detector.load(model_path, sample_rate=RATE)
    music = 0.1 * held("organ", 14.0)  # soft enough for drums made by rule to be heard
    struck = stage.drums(2.0)
    music[3 * RATE : 3 * RATE + len(struck)] += struck
    seen, hits = looked_at(detector, music)
    assert seen[: 3 * 60].max() == 0
    last = max(number for number, new in enumerate(hits) if new)
    assert 3 * 60 <= last <= 5.1 * 60  # drums were heard, and none after the last of them
    assert seen[last + 1 :].max(axis=1).min() > 0 and (np.diff(seen[last:], axis=0)[:, seen[last] > 0] < 0).all()


def test_it_falls_from_hit_to_hit(model_path):
    detector = Detector.load(model_path, sample_rate=RATE)
    seen, hits = looked_at(detector, stage.drums(6.0))
    assert sum(map(len, hits)) > 10
    ratio = np.exp(-PICTURE / RATE / detector.spec.presence_seconds)
    for before, after, new in zip(seen, seen[1:], hits[1:], strict=False):
        for place, label in enumerate(detector.labels):
            velocities = [hit.velocity for hit in new if hit.label == label]
            if velocities:
                assert after[place] <= max(*velocities, before[place])
            else:
                assert after[place] == pytest.approx(before[place] * ratio, rel=1e-4)


def test_it_is_zero_in_silence(model_path):
    detector = Detector.load(model_path, sample_rate=RATE)
    song = stage.drums(3.0)
    looked_at(detector, song)
    assert detector.presence().max() > 0
    seen, hits = looked_at(detector, np.zeros(20 * RATE, np.float32))
    assert (np.diff(seen, axis=0)[60:] <= 0).all()  # the last hit may still be reported in the first second
    assert not any(map(len, hits[60:])) and seen[2 * 60].max() < 1e-4
    assert not seen[-1].any()
