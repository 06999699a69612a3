"""What repeats weighs on activations: held against the method written down plainly, and against what music does."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_model
from hypothesis import given
from hypothesis import strategies as st

from dance import _context
from dance.context import weighed
from dance.expectation import Expectation

SPEC = replace(tiny_model.SPEC, expectation=2.0)
KICK, SNARE, HIHAT = range(3)
BEAT = 50  # frames


def rhythm(seconds):
    """Return activations of a kick on every beat and a snare on every second one, over a low noise."""
    frames = np.random.default_rng(0).uniform(0, 0.05, (round(100 * seconds), 3)).astype(np.float32)
    frames[10::BEAT, KICK] = 0.9
    frames[10 + BEAT :: 2 * BEAT, SNARE] = 0.9
    return frames


def plainly(onsets, strength, shortest=20, longest=800, similar=300, mean=500, sharpness=20.0):
    """Return the same as `_context.Expectation`, lag by lag as its documentation says."""
    count, labels = onsets.shape
    padded = np.vstack([np.zeros((longest + 4, labels)), onsets.astype(float)])
    at = len(padded) - count
    means, power = np.zeros(labels), 0.0
    keys, values, scales = np.zeros_like(padded), np.zeros_like(padded), np.zeros(len(padded))
    correlation = np.zeros(longest + 1)
    lags = np.arange(shortest, longest + 1)
    out = np.empty_like(onsets)
    for now in range(at, len(padded)):
        window, middle = padded[now - 4 : now + 1], now - 2
        smooth = np.array([1, 2, 3, 2, 1]) @ window / 9
        means += (smooth - means) / mean
        keys[middle], values[middle] = smooth - means, window.max(axis=0)
        power += (keys[middle] @ keys[middle] - power) / similar
        scales[middle] = 1 / np.sqrt(power + 1e-6)
        correlation[lags] += (keys[middle - lags] @ keys[middle] - correlation[lags]) / similar
        similarity = correlation[lags] * scales[middle] * scales[middle - lags]
        best = max(0.0, similarity.max())
        near = similarity >= best - 8 / sharpness
        weights = np.exp(sharpness * (similarity[near] - best))
        expected = weights @ values[now - lags[near]] / weights.sum()
        expected = expected if best >= 0.05 else 0
        odds = onsets[now - at] / (1 - onsets[now - at]) * np.exp(strength * (expected - max(best, 0.4)))
        out[now - at] = odds / (1 + odds)
    return out


def test_it_does_what_its_documentation_says():
    onsets = rhythm(30.0)
    onsets[1500:] = onsets[1500:, ::-1]  # another song
    np.testing.assert_allclose(weighed(SPEC, onsets), plainly(onsets, 2.0), atol=2e-4)


def test_without_strength_nothing_changes():
    onsets = rhythm(5.0)
    np.testing.assert_array_equal(weighed(tiny_model.SPEC, onsets), onsets)


@pytest.mark.parametrize("hop", [0.002, 0.042])
def test_any_hop_will_do(hop):
    spec = replace(SPEC, features=replace(SPEC.features, hop_seconds=hop))
    found = weighed(spec, rhythm(5.0))
    assert np.isfinite(found).all() and 0 <= found.min() < 0.1 and 0.5 < found.max() <= 1


def test_what_breaks_the_pattern_needs_more_proof():
    onsets = rhythm(20.0)
    place = 10 + 32 * BEAT + BEAT // 2  # between two beats
    onsets[place] = 0.6
    found = weighed(SPEC, onsets)
    assert found[place].max() < 0.3
    beats = slice(10 + 30 * BEAT, None, BEAT)
    assert found[beats, KICK].min() > 0.85  # what is expected stays
    assert found[10 + 31 * BEAT :: 2 * BEAT, SNARE].min() > 0.85
    assert (found <= onsets + 0.05).all()  # nothing is made up


def test_where_nothing_repeats_all_hits_are_doubted_alike():
    rng = np.random.default_rng(1)
    onsets = np.zeros((2000, 3), np.float32)
    onsets[np.sort(rng.choice(2000, 60, replace=False)), rng.integers(0, 3, 60)] = 0.6
    hits = onsets > 0
    found = weighed(SPEC, onsets)
    doubted = 0.6 / (0.6 + 0.4 * np.exp(0.8))
    assert np.median(found[hits]) > doubted - 0.1
    first = hits[:60]  # of a stream, before anything can repeat
    assert first.any()
    np.testing.assert_allclose(found[:60][first], doubted, atol=0.02)


@given(cuts=st.lists(st.integers(0, 900), max_size=6))
def test_blocks_and_reset_make_no_difference(cuts):
    onsets = rhythm(9.0)
    whole = weighed(SPEC, onsets)
    expectation = Expectation(SPEC)
    expectation.process(onsets[::-1].copy(), np.empty_like(onsets))
    expectation.reset()
    found = onsets.copy()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 900], strict=True):
        expectation.process(found[start:end], found[start:end])  # in place
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("lost", [BEAT, 37, 240])
def test_after_a_gap_the_pattern_is_still_in_time(lost):
    onsets = rhythm(24.0)
    before, after = onsets[:1600], onsets[1600 + lost :]
    expectation = Expectation(SPEC)
    expectation.process(before, before.copy())
    expectation.skip(lost)
    found = np.empty_like(after)
    expectation.process(after, found)
    kicks = np.flatnonzero(after[:, KICK] > 0.5)
    assert found[kicks, KICK].min() > 0.6
    assert found[kicks[1:], KICK].min() > 0.8


def test_a_long_silence_ends_well():
    silence = np.zeros((60_000, 3), np.float32)
    found = weighed(SPEC, np.concatenate([rhythm(10.0), silence, rhythm(10.0)]))
    assert np.isfinite(found).all()
    assert not found[2000:61_000].any()
    np.testing.assert_allclose(found[-1000:-945], weighed(SPEC, rhythm(10.0))[:55], atol=0.02)


def test_what_does_not_fit_is_refused():
    expectation = Expectation(SPEC)
    good = np.zeros((4, 3), np.float32)
    for bad in (np.zeros((4, 3)), good[:, ::-1], good[0], None):
        with pytest.raises(TypeError):
            expectation.process(bad, good)
        with pytest.raises(TypeError):
            expectation.process(good, bad)
    for activations, out in ((good, good[:3]), (np.zeros((4, 2), np.float32), good)):
        with pytest.raises(ValueError, match="3 labels"):
            expectation.process(activations, out)
    with pytest.raises(ValueError, match="negative"):
        expectation.skip(-1)
    for shortest, longest, similar, mean in ((5, 9, 3, 3), (9, 8, 3, 3), (9, 9, 1, 3), (9, 9, 3, 1)):
        with pytest.raises(ValueError, match="lags"):
            _context.Expectation(3, 1.0, shortest, longest, similar, mean, 20.0)
    with pytest.raises(ValueError, match="a label"):
        _context.Expectation(0, 1.0, 9, 9, 3, 3, 20.0)
