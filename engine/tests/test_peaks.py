"""PeakPicker against a plain Python reference, and what sensitivity does."""

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
from dance.peaks import PeakPicker, thresholds


class Reference:
    """One label, from the definition."""

    def __init__(self, threshold, refractory, maximum):
        self.threshold, self.refractory, self.maximum = np.float32(threshold), refractory, maximum
        self.frame, self.last, self.before = 0, None, []

    def step(self, activation):
        rested = self.last is None or self.frame - self.last >= self.refractory
        recent = self.before[-self.maximum :] if self.maximum else []
        hit = activation >= self.threshold and all(activation > value for value in recent) and rested
        if hit:
            self.last = self.frame
        self.before.append(activation)
        self.frame += 1
        return hit

    def skip(self, frames):
        self.frame += frames
        self.before = []


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
    assert thresholds(spec) == pytest.approx([0.2, 0.5, 0.8])
    assert thresholds(spec, {"snare": 1.0}) == pytest.approx([0.2, 1 / (1 + np.exp(3)), 0.8])
    for low, middle, high in zip(*(thresholds(spec, s) for s in (0.0, 0.5, 1.0)), strict=True):
        assert 0 < high < middle < low < 1
        assert np.log(low / (1 - low)) - np.log(high / (1 - high)) == pytest.approx(6)


@pytest.mark.parametrize("sensitivity", [-0.1, 1.1, float("nan"), {"cowbell": 0.5}, {"kick": 2.0}])
def test_wrong_sensitivity(sensitivity):
    with pytest.raises(SpecError):
        PeakPicker(SPEC, sensitivity)


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


def test_wrong_settings():
    for settings in (([], [], 3), ([0.5], [1, 2], 3), ([0.5], [1], -1)):
        with pytest.raises(ValueError, match="need"):
            _dsp.PeakPicker(*settings)
    with pytest.raises(ValueError, match="negative"):
        PeakPicker(SPEC).skip(-1)


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
