"""The demo song: its labels are true, its level is that of music, and its script makes it again."""

import csv
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dance.labels import LABELS

soundfile = pytest.importorskip("soundfile")

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data" / "demo"
MATERIAL = Path(os.environ.get("DANCE_SHARED", ROOT.parent / "shared")) / "material"


@pytest.fixture(scope="module")
def song() -> tuple[np.ndarray, int]:
    return soundfile.read(DEMO / "song.ogg")


@pytest.fixture(scope="module")
def hits() -> list[tuple[float, str, float]]:
    with (DEMO / "song.tsv").open(newline="") as file:
        return [
            (float(row["time"]), row["label"], float(row["velocity"])) for row in csv.DictReader(file, delimiter="\t")
        ]


def test_song_is_small_and_as_loud_as_music(song: tuple[np.ndarray, int]) -> None:
    sound, rate = song
    assert (DEMO / "song.ogg").stat().st_size < 1_500_000
    assert rate == 44100 and sound.ndim == 1
    assert 25 <= sound.size / rate <= 40
    assert np.abs(sound).max() < 1
    assert -18 < 10 * np.log10(np.mean(sound**2)) < -14
    assert np.abs(sound[: int(0.49 * rate)]).max() < 1e-3


def test_labels_are_complete_and_in_order(hits: list[tuple[float, str, float]]) -> None:
    assert set(Counter(label for _, label, _ in hits)) == set(LABELS)
    assert hits == sorted(hits, key=lambda hit: hit[0])
    assert all(0 < velocity <= 1 for _, _, velocity in hits)


@pytest.mark.parametrize(("label", "low", "high"), [("kick", 40, 150), ("snare", 150, 400)])
def test_energy_rises_at_every_loud_hit(
    song: tuple[np.ndarray, int], hits: list[tuple[float, str, float]], label: str, low: float, high: float
) -> None:
    """Of the 30 ms around a label, the drum's energy rises most within 10 ms of it.

    Not at all of them: bass and chords, which play a little before or after, share these bands.
    """
    sound, rate = song
    frequency = np.fft.rfftfreq(sound.size, 1 / rate)
    inside = (frequency > low) & (frequency < high)
    band = np.fft.irfft(np.where(inside, np.fft.rfft(sound), 0), sound.size)
    energy = np.concatenate([[0], np.cumsum(band**2)])
    width = int(0.01 * rate)
    middle = np.arange(width, sound.size - width)
    rise = np.zeros(sound.size)
    rise[middle] = energy[middle + width] - 2 * energy[middle] + energy[middle - width]
    reach = int(0.03 * rate)
    off = []
    for time, name, velocity in hits:
        if name == label and velocity > 0.5:
            at = round(time * rate)
            off.append((np.argmax(rise[at - reach : at + reach]) - reach) / rate)
    assert len(off) >= 30
    assert np.mean(np.abs(off) < 0.01) >= 0.85, off


@pytest.mark.skipif(not (MATERIAL / "manifest.csv").exists(), reason="the one-shots are not here")
def test_script_makes_the_song_again(song: tuple[np.ndarray, int], tmp_path: Path) -> None:
    pytest.importorskip("pedalboard")
    script = [sys.executable, DEMO / "compose.py", "--oneshots", MATERIAL, "--out", tmp_path]
    subprocess.run(script, check=True)
    assert (tmp_path / "song.tsv").read_text() == (DEMO / "song.tsv").read_text()
    again, _ = soundfile.read(tmp_path / "song.ogg")
    assert np.corrcoef(song[0], again)[0, 1] > 0.999
