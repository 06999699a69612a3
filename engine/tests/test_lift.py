"""The frontend lifts lows that a channel has taken away, and nothing else."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.frontend import SCALE_DB, Frontend  # noqa: E402

BANDS = 40
USUAL = tuple(float(level) for level in np.linspace(15, -15, BANDS))
LOWEST = slice(0, 3)


def music(seconds, lows_db=0.0, level_db=-40.0):
    """Return frames [1, time, bands] with the usual spectrum, and a hit every half second in between quieter ones."""
    frames = torch.tensor(USUAL).repeat(1, round(100 * seconds), 1) + level_db
    frames = frames + torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    frames[:, ::50] += 15
    frames[:, :, LOWEST] += lows_db
    return frames


def heard(frames, usual=USUAL):
    """Return the levels [time, bands] in dB that a frontend hands on, less those it was given."""
    frontend = Frontend(BANDS, 200.0, None, usual)
    inputs, _ = frontend(frames, frontend.init_state(1))
    return (inputs[0, :, :BANDS] * SCALE_DB - (frames[0] + 100)).numpy()


def test_music_as_usual_stays_as_it_is():
    assert np.abs(heard(music(20))).max() < 0.1
    assert np.abs(heard(music(20, lows_db=12))).max() < 0.1  # more lows than usual are no harm


def test_lows_that_are_missing_come_back_in_seconds():
    lift = heard(music(20, lows_db=-12))
    assert lift[0, LOWEST].max() < 1  # nothing is known yet
    assert 8 < lift[300, LOWEST].mean() < 12
    assert 14 < lift[-1, LOWEST].mean() < 20  # twice what is missing beyond 3 dB
    assert np.abs(lift[:, BANDS // 5 :]).max() < 0.1
    assert heard(music(20, lows_db=-60))[-1].max() <= 20.001


def test_silence_and_noise_of_the_device_teach_nothing():
    silence = torch.full((1, 6000, BANDS), -90.0) + 10 * torch.rand(1, 6000, BANDS)[:, :, :1]
    silence[:, :, LOWEST] = -100
    assert np.abs(heard(torch.cat([silence, music(5)], dim=1))).max() < 0.5


def test_a_spectrum_of_other_bands_is_refused():
    with pytest.raises(ValueError, match="40"):
        Frontend(BANDS, 200.0, None, USUAL[1:])
