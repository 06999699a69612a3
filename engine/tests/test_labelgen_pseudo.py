"""Pseudo-labels: a teacher that is sure is right on the demo song, doubt is marked, noise is refused."""

import math
import os
import re
import shutil

import numpy as np
import pytest
import soundfile as sf
from stage import ROOT

from benchmarks.pseudo_labels import compare
from dance.detector import RELEASED, Detector
from dance.labels import LABELS
from dance.network import Network
from dance.spec import FeatureSpec
from labelgen import pseudo
from labelgen.chunks import DOUBTED, Manifest, layered, read_labels
from labelgen.recordings import RATE
from training.dataset import UNKNOWN, chunk_features
from training.score import Count, match

SONG = ROOT / "data" / "demo" / "song.ogg"


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """Label the demo song; return the set."""
    out = tmp_path_factory.mktemp("pseudo")
    assert pseudo.main([str(SONG), "--out", str(out), "--jobs", "1", "--confidence", "0.5", "--licence", "MIT"]) == 0
    return out


def test_sure_labels_are_right_and_on_time(heard):
    truth = read_labels(SONG.with_suffix(".tsv"))
    total, off = Count(), []
    for chunk in Manifest(heard).chunks():
        start = chunk.details["start"]
        labels = [x for x in read_labels(heard / f"{chunk.name}.tsv") if x.prominence > UNKNOWN]
        for drum in ("kick", "snare", "hihat"):
            mine = [x.time for x in truth if x.label == drum and start <= x.time - 1e-3 < start + chunk.seconds]
            said = [x.time + start for x in labels if x.label == drum]
            counted, pairs = match(mine, said, 0.03)
            total += counted
            off += [said[e] - mine[r] for r, e in pairs]
    assert total.precision > 0.95
    assert total.tp > 60
    assert abs(np.median(off)) < 0.008


def test_what_is_doubted_is_passed_over_by_training(heard):
    chunk = Manifest(heard).chunks()[0]
    assert chunk.details["complete"] == ["kick", "snare", "hihat"]
    assert (chunk.licence, chunk.stems) == ("MIT", ())
    labels = read_labels(heard / f"{chunk.name}.tsv")
    doubted = [x for x in labels if x.prominence == DOUBTED]
    assert doubted
    assert all(x.prominence == math.inf for x in labels if x not in doubted)
    features = chunk_features(heard, chunk, FeatureSpec(), LABELS)
    for label in layered(labels):
        if label not in doubted:
            continue  # sure, or one hit with what is
        frame = int(label.time / FeatureSpec().hop_seconds)
        assert features.prominence[frame, LABELS.index(label.label)] == UNKNOWN
    assert (features.prominence[:, LABELS.index("cymbal")] == UNKNOWN).all()


def test_the_benchmark_tells_hits_that_are_taught_as_silence(heard, tmp_path):
    figures = compare(heard, {SONG.name: SONG.with_suffix(".tsv")})
    assert sum((count for count, _ in figures.values()), Count()).precision > 0.95
    for count, doubted in figures.values():
        assert count.precision > 0.9 and 0 <= doubted <= count.fn
    # twice as many hits as there are: the second half is neither named nor doubted
    rows = SONG.with_suffix(".tsv").read_text().splitlines()
    late = [f"{float(time) + 0.13:.4f}\t{rest}" for time, rest in (row.split("\t", 1) for row in rows[1:])]
    (tmp_path / "song.tsv").write_text("\n".join([*rows, *late]) + "\n")
    wrong = compare(heard, {SONG.name: tmp_path / "song.tsv"})
    assert sum(c.fn - d for c, d in wrong.values()) > 50 + sum(c.fn - d for c, d in figures.values())


def test_several_teachers_agree_with_one_that_is_all_of_them(heard, tmp_path):
    arguments = [str(SONG), "--jobs", "1", "--confidence", "0.5", "--model", *[str(pseudo.RELEASED)] * 2]
    assert pseudo.main([*arguments, "--out", str(tmp_path)]) == 0
    for chunk in Manifest(tmp_path).chunks():
        assert read_labels(tmp_path / f"{chunk.name}.tsv") == read_labels(heard / f"{chunk.name}.tsv")


def test_a_teacher_that_votes_hears_what_the_engine_does():
    path = RELEASED
    spec = Network(path).spec
    assert spec.votes > 0
    samples, rate = sf.read(SONG, dtype="float32")
    detector = Detector.load(path, sample_rate=rate, labels=spec.labels)
    told = sorted((spec.labels.index(hit.label), hit.time) for hit in [*detector.process(samples), *detector.flush()])
    opinion = pseudo.Teachers([path], 0.2).hear(samples)
    heard = sorted(zip(opinion.columns[opinion.picked].tolist(), opinion.times[opinion.picked].tolist(), strict=True))
    assert len(heard) == len(told)
    np.testing.assert_allclose(heard, told, atol=0.002)
    assert pseudo.Teachers([path, path], 0.2).spec.votes == 0


def test_a_hit_is_heard_although_the_recording_ends_after_it(tmp_path):
    samples, rate = sf.read(SONG, dtype="float32")
    kicks = [x.time for x in read_labels(SONG.with_suffix(".tsv")) if x.label == "kick"]
    last = kicks[12]
    sf.write(tmp_path / "cut.wav", samples[: int((last + 0.08) * rate)], rate)
    assert pseudo.main([str(tmp_path / "cut.wav"), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    (chunk,) = Manifest(tmp_path / "out").chunks()
    said = [x.time for x in read_labels(tmp_path / "out" / f"{chunk.name}.tsv") if x.label == "kick"]
    assert min(abs(time - last) for time in said) < 0.03


def test_music_that_the_teacher_does_not_understand_is_refused(tmp_path, capsys):
    songs = tmp_path / "songs"
    songs.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * RATE).astype(np.float32)
    clicks = noise * (np.arange(len(noise)) % (RATE * 3) < RATE // 50)  # two in five seconds
    sf.write(songs / "clicks.wav", 5 * clicks, RATE)
    shutil.copy(ROOT / "README.md", songs / "text.ogg")
    sf.write(songs / "short.wav", noise[:1000], RATE)
    (songs / "bought.m4a").write_bytes(b"no matter what")
    sf.write(os.fsencode(songs) + b"/\xe9t\xe9.wav", noise[:1000], RATE, format="WAV")
    assert pseudo.main([str(songs), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    said = capsys.readouterr().err
    assert "understands too little" in said
    assert re.search(r"refused bought\.m4a: .*convert it: ffmpeg", said)
    assert re.search(r"refused \S+t\S+\.wav: .*shorter than 1 s", said)
    assert "not readable as audio" in said
    assert "shorter than 1 s" in said
    assert not Manifest(tmp_path / "out").chunks()


def test_what_holds_no_drums_is_a_backing(tmp_path):
    time = np.arange(4 * RATE) / RATE
    swell = 0.1 * np.hanning(len(time)) * np.sin(2 * np.pi * 220 * time)
    sf.write(tmp_path / "pad.wav", swell.astype(np.float32), RATE)
    assert pseudo.main([str(tmp_path / "pad.wav"), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    (chunk,) = Manifest(tmp_path / "out").chunks()
    assert chunk.stems == ("backing",)
    assert read_labels(tmp_path / "out" / f"{chunk.name}.tsv") == []


def test_wrong_arguments_are_told(tmp_path, capsys):
    assert pseudo.main([str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "model.onnx").write_text("Dear diary")
    shutil.copy(SONG, tmp_path)
    assert pseudo.main([str(tmp_path), "--out", str(tmp_path / "out"), "--model", str(tmp_path / "model.onnx")]) == 2
    assert "model.onnx is not a model" in capsys.readouterr().err
    assert pseudo.main([str(SONG), "--out", str(tmp_path / "model.onnx")]) == 2
    assert capsys.readouterr().err.startswith("labelgen: [Errno 17] File exists")


def test_ctrl_c_while_a_model_loads_ends_with_its_code(tmp_path, monkeypatch, capsys):
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pseudo, "Labeller", interrupted)
    assert pseudo.main([str(SONG), "--out", str(tmp_path)]) == 130
    assert "the same command goes on" in capsys.readouterr().err
