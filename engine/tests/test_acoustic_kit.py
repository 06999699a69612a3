"""Acoustic kits made by rule: their drums sound where and as long as such drums do, for any seed."""

import numpy as np
import pytest
import studio

from labelgen.acoustic_kit import TOMS, make_acoustic
from labelgen.kits import LEVEL_DB, KitLibrary, voice_of
from labelgen.material import read_manifest

RATE = 44100


def centre(sound):
    """Return the frequency below and above which half of a sound's energy lies."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float(np.fft.rfftfreq(len(sound), 1 / RATE)[np.searchsorted(np.cumsum(power), power.sum() / 2)])


def lasting(sound):
    """Return the seconds within which nine tenths of a sound's energy lie."""
    energy = np.cumsum(sound.astype(np.float64) ** 2)
    return int(np.searchsorted(energy, 0.9 * energy[-1])) / RATE


@pytest.mark.parametrize("seed", range(8))
def test_sounds_are_what_their_names_say(seed):
    kit = make_acoustic(RATE, np.random.default_rng(seed))
    for key, hits in kit.items():
        voice, _, note = key.partition("/")
        assert voice in LEVEL_DB and (not note or voice_of(int(note)) == voice), key
        for sound in hits:
            assert sound.dtype == np.float32 and np.isfinite(sound).all(), key
            assert np.abs(sound).max() == pytest.approx(1)
            assert np.abs(sound[: RATE // 200]).max() > 0.03, f"{key} begins late"
            assert abs(sound[-1]) < 1e-3, f"{key} ends with a click"
        assert not np.array_equal(hits[0][:999], hits[1][:999]), f"{key}: two hits are never alike"
    first = {key: hits[0] for key, hits in kit.items()}
    assert centre(first["kick"][RATE // 50 :]) < 200
    tuned = [centre(first[f"tom/{note}"][RATE // 20 :]) for note in TOMS]
    assert tuned[0] < tuned[-1] and tuned[0] < 300
    assert 130 < centre(first["snare"]) < 12000
    assert all(centre(first[voice]) > 1000 for voice in ("hat_closed", "hat_pedal", "hat_open"))
    assert lasting(first["hat_closed"]) < lasting(first["hat_open"])
    assert lasting(first["hat_closed"]) < lasting(first["crash"])


def test_a_seed_makes_the_same_kit_and_another_another():
    first, again, other = (make_acoustic(RATE, np.random.default_rng(seed))["snare"][0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_drawn_kit_has_toms_of_their_own_pitch(tmp_path):
    library = KitLibrary(read_manifest(studio.one_shots(tmp_path / "shots")), RATE)
    kit = library.draw(np.random.default_rng(3), made_by=make_acoustic)
    made = [key for key, source in kit.sources.items() if source == "made by rule"]
    assert {"tom/41", "tom/50"} <= set(made)
    assert centre(kit.sounds["tom/41"][0]) < centre(kit.sounds["tom/50"][0])
