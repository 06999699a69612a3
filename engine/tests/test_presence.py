"""The presence that training aims at is the presence that the detector reports."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.presence import presence_target  # noqa: E402


def test_it_jumps_and_decays():
    velocity = torch.zeros(2, 60, 3)
    velocity[0, 10, 1] = 0.8
    velocity[0, 40, 1] = 0.5
    velocity[1, 0, 2] = 1.0
    presence = presence_target(velocity, 15.0)
    assert presence.shape == velocity.shape and presence.dtype == velocity.dtype
    assert presence[0, :10].abs().max() == 0 and presence[0, :, 0].abs().max() == 0
    assert presence[0, 10, 1] == pytest.approx(0.8)
    assert presence[0, 25, 1] == pytest.approx(0.8 / math.e)
    assert presence[0, 40, 1] == pytest.approx(0.5)
    assert presence[1, 30, 2] == pytest.approx(math.exp(-2))


def test_it_is_the_detectors_recursion():
    rng = np.random.default_rng(0)
    velocity = torch.from_numpy(np.where(rng.random((3000, 5)) < 0.1, rng.random((3000, 5)), 0).astype(np.float32))
    expected, now = [], np.zeros(5)
    for frame in velocity.numpy():
        now = np.maximum(now * math.exp(-1 / 12.5), frame)
        expected.append(now)
    np.testing.assert_allclose(presence_target(velocity, 12.5).numpy(), np.stack(expected), atol=1e-6)


def test_a_decay_that_is_none_is_refused():
    with pytest.raises(ValueError, match="decay_frames"):
        presence_target(torch.zeros(3, 1), 0.0)
