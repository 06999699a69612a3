"""A velocity says how loud a hit was among those of its drum before, by the network's word for the first."""

import math

import numpy as np
import pytest

from dance import Detector, ModelSpec
from dance.features import centres
from dance.loudness import RANGES, SLOPES, SPAN, Loudness
from dance.spec import FeatureSpec

LABELS = ("kick", "snare", "gong")
SPEC = ModelSpec(
    name="any",
    labels=LABELS,
    enabled=LABELS,
    features=FeatureSpec(),
    sample_rates=(44100,),
    thresholds=(0.5,) * 3,
    refractory_seconds=(0.05,) * 3,
    attack_offset_seconds=(0.02,) * 3,
)
ALL = np.ones(3, bool)
NETWORK = np.array([0.5, 0.5, 0.5], np.float32)


def frames(low_db, high_db):
    """Return frames with so much in the bands of a kick, and in those above them."""
    at = centres(SPEC.features)
    return np.tile(np.where(at <= RANGES["kick"][1], low_db, high_db), (SPAN, 1)).astype(np.float32)


def logit(p):
    return math.log(p / (1 - p))


def test_the_first_hit_is_as_hard_as_the_network_says():
    assert Loudness(SPEC).velocities(frames(-10, -90), NETWORK) == pytest.approx(NETWORK)


def test_louder_hits_are_harder_by_the_decibel_and_each_drum_by_its_own_bands():
    loudness = Loudness(SPEC)
    loudness.velocities(frames(-40, -40), NETWORK)
    loudness.learn(ALL)
    kick, snare, gong = loudness.velocities(frames(-34, -40), NETWORK)
    assert logit(kick) == pytest.approx(6 * SLOPES["kick"], abs=1e-3)
    assert snare == pytest.approx(0.5, abs=0.05)  # kick and snare share a band or two
    assert gong == 0.5  # nobody knows where a gong is loud
    softer = loudness.velocities(frames(-46, -40), NETWORK)[0]
    assert logit(softer) == pytest.approx(-6 * SLOPES["kick"], abs=1e-3)


def test_an_attack_in_an_earlier_frame_counts():
    loudness = Loudness(SPEC)
    loudness.velocities(frames(-40, -40), NETWORK)
    loudness.learn(ALL)
    late = frames(-60, -60)
    late[0] = frames(-34, -40)[0]
    assert logit(loudness.velocities(late, NETWORK)[0]) == pytest.approx(6 * SLOPES["kick"], abs=1e-3)


def test_what_is_usual_follows_the_music():
    loudness = Loudness(SPEC)
    for level in [-60] * 40 + [-30] * 200:
        heard = loudness.velocities(frames(level, level), NETWORK)
        loudness.learn(ALL)
    assert heard[:2] == pytest.approx([0.5, 0.5], abs=0.02)
    loudness.reset()
    assert loudness.velocities(frames(-90, -90), NETWORK) == pytest.approx(NETWORK)


def test_velocities_of_a_stream_do_not_depend_on_its_level_or_how_it_is_cut():
    rng = np.random.default_rng(0)
    samples = np.zeros(44100 * 8, np.float32)
    time = np.arange(6000) / 44100
    thump = (np.sin(2 * np.pi * 55 * time) + 0.5 * np.sin(2 * np.pi * 180 * time)) * np.exp(-time * 25)
    thump[:200] += rng.normal(0, 0.3, 200)
    gains = np.tile([0.5, 0.1, 0.3, 0.2], 4)
    for beat, gain in enumerate(gains):
        start = 10000 + beat * 20000
        samples[start : start + len(thump)] += gain * thump
    detector = Detector.load(sample_rate=44100)

    def kicks(signal, block):
        detector.reset()
        events = [e for i in range(0, len(signal), block) for e in detector.process(signal[i : i + block])]
        return [e for e in events if e.label == "kick"]

    whole, cut = kicks(samples, len(samples)), kicks(samples, 37)
    assert whole == cut
    assert len(whole) >= 14
    at = {round((e.time * 44100 - 10000) / 20000): e.velocity for e in whole[4:]}
    loud, soft = [v for k, v in at.items() if gains[k] == 0.5], [v for k, v in at.items() if gains[k] == 0.1]
    assert min(loud) > max(soft) + 0.1
