"""Drum machines made by rule: their sounds are what their names say, for any seed."""

import numpy as np
import pytest

from labelgen.drum_machine import make_machine
from labelgen.kits import LEVEL_DB

RATE = 44100


def share(sound, low, high):
    """Return the share of a sound's energy between two frequencies."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    return power[(hertz >= low) & (hertz < high)].sum() / power.sum()


@pytest.mark.parametrize("seed", range(12))
def test_sounds_are_what_their_names_say(seed):
    kit = {voice: sounds[0] for voice, sounds in make_machine(RATE, np.random.default_rng(seed)).items()}
    assert set(kit) <= set(LEVEL_DB)
    for voice, sound in kit.items():
        assert sound.dtype == np.float32 and np.isfinite(sound).all(), voice
        assert np.abs(sound).max() == pytest.approx(1)
        assert np.abs(sound[: RATE // 500]).max() > 0.03, f"{voice} begins late"
        assert abs(sound[-1]) < 1e-3, f"{voice} ends with a click"
    assert share(kit["kick"][RATE // 50 :], 0, 200) > 0.6
    assert share(kit["tom"], 60, 500) > 0.6
    assert share(kit["snare"], 100, RATE / 2) > 0.9
    assert all(share(kit[voice], 3000, RATE / 2) > 0.8 for voice in ("hat_closed", "hat_open", "crash", "ride"))
    assert len(kit["hat_closed"]) < len(kit["hat_open"])


def test_a_seed_makes_the_same_machine_and_another_another():
    first, again, other = (make_machine(RATE, np.random.default_rng(seed))["kick"][0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert len(first) != len(other) or not np.allclose(first, other)
