"""Four-to-the-floor music labels itself where it proves to be that, and is refused where it does not."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import studio

from labelgen import four_floor
from labelgen.attack import rises_of
from labelgen.chunks import Manifest, read_labels
from labelgen.recordings import Recording

RATE = studio.RATE
SHARED = Path(os.environ.get("DANCE_SHARED", Path(__file__).parents[2] / ".." / "shared"))


def track(pattern, bars=8, tempo=126.0, rests=(), lead=0.2, seed=0):
    """Render sixteenths (``pattern``: drum -> 16 characters, x where it plays); return samples and hits."""
    rng = np.random.default_rng(seed)
    step = 60 / tempo / 4
    sounds = {d: studio._sound(d, rng) for d in ("kick", "snare", "hat_closed", "hat_open")}
    samples = np.zeros(round((lead + 16 * bars * step + 0.5) * RATE), np.float32)
    hits = []
    for bar in range(bars):
        for drum, steps in pattern.items():
            for k, mark in enumerate(steps):
                if mark == "x" and not (drum == "kick" and bar in rests):
                    time = lead + (16 * bar + k) * step
                    at = round(time * RATE)
                    samples[at : at + len(sounds[drum])] += 0.4 * sounds[drum][: len(samples) - at]
                    hits.append((time, drum))
    samples += 1e-4 * rng.normal(size=len(samples)).astype(np.float32)
    return samples, hits


HOUSE = {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat_closed": "..x...x...x...x."}


def read(samples):
    return four_floor.read_stretch(samples, rises_of(iter([samples])))


def times(reading, label):
    return np.array([x.time for run in reading.runs for x in run.labels if x.label == label])


def of(hits, drum):
    return np.array([t for t, d in hits if d == drum])


@pytest.mark.parametrize("tempo", [94.0, 126.0, 137.31, 172.0])
def test_house_is_labelled_at_its_attacks(tempo):
    samples, hits = track(HOUSE, tempo=tempo)
    reading = read(samples)
    assert not reading.refused and not reading.kick_only
    assert reading.tempo == pytest.approx(tempo, abs=0.03)
    for label, drum in (("kick", "kick"), ("snare", "snare"), ("hihat", "hat_closed")):
        np.testing.assert_allclose(times(reading, label), of(hits, drum), atol=0.006)
    assert [run.complete for run in reading.runs] == [("kick", "snare")]


def test_breaks_are_in_no_run():
    samples, hits = track(HOUSE, bars=12, rests=(4, 5, 9))
    reading = read(samples)
    bar = 4 * 60 / 126
    rests = [(0.2 + bar * 4, 0.2 + bar * 6), (0.2 + bar * 9, 0.2 + bar * 10)]
    assert len(reading.runs) == 3
    for run in reading.runs:
        assert all(run.stop <= start or run.start >= stop - four_floor.LEAD - 0.01 for start, stop in rests)
    np.testing.assert_allclose(times(reading, "kick"), of(hits, "kick"), atol=0.006)


def test_without_backbeat_it_is_kick_only():
    reading = read(track({k: v for k, v in HOUSE.items() if k != "snare"})[0])
    assert not reading.refused and reading.kick_only
    assert reading.runs[0].complete == ("kick",) and not len(times(reading, "snare"))


def test_hats_on_every_second_beat_are_no_backbeat():
    reading = read(track({"kick": HOUSE["kick"], "hat_open": "....x.......x..."})[0])
    assert not reading.refused and reading.kick_only


def test_kicks_between_the_beats_are_labelled_too():
    samples, hits = track({**HOUSE, "kick": "x...x...x...x.x."})
    np.testing.assert_allclose(times(read(samples), "kick"), of(hits, "kick"), atol=0.012)


@pytest.mark.parametrize(
    "pattern",
    [
        {"kick": "x.......x.......", "snare": "....x.......x...", "hat_closed": "x.x.x.x.x.x.x.x."},
        {"kick": "x.x.......x..x..", "snare": "....x..x.x..x..x", "hat_closed": "x.x.x.x.x.x.x.x."},
        {"kick": "x.....x....x....", "snare": "........x.......", "hat_closed": "xxxxxxxxxxxxxxxx"},
        {"hat_closed": "x.x.x.x.x.x.x.x."},
    ],
    ids=["rock", "break-beat", "trap", "hats"],
)
def test_other_rhythms_are_refused_with_a_reason(pattern):
    reading = read(track(pattern)[0])
    assert reading.refused and not reading.runs
    assert "kick" in reading.refused or "low attacks" in reading.refused


@pytest.mark.parametrize("samples", [np.zeros(5, np.float32), np.zeros(RATE * 10, np.float32)], ids=["short", "silent"])
def test_silence_is_refused(samples):
    assert read(samples).refused


def test_noise_is_refused():
    assert read(0.3 * np.random.default_rng(0).normal(size=RATE * 20).astype(np.float32)).refused


def test_a_set_may_change_its_tempo(tmp_path, monkeypatch):
    parts = [track(HOUSE, bars=8, tempo=t)[0] for t in (124.0, 132.0)]
    both = np.concatenate([np.pad(p, (0, RATE * 20 - len(p))) for p in parts])
    sf.write(tmp_path / "set.wav", both, RATE)
    monkeypatch.setattr(four_floor, "STRETCH", 20.0)
    readings = four_floor.label_recording(Recording(tmp_path / "set.wav"))
    assert [start for start, _ in readings] == [0.0, 20.0]
    assert [round(reading.tempo) for _, reading in readings] == [124, 132]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make chunks of a folder with a good track and everything that can be wrong."""
    root = tmp_path_factory.mktemp("tracks")
    samples, hits = track(HOUSE, bars=20)
    sf.write(root / "Größe – ハウス.flac", np.stack([samples, samples], axis=1), RATE)
    five = np.zeros((len(samples), 5), np.float32)
    five[:, 3] = samples
    sf.write(root / "five.wav", five, 48000)
    (root / "text.wav").write_text("no audio")
    (root / "empty.wav").write_bytes(b"")
    sf.write(root / "nothing.wav", np.zeros(0, np.float32), RATE)
    out = tmp_path_factory.mktemp("out") / "set"
    code = four_floor.main([str(root), "--out", str(out), "--seconds", "10", "--licence", "CC0", "--jobs", "1"])
    return root, out, hits, code


def test_chunks_hold_the_labels(made):
    _, out, hits, code = made
    assert code == 0
    chunks = [c for c in Manifest(out).chunks() if c.song.startswith("Gr")]
    kicks = []
    for chunk in chunks:
        audio, rate = sf.read(out / f"{chunk.name}.flac")
        assert rate == RATE and len(audio) / rate == pytest.approx(chunk.seconds) and chunk.seconds < 10.1
        assert (chunk.method, chunk.licence) == ("four_floor", "CC0") and 0.5 <= chunk.confidence <= 1
        labels = read_labels(out / f"{chunk.name}.tsv")
        assert all(0 <= x.time < chunk.seconds and 0 < x.velocity <= 1 for x in labels)
        kicks += [x.time + chunk.details["start"] for x in labels if x.label == "kick"]
    assert len(chunks) > 3
    np.testing.assert_allclose(kicks, of(hits, "kick"), atol=0.007)


def test_bad_files_cost_one_line_each(made):
    _, out, *_ = made
    refused = Manifest(out).refused()
    assert set(refused) == {"text.wav", "empty.wav", "nothing.wav"}
    assert "not readable as audio" in refused["text.wav"]
    assert "empty" in refused["empty.wav"] and "no samples" in refused["nothing.wav"]
    assert any(c.song == "five.wav" for c in Manifest(out).chunks())  # resampled, its channels mixed


@pytest.mark.parametrize("arguments", [["none.wav"], [".", "--tempo", "180", "90"], ["."]], ids=str)
def test_wrong_arguments_say_so(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert four_floor.main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.skipif(not (SHARED / "eval" / "loops-dev").is_dir(), reason="needs the shared loops")
def test_real_loops():
    """Every beat's kick is found within 25 ms, with few others."""
    found = labelled = given = 0
    for path in sorted((SHARED / "eval" / "loops-dev" / "audio").iterdir()):
        lines = (path.parents[1] / "labels" / f"{path.stem}.txt").read_text().splitlines()
        truth = np.array([float(line.split()[0]) for line in lines])
        ((_, reading),) = four_floor.label_recording(Recording(path))
        kicks = times(reading, "kick")
        given += len(kicks)
        labelled += len(truth)
        found += sum(len(kicks) > 0 and np.abs(kicks - t).min() <= 0.025 for t in truth)
    assert found / labelled >= 0.97 and given / labelled <= 1.2
