"""Hits that sound alike: held against the method written down plainly, and against what a song would make of it."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_model
from hypothesis import given
from hypothesis import strategies as st

from dance import _context
from dance.context import weighed
from dance.votes import Votes

SPEC = replace(tiny_model.SPEC, votes=0.6)
SIZE = 8
KICK, SNARE, HIHAT = range(3)
EVERY = 20  # frames
SOUNDS = np.random.default_rng(5).normal(0, 1, (3, SIZE)).astype(np.float32)


def song(activations, sounds):
    """Return activations and timbres of one hit every `EVERY` frames, so clear [hits, 3] and of that sound [hits]."""
    rng = np.random.default_rng(0)
    onsets = rng.uniform(0, 0.01, (EVERY * (len(sounds) + 1), 3)).astype(np.float32)
    timbres = rng.normal(0, 0.05, (len(onsets), SIZE)).astype(np.float32)
    at = EVERY * np.arange(1, len(sounds) + 1)
    onsets[at] = activations
    timbres[at] += SOUNDS[sounds]
    return onsets, timbres, at


def plainly(onsets, timbres, strength, sharpness=8.0, hits=256, first=100, memory=2000):
    """Return the same as `_context.Votes`, frame by frame as its documentation says."""
    within = np.clip(onsets, 1e-9, 1 - 1e-9)
    own = np.clip(np.log(within / (1 - within)), -3, 3)
    highest = np.concatenate([[0], onsets.max(1)])
    known, out, units = [], onsets.copy(), np.zeros_like(timbres)
    block = memory // 20
    for now in range(len(onsets)):
        heard = timbres[max(0, now // block - 19) * block : now + 1]
        timbre = timbres[now] - heard.sum(0) / (len(heard) + first)
        units[now] = timbre / np.linalg.norm(timbre)
        asked = [hit for hit in known[-hits:] if now - hit <= memory]
        if highest[now + 1] >= 0.018 and asked:
            weights = np.exp(sharpness * (units[asked] @ units[now] - 1))
            moved = strength * weights.sum() / (weights.sum() + 1) * (weights @ own[asked] / weights.sum() - own[now])
            heard = onsets[now] >= 0.018
            odds = onsets[now] / (1 - onsets[now]) * np.exp(moved)
            out[now, heard] = (odds / (1 + odds))[heard]
        before, last = highest[max(now - 1, 0)], highest[now]
        if now and last >= 0.018 and last > before and last >= highest[now + 1]:
            known.append(now - 1)
    return out


def test_it_does_what_its_documentation_says():
    rng = np.random.default_rng(2)
    onsets = rng.beta(0.2, 2, (6000, 3)).astype(np.float32)
    timbres = rng.normal(0.5, 1, (6000, SIZE)).astype(np.float32)
    found = weighed(SPEC, onsets, timbres)
    np.testing.assert_allclose(found, plainly(onsets, timbres, 0.6), atol=1e-4)
    assert np.abs(found - onsets).max() > 0.1


def test_without_strength_or_timbres_nothing_changes():
    onsets, timbres, _ = song(np.full((5, 3), 0.5), [0] * 5)
    np.testing.assert_array_equal(weighed(tiny_model.SPEC, onsets, timbres), onsets)
    np.testing.assert_array_equal(weighed(SPEC, onsets), onsets)


def test_what_sounds_alike_is_taken_for_the_same():
    clear = [0.02, 0.9, 0.02]
    faint = [0.02, 0.3, 0.02]
    onsets, timbres, at = song([clear] * 20 + [faint, faint], [0] * 21 + [1])
    found = weighed(SPEC, onsets, timbres)
    assert found[at[20], SNARE] > 0.6  # as the twenty before it
    assert abs(found[at[21], SNARE] - 0.3) < 0.1  # no hit sounded like this one
    np.testing.assert_array_equal(found[onsets.max(1) < 0.018], onsets[onsets.max(1) < 0.018])


def test_a_lone_snare_among_many_guitars_is_doubted():
    strum, mistaken = [0.02, 0.1, 0.02], [0.02, 0.6, 0.02]
    onsets, timbres, at = song([strum] * 20 + [mistaken], [2] * 21)
    assert weighed(SPEC, onsets, timbres)[at[-1], SNARE] < 0.3
    assert weighed(SPEC, onsets[at[-1] :], timbres[at[-1] :])[0, SNARE] == onsets[at[-1], SNARE]  # nobody to ask


def test_the_oldest_hits_are_forgotten():
    votes = _context.Votes(3, SIZE, 0.6, 8.0, 10, 100.0, 2000)
    onsets, timbres, at = song([[0.02, 0.9, 0.02]] * 12 + [[0.02, 0.1, 0.02]] * 30, [0] * 42)
    votes.process(onsets, timbres, onsets)
    assert onsets[at[12], SNARE] > 0.3
    assert onsets[at[30], SNARE] < 0.15
    np.testing.assert_allclose(onsets[at[24]:], plainly(*song([[0.02, 0.9, 0.02]] * 12 + [[0.02, 0.1, 0.02]] * 30,
                               [0] * 42)[:2], 0.6, hits=10)[at[24]:], atol=1e-4)  # fmt: skip


@given(cuts=st.lists(st.integers(0, 840), max_size=6))
def test_blocks_and_reset_make_no_difference(cuts):
    rng = np.random.default_rng(3)
    onsets, timbres, _ = song(rng.uniform(0.02, 0.95, (41, 3)), rng.integers(0, 3, 41))
    whole = weighed(SPEC, onsets, timbres)
    votes = Votes(SPEC, SIZE)
    votes.process(onsets[::-1].copy(), timbres, np.empty_like(onsets))
    votes.reset()
    found = onsets.copy()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(onsets)], strict=True):
        votes.process(found[start:end], timbres[start:end], found[start:end])  # in place
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize(("lost", "known"), [(1000, True), (2000, False)])
def test_after_a_gap_the_hits_before_it_vote_as_long_as_any(lost, known):
    onsets, timbres, at = song([[0.02, 0.9, 0.02]] * 20 + [[0.02, 0.3, 0.02]], [0] * 21)
    votes = Votes(SPEC, SIZE)
    votes.process(onsets[: at[-2] + 3], timbres[: at[-2] + 3], onsets[: at[-2] + 3])
    votes.skip(lost)
    rest, out = onsets[at[-1] - 3 :], np.empty_like(onsets[at[-1] - 3 :])
    votes.process(rest, timbres[at[-1] - 3 :], out)
    assert (out[3, SNARE] > 0.6) == known
    assert (out[3, SNARE] == rest[3, SNARE]) != known


def test_silence_and_the_certain_end_well():
    onsets = np.zeros((500, 3), np.float32)
    onsets[::EVERY, KICK], onsets[::EVERY, HIHAT] = 1.0, 0.5
    found = weighed(SPEC, onsets, np.zeros((500, SIZE), np.float32))
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
    assert (found[::EVERY, KICK] > 0.99).all()


def test_what_does_not_fit_is_refused():
    votes = Votes(SPEC, SIZE)
    good, sounds = np.zeros((4, 3), np.float32), np.zeros((4, SIZE), np.float32)
    for bad in (np.zeros((4, 3)), good[:, ::-1], good[0], None):
        with pytest.raises(TypeError):
            votes.process(bad, sounds, good)
        with pytest.raises(TypeError):
            votes.process(good, sounds, bad)
        with pytest.raises(TypeError):
            votes.process(good, bad if bad is None else np.zeros((4, SIZE)), good)
    for activations, out in ((good, good[:3]), (np.zeros((4, 2), np.float32), good)):
        with pytest.raises(ValueError, match="3 labels"):
            votes.process(activations, sounds, out)
    for timbres in (sounds[:3], sounds[:, 1:].copy()):
        with pytest.raises(ValueError, match="8 dimensions"):
            votes.process(good, timbres, good)
    with pytest.raises(ValueError, match="negative"):
        votes.skip(-1)
    for labels, size, strength, hits, first, memory in (
        (0, 8, 0.6, 9, 0, 99), (3, -1, 0.6, 9, 0, 99), (3, 8, 1.1, 9, 0, 99), (3, 8, 0.6, 0, 0, 99),
        (3, 8, 0.6, 9, -1, 99), (3, 8, 0.6, 9, 0, 19),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="need a label"):
            _context.Votes(labels, size, strength, 8.0, hits, first, memory)
