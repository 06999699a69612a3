"""Single strums become strummed guitar: chords by name, every stroke damping the one before."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

pytest.importorskip("tqdm")
pytest.importorskip("pedalboard")

from labelgen.chunks import Manifest, read_labels
from labelgen.kits import one_shot
from labelgen.solos import Stroke
from labelgen.strums import _recording, chords_of, main, play

RATE = 22050


@pytest.fixture(scope="module")
def strums(tmp_path_factory):
    """Return a folder of two chords, steady tones of 400 and 1,000 Hz, one of them without directions."""
    folder = tmp_path_factory.mktemp("strums")
    time = np.arange(RATE) / RATE
    for name, hertz in (("Amajor_DOWN_00", 400), ("Amajor_UP_00", 400), ("B7_00", 1000)):
        sf.write(folder / f"{name}.wav", 0.5 * np.sin(2 * np.pi * hertz * time), RATE)
    return folder


def test_names_say_chord_and_direction():
    names = ("Amajor_00", "Amajor_DOWN_01", "Amajor_UP_00", "Dsharp minor7b5_DOWN_02wav", "Gminor 3")
    found = chords_of([Path(f"{name}.flac") for name in names])
    assert [[path.stem for path in chord["D"]] for chord in found] == [
        ["Amajor_00", "Amajor_DOWN_01"],
        ["Dsharp minor7b5_DOWN_02wav"],
        ["Gminor 3"],
    ]
    assert [[path.stem for path in chord["U"]] for chord in found] == [
        ["Amajor_00", "Amajor_UP_00"],
        ["Dsharp minor7b5_DOWN_02wav"],
        ["Gminor 3"],
    ]


def test_a_stroke_damps_the_one_before_and_a_muted_one_dies(strums):
    chords = chords_of(sorted(strums.glob("*.wav")))
    strokes = [Stroke("D", 0, 0, 0.0, 1.0, 90), Stroke("U", 1, 0, 0.5, 1.0, 90), Stroke("x", 2, 0, 1.0, 1.0, 90)]
    audio = play(strokes, chords, 1.5, RATE, np.random.default_rng(0))
    assert audio.dtype == np.float32 and len(audio) == round(1.5 * RATE)

    def power(start, stop):
        spectrum = np.abs(np.fft.rfft(audio[round(start * RATE) : round(stop * RATE)])) ** 2
        return spectrum, np.fft.rfftfreq(round(stop * RATE) - round(start * RATE), 1 / RATE)

    for (start, stop), low, high in (((0.1, 0.4), 300, 520), ((0.6, 0.9), 780, 1300)):
        spectrum, hertz = power(start, stop)
        inside = (hertz > low) & (hertz < high)
        assert spectrum[inside].sum() > 0.98 * spectrum.sum()
    assert np.abs(audio[round(1.3 * RATE) :]).max() < 0.01 < np.abs(audio[round(1.001 * RATE) :]).max()


def test_chunks_hold_no_labels_and_the_seed_decides(strums, tmp_path):
    def made(name, seed):
        options = ["--count", "2", "--seconds", "3", "--sample-rate", str(RATE), "--seed", seed, "--jobs", "1"]
        assert main([str(strums), *options, "--licence", "CC0", "--out", str(tmp_path / name)]) == 0
        chunks = Manifest(tmp_path / name).chunks()
        assert {chunk.licence for chunk in chunks} == {"CC0"} and all(c.stems == ("backing",) for c in chunks)
        assert not any(read_labels(tmp_path / name / f"{chunk.name}.tsv") for chunk in chunks)
        return np.array([sf.read(tmp_path / name / f"{chunk.name}.flac")[0] for chunk in chunks])

    first, again, other = made("first", "1"), made("again", "1"), made("other", "2")
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 3 * RATE) and np.abs(first).max(axis=1) == pytest.approx(1, abs=0.01)
    assert np.abs(np.corrcoef(first[0], other[0])[0, 1]) < 0.5


def test_a_folder_without_strums_is_named(tmp_path, capsys):
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert main([str(tmp_path / "nothere"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"labelgen: no such file or folder: {tmp_path / 'nothere'}\n"


def test_recordings_at_the_tuning_of_one_guitar_are_not_kept_for_all(strums):
    chords, before = chords_of(sorted(strums.glob("*.wav"))), one_shot.cache_info().currsize
    for guitar in range(50):
        play([Stroke(sign, 0, 0, 0.0, 1.0, 90) for sign in "DU"], chords, 0.1, RATE, np.random.default_rng(guitar))
    assert one_shot.cache_info().currsize == before
    assert _recording.cache_info().currsize <= 64
