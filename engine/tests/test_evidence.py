"""Hits are doubted while nothing proves drums: held against the method written down plainly, and what it is for."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_model
from hypothesis import given
from hypothesis import strategies as st

from dance import _context
from dance.context import weighed
from dance.evidence import Evidence

SPEC = replace(tiny_model.SPEC, evidence=0.75)
STRUM, BEAT = 30, 50  # frames


def hits(activations, every, frames=3):
    """Return activations of one hit after another, each so many frames long, over nothing."""
    onsets = np.zeros((every * len(activations), 3), np.float32)
    for number, activation in enumerate(activations):
        onsets[number * every : number * every + frames, number % 3] = activation
    return onsets


def plainly(onsets, strength, neutral=-0.25, least=-1.35, most=6.0, fade=2000.0):
    """Return the same as `_context.Evidence`: hits are found first, then what each has said so far is added up."""
    odds = np.clip(np.log(np.maximum(onsets.max(axis=1), 1e-9) / (1 - onsets.max(axis=1))), -3, 3)
    loud = np.flatnonzero(odds >= least)
    runs = np.split(loud, np.flatnonzero(np.diff(loud) > 5) + 1) if loud.size else []
    said, evidence, now = 0.0, np.zeros(len(odds)), 0
    for run in runs:
        evidence[now : run[0]] = said * np.exp(-np.arange(1, run[0] - now + 1) / fade)
        at_start = said * np.exp(-(run[0] - now) / fade)
        end = min(run[-1] + 6, len(odds))
        for frame in range(run[0], end):
            strongest = odds[run[0] : min(frame, run[-1]) + 1].max()
            before = at_start * np.exp(-(frame - run[0] + 1) / fade)
            evidence[frame] = np.clip(before + strongest - neutral, -1, most)
        said, now = evidence[end - 1], end
    evidence[now:] = said * np.exp(-np.arange(1, len(odds) - now + 1) / fade)
    doubt = strength * np.maximum(0, 1 - evidence)
    return onsets / (onsets + (1 - onsets) * np.exp(doubt)[:, None])


@given(seed=st.integers(0, 2**32 - 1))
def test_it_does_what_its_documentation_says(seed):
    rng = np.random.default_rng(seed)
    onsets = np.zeros((3000, 3), np.float32)
    for start in rng.integers(0, 2990, 80):
        onsets[start : start + rng.integers(1, 9), rng.integers(3)] = rng.uniform(0.02, 0.9)
    np.testing.assert_allclose(weighed(SPEC, onsets), plainly(onsets, 0.75), atol=1e-4)


def test_without_strength_nothing_changes():
    onsets = hits([0.4, 0.9] * 5, BEAT)
    np.testing.assert_array_equal(weighed(tiny_model.SPEC, onsets), onsets)


def test_a_guitar_that_is_never_sure_strikes_no_drum_however_long_it_plays():
    strums = hits(np.random.default_rng(0).uniform(0.2, 0.55, 600), STRUM)
    found = weighed(SPEC, strums)
    assert np.mean(found.max(axis=1)[::STRUM] > 0.34) < 0.2 < 0.5 < np.mean(strums.max(axis=1)[::STRUM] > 0.34)


def test_clear_drums_prove_themselves_and_what_is_faint_beside_them():
    onsets = hits([0.85, 0.4, 0.85, 0.4] * 10, BEAT)
    found = weighed(SPEC, onsets)
    assert found[0].max() > 0.75  # the very first hit, at once
    np.testing.assert_array_equal(found[2 * BEAT + 3 :], onsets[2 * BEAT + 3 :])


def test_after_the_drums_have_gone_doubt_comes_back():
    drums, silence = hits([0.85] * 40, BEAT), np.zeros((6000, 3), np.float32)
    strum = hits([0.4], STRUM)
    at_once = weighed(SPEC, np.concatenate([drums, strum]))[-STRUM:]
    a_minute_later = weighed(SPEC, np.concatenate([drums, silence, strum]))[-STRUM:]
    assert at_once.max() == np.float32(0.4) and a_minute_later.max() < 0.35


@given(cuts=st.lists(st.integers(0, 900), max_size=6))
def test_blocks_and_reset_make_no_difference(cuts):
    onsets = hits(np.random.default_rng(1).uniform(0.2, 0.7, 30), STRUM)
    whole = weighed(SPEC, onsets)
    evidence = Evidence(SPEC)
    evidence.process(onsets[::-1].copy(), np.empty_like(onsets))
    evidence.reset()
    found = onsets.copy()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 900], strict=True):
        evidence.process(found[start:end], found[start:end])  # in place
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("lost", [1, 100, 10**12])
def test_lost_frames_fade_like_silent_ones(lost):
    drums, strum = hits([0.6] * 3, BEAT), hits([0.4], STRUM)
    evidence = Evidence(SPEC)
    evidence.process(drums, drums.copy())
    evidence.skip(lost)
    found = np.empty_like(strum)
    evidence.process(strum, found)
    silence = np.zeros((min(lost, 100_000), 3), np.float32)
    expected = weighed(SPEC, np.concatenate([drums, silence, strum]))[-STRUM:]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_does_not_fit_is_refused():
    evidence = Evidence(SPEC)
    good = np.zeros((4, 3), np.float32)
    for bad in (np.zeros((4, 3)), good[:, ::-1], good[0], None):
        with pytest.raises(TypeError):
            evidence.process(bad, good)
    with pytest.raises(ValueError, match="3 labels"):
        evidence.process(np.zeros((4, 2), np.float32), good)
    with pytest.raises(ValueError, match="negative"):
        evidence.skip(-1)
    for labels, most, fade in ((0, 2, 9), (3, 0.5, 9), (3, 2, 0)):
        with pytest.raises(ValueError, match="need a label"):
            _context.Evidence(labels, 1.0, -0.25, -1.35, most, fade)
