"""What can be heard is told from what only stands in the notes."""

import numpy as np
import pytest

pytest.importorskip("librosa")

from labelgen.prominence import prominence

RATE = 44100
KICK, HAT = 36, 42


def tone(hertz: float, at: float, level: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE - at
    return (level * np.sin(2 * np.pi * hertz * time) * np.exp(-20 * time) * (time >= 0)).astype(np.float32)


def test_other_bands_do_not_hide_a_hit() -> None:
    tracks = {"kick": tone(60, 0.5, 1.0), "hat_closed": tone(9000, 0.5, 0.02)}
    kick, hat = prominence(tracks, [("kick", 0.5), ("hat_closed", 0.5)], RATE)
    assert kick > 20 and hat > 6


def test_the_same_band_does() -> None:
    tracks = {"kick": tone(9000, 0.5, 1.0), "hat_closed": tone(9000, 0.5, 0.02)}
    (hat,) = prominence(tracks, [("hat_closed", 0.5)], RATE)
    assert hat == pytest.approx(20 * np.log10(0.02), abs=1.0)


def test_a_voice_that_rings_hides_its_own_next_hit() -> None:
    ringing = tone(9000, 0.2, 1.0) + tone(9000, 0.5, 1e-4)
    first, second = prominence({"hat_open": ringing}, [("hat_open", 0.2), ("hat_open", 0.5)], RATE)
    assert first > 20 > 0 > second


def test_what_does_not_sound_is_not_heard() -> None:
    assert prominence({"kick": tone(60, 0.5, 1.0)}, [("hat_closed", 0.2)], RATE) == [-99.0]
    assert prominence({}, [], RATE) == []
