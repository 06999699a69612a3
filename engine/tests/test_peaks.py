"""PeakPicker against a plain Python reference, and what the settings do."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tiny_model import SPEC

from dance import _dsp
from dance.errors import SpecError
from dance.peaks import PeakPicker, refractories, thresholds
from dance.settings import LabelSettings, Settings


class Reference:
    """One label, from the definition."""

    def __init__(self, threshold, refractory, maximum):
        self.threshold, self.refractory, self.maximum = np.float32(threshold), refractory, maximum
        self.frame, self.last, self.before, self.heard = 0, None, [], 9

    def step(self, activation):
        self.heard += 1
        rested = self.last is None or self.frame - self.last >= self.refractory
        rested &= self.heard >= min(self.refractory, 8)  # frames after a hit in which its peak may still rise
        recent = self.before[-self.maximum :] if self.maximum else []
        hit = activation >= self.threshold and all(activation > value for value in recent) and rested
        if hit:
            self.last, self.heard = self.frame, 0
        self.before.append(activation)
        self.frame += 1
        return hit

    def skip(self, frames):
        self.frame += frames


# A coarse grid makes ties, which are where such code goes wrong.
activation = st.integers(0, 8).map(lambda value: value / 8)


@st.composite
def cases(draw):
    labels = draw(st.integers(1, 3))
    settings = [(draw(activation), draw(st.integers(0, 6))) for _ in range(labels)]
    maximum = draw(st.integers(0, 5))
    block = arrays.arrays(np.float32, st.tuples(st.integers(0, 12), st.just(labels)), elements=activation)
    steps = draw(st.lists(st.one_of(block, st.integers(0, 8)), max_size=8))
    return settings, maximum, steps


@given(cases())
def test_equals_reference(case):
    settings, maximum, steps = case
    picker = _dsp.PeakPicker(*zip(*settings, strict=True), maximum)
    references = [Reference(*setting, maximum) for setting in settings]
    for step in steps:
        if isinstance(step, int):
            picker.skip(step)
            for reference in references:
                reference.skip(step)
            continue
        expected = [[reference.step(a) for reference, a in zip(references, row, strict=True)] for row in step]
        hits = np.full(step.shape, 7, np.uint8)
        assert picker.process(step, hits) == np.sum(expected, dtype=int)
        assert hits.tolist() == np.array(expected, np.uint8).reshape(step.shape).tolist()


@given(arrays.arrays(np.float32, (60, 2), elements=activation), st.integers(1, 60))
def test_blocks_and_reset_make_no_difference(activations, block):
    new, used = (_dsp.PeakPicker([0.3, 0.6], [3, 0], 4) for _ in range(2))
    whole, parts = np.zeros((2, 60, 2), np.uint8)
    used.process(activations[::-1].copy(), parts)
    used.skip(5)
    used.reset()
    new.process(activations, whole)
    for start in range(0, 60, block):
        used.process(activations[start : start + block], parts[start : start + block])
    assert np.array_equal(whole, parts)


def test_seconds_become_frames():
    spec = replace(SPEC, refractory_seconds=(0.05, 0.0, 0.024), maximum_seconds=0.03)
    picker, hits = PeakPicker(spec), np.zeros((12, 3), np.uint8)
    rising = np.linspace(0.6, 0.9, 12, dtype=np.float32)
    picker.process(np.repeat(rising[:, None], 3, axis=1), hits)
    assert [np.flatnonzero(column).tolist() for column in hits.T] == [
        [0, 5, 10],
        list(range(12)),
        list(range(0, 12, 2)),
    ]
    # After a high value, a lower one has to wait until that is no longer among the last three.
    picker.reset()
    falling = np.repeat(np.linspace(0.9, 0.6, 12, dtype=np.float32)[:, None], 3, axis=1)
    assert picker.process(falling, hits) == 3
    falling[1:4], falling[4:] = 0.1, 0.6
    picker.reset()
    picker.process(falling, hits)
    assert np.flatnonzero(hits[:, 1]).tolist() == [0, 4]


def test_sensitivity_moves_thresholds():
    spec = replace(SPEC, thresholds=(0.2, 0.5, 0.8))
    assert thresholds(spec, Settings()) == pytest.approx([0.2, 0.5, 0.8])
    more = Settings({"snare": LabelSettings(sensitivity=1.0)})
    assert thresholds(spec, more) == pytest.approx([0.2, 1 / (1 + np.exp(3)), 0.8])
    every = (thresholds(spec, Settings().with_sensitivity(s, spec.labels)) for s in (0.0, 0.5, 1.0))
    for low, middle, high in zip(*every, strict=True):
        assert 0 < high < middle < low < 1
        assert np.log(low / (1 - low)) - np.log(high / (1 - high)) == pytest.approx(6)


def test_a_threshold_and_a_refractory_time_replace_the_models():
    settings = Settings({"snare": LabelSettings(sensitivity=0.9, threshold=0.25, refractory=0.2)})
    assert thresholds(SPEC, settings) == [0.5, 0.25, 0.5]
    assert refractories(SPEC, settings) == [0.05, 0.2, 0.05]


def test_an_unknown_label_changes_nothing():
    picker, hits = PeakPicker(SPEC), np.zeros((1, 3), np.uint8)
    for function in (picker.configure, lambda wrong: thresholds(SPEC, wrong), lambda wrong: refractories(SPEC, wrong)):
        with pytest.raises(SpecError, match="kick, snare, hihat"):
            function(Settings({"kick": LabelSettings(mute=True), "cowbell": LabelSettings()}))
    assert picker.process(np.ones((1, 3), np.float32), hits) == 3


def test_mute():
    picker, hits = PeakPicker(SPEC, Settings({"snare": LabelSettings(mute=True)})), np.zeros((1, 3), np.uint8)
    assert picker.process(np.ones((1, 3), np.float32), hits) == 2
    assert hits.tolist() == [[1, 0, 1]]


def test_a_hit_below_the_gate_begins_no_refractory_time():
    """A flam: the stroke proper follows its grace note at once."""
    activations = np.array([[0.6], [0.7], [0.1], [0.1], [0.1], [0.9]], np.float32)
    velocities = np.array([[0.1], [0.8], [0.1], [0.1], [0.1], [0.8]], np.float32)
    hits = np.zeros((6, 1), np.uint8)
    picker = _dsp.PeakPicker([0.5], [5], 3)
    picker.process(activations, hits, velocities)
    assert np.flatnonzero(hits).tolist() == [0, 5]
    picker.reset()
    picker.set([0.5], [4], [0.5])
    picker.process(activations, hits, velocities)
    assert np.flatnonzero(hits).tolist() == [1, 5]
    picker.reset()
    picker.process(activations, hits)  # nothing is known of velocities
    assert np.flatnonzero(hits).tolist() == [0, 5]


def test_settings_change_between_frames_and_what_was_heard_stays_known():
    picker, hits = _dsp.PeakPicker([0.5], [3], 2), np.zeros((1, 1), np.uint8)

    def hit(activation):
        return picker.process(np.array([[activation]], np.float32), hits)

    assert hit(0.6)
    picker.set([0.2], [3], [0])
    assert not hit(0.4)  # lower than before
    assert not hit(0.7)  # too soon
    picker.set([0.2], [2], [0])
    assert not hit(0.7)  # no rise
    assert hit(0.8)


F, U = np.float32, np.uint8


@pytest.mark.parametrize(
    ("activations", "hits", "error"),
    [
        (np.zeros((4, 3)), np.zeros((4, 3), U), TypeError),
        (np.zeros((4, 3), F), np.zeros((4, 3), np.int8), TypeError),
        (np.zeros((3, 4), F).T, np.zeros((4, 3), U), TypeError),
        (np.zeros(3, F), np.zeros((4, 3), U), TypeError),
        (None, np.zeros((4, 3), U), TypeError),
        (np.zeros((4, 3), F), None, TypeError),
        (np.zeros((4, 3), F), np.zeros((3, 3), U), ValueError),
        (np.zeros((4, 2), F), np.zeros((4, 2), U), ValueError),
    ],
)
def test_wrong_arrays(activations, hits, error):
    with pytest.raises(error):
        PeakPicker(SPEC).process(activations, hits)


@pytest.mark.parametrize(
    ("velocities", "error"),
    [(np.zeros((4, 3)), TypeError), (np.zeros((3, 3), F), ValueError), (np.zeros((4, 2), F), ValueError)],
)
def test_wrong_velocities(velocities, error):
    with pytest.raises(error):
        PeakPicker(SPEC).process(np.zeros((4, 3), F), np.zeros((4, 3), U), velocities)


def test_wrong_settings():
    for settings in (([], [], 3), ([0.5], [1, 2], 3), ([0.5], [1], -1)):
        with pytest.raises(ValueError, match="need"):
            _dsp.PeakPicker(*settings)
    with pytest.raises(ValueError, match="negative"):
        PeakPicker(SPEC).skip(-1)
    for settings in (([0.5], [1], [0]), ([0.5] * 3, [1] * 3, [0] * 2)):
        with pytest.raises(ValueError, match="each of 3"):
            PeakPicker(SPEC).set(*settings)


def test_steady_state_allocates_nothing():
    picker, hits = PeakPicker(SPEC), np.zeros((100, 3), np.uint8)
    activations = np.random.default_rng(0).random((100, 3), np.float32)
    picker.process(activations, hits)
    tracemalloc.start()
    try:
        for _ in range(200):
            picker.process(activations, hits)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The views of the arguments come and go.
    assert kept < 300
    assert peak < 3000
