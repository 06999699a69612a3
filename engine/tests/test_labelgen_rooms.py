"""Chunks heard in a room: labels in place, stems that still add up, more reverberation than before."""

import numpy as np
import soundfile as sf
import studio

from labelgen import rooms
from labelgen.chunks import Manifest, read_labels


def test_a_chunk_rings_in_its_room_and_keeps_its_labels(tmp_path):
    dry = studio.chunk_set(tmp_path / "dry", count=2, seconds=4.0, seed=1)
    out = tmp_path / "out"
    assert rooms.main([str(dry), "--out", str(out), "--jobs", "1"]) == 0
    chunks = Manifest(out).chunks()
    assert sorted(chunk.name for chunk in chunks) == ["dry-grid-0", "dry-grid-1"]
    assert len({chunk.details["metres"] for chunk in chunks}) == 2
    for chunk in chunks:
        labels = read_labels(out / f"{chunk.name}.tsv")
        source = chunk.name.removeprefix("dry-")
        assert labels == read_labels(dry / f"{source}.tsv")
        before, rate = sf.read(dry / f"{source}.drums.flac")
        after, _ = sf.read(out / f"{chunk.name}.drums.flac")
        assert len(after) == len(before)

        def rises(samples, time, rate=rate):
            at = int(time * rate)
            return np.square(samples[at : at + 1500]).sum() > 4 * np.square(samples[max(0, at - 1500) : at - 64]).sum()

        clear = [label.time for label in labels if rises(before, label.time) and label.time > 0.1]
        assert clear
        assert np.mean([rises(after, time) for time in clear]) > 0.6  # the direct sound comes at the labelled time
        mix, backing = (sf.read(out / f"{chunk.name}{part}.flac")[0] for part in ("", ".backing"))
        assert np.std(mix - (after + backing)) < 0.03 * np.std(mix)  # but for what clips in the dry mix


def test_a_response_begins_with_its_direct_sound_and_rings():
    for seed in range(4):
        impulse, drawn = rooms.room_impulse_response(16000, np.random.default_rng(seed))
        assert np.abs(impulse).max() == 1
        assert np.abs(impulse[:3]).max() > 5 * np.abs(impulse[8:20]).mean()
        energy = np.cumsum(np.square(impulse[::-1].astype(float)))[::-1]
        fallen = np.argmax(energy < energy[0] * 1e-2) / 16000  # 20 dB
        assert 0.01 < fallen < drawn["seconds"]


def test_sets_may_hold_chunks_of_one_name(tmp_path, capsys):
    sets = [studio.chunk_set(tmp_path / name, count=1, seconds=1.0, seed=n) for n, name in enumerate(("a", "b"))]
    out = tmp_path / "out"
    assert rooms.main([*map(str, sets), "--out", str(out), "--jobs", "1"]) == 0
    assert sorted(chunk.name for chunk in Manifest(out).chunks()) == ["a-grid-0", "b-grid-0"]
    assert rooms.main([str(sets[0]), "--out", str(sets[0])]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_a_share_of_the_chunks_and_an_empty_set(tmp_path, capsys):
    dry = studio.chunk_set(tmp_path / "dry", count=10, seconds=1.0, seed=1)
    assert rooms.main([str(dry), "--share", "0.5", "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    assert 0 < len(Manifest(tmp_path / "out").chunks()) < 10
    (tmp_path / "none").mkdir()
    assert rooms.main([str(tmp_path / "none"), "--out", str(tmp_path / "other")]) == 2
    assert "no chunks here" in capsys.readouterr().err


def test_automatic_gain_evens_out_what_is_loud_and_what_is_quiet():
    rng = np.random.default_rng(1)
    quiet = 0.02 * rng.standard_normal(32000).astype(np.float32)
    heard = np.concatenate([quiet, 10 * quiet, quiet])
    for seed in range(4):
        gain = rooms.automatic_gain(heard, 16000, np.random.default_rng(seed))
        assert gain.shape == heard.shape
        assert gain.dtype == np.float32
        assert 0 < gain.min() <= gain.max() <= 1
        assert gain[31999] > 1.1 * gain[60000] < gain[95999]  # until the loud part begins nothing is known of it
