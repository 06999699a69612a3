"""Fine-tuning: a small network learns a new sound from one song, keeps what it knew, and comes out as a model file."""

import copy
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import studio

from dance import Detector, FeatureSpec
from dance.network import Network

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from labelgen.chunks import Chunk, ChunkWriter, Label, Manifest  # noqa: E402
from training import calibrate, export, finetune, train, tuning  # noqa: E402
from training.score import Count  # noqa: E402

LABELS = ("kick", "snare", "hihat")
SPEC = FeatureSpec(bands=40)


@pytest.fixture(scope="module")
def general(tmp_path_factory):
    """Return a set of four songs of the usual sounds."""
    return studio.chunk_set(tmp_path_factory.mktemp("general") / "grid", count=4)


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Return a set of one song whose hi-hat is a whistle, which nobody has heard before."""
    folder = tmp_path_factory.mktemp("album") / "whistle"
    studio.chunk_set(folder, count=0)
    rng, length, rate = np.random.default_rng(1), 16.0, studio.RATE
    samples = (0.05 * np.sin(2 * np.pi * 220 * np.arange(int(length * rate)) / rate)).astype(np.float32)
    time = np.arange(rate // 5) / rate
    sounds = {
        "kick": np.sin(2 * np.pi * (50 * time + 3 * (1 - np.exp(-time / 0.02)))) * np.exp(-time / 0.08),
        "hihat": np.sin(2 * np.pi * 2500 * time) * np.exp(-time / 0.06),
    }
    labels = []
    for step in range(60):
        label = ("kick", "hihat")[int(rng.integers(2))]
        start = int((0.3 + 0.25 * step) * rate)
        samples[start : start + len(time)] += 0.3 * sounds[label].astype(np.float32)
        labels.append(Label(start / rate, label, 1.0))
    ChunkWriter(folder, rate).write("whistle-00", {"": samples}, labels)
    Manifest(folder).add([Chunk("whistle-00", "whistle", "test", "whistle", "CC0", "by hand", 1.0, length)])
    return folder


@pytest.fixture(scope="module")
def given(general, tmp_path_factory):
    """Train a network of a few thousand weights for a moment; return its checkpoint and its export."""
    out = tmp_path_factory.mktemp("runs")
    config = {
        "train": [str(general)],
        "labels": LABELS,
        "features": asdict(SPEC),
        "sizes": {"channels": 24, "dilations": [1, 2]},
        "steps": 120,
        "epoch_steps": 20,
        "batch": 8,
        "seconds": 2.0,
        "rate": 0.01,
        "average": 0.9,
        "augment": {"silence": 0.0},
    }
    (out / "config.json").write_text(json.dumps(config))
    options = ["--config", out / "config.json", "--out", out, "--plain", "--workers", "0", "--precision", "32-true"]
    assert train.main([str(option) for option in options]) == 0
    weights, model = out / "weights.ckpt", out / "model.onnx"
    assert export.main([str(out / "run" / "last.ckpt"), "--out", str(model), "--weights", str(weights)]) == 0
    assert calibrate.main([str(model), str(general)]) == 0
    return weights, model


@pytest.fixture(scope="module")
def stranger(given, tmp_path_factory):
    """Return an export of other weights."""
    task = train.DrumTask({"labels": LABELS, "features": asdict(SPEC), "sizes": {"channels": 24, "dilations": [1]}})
    path = tmp_path_factory.mktemp("stranger") / "other.onnx"
    export.export(task.network, Network(given[1]).spec, path)
    return path


@pytest.fixture(scope="module")
def network(given):
    return finetune.load(*given)


def options(given, album, out, *more):
    return [str(each) for each in (album, "--init", given[0], "--model", given[1], "--out", out, "--threads", 1, *more)]


def test_an_album_comes_out_as_a_model_and_the_rest_stays(given, album, general, tmp_path, capsys):
    out = tmp_path / "new" / "album.onnx"
    assert finetune.main(options(given, album, out, "--rehearse", general, "--steps", 30)) == 0
    printed = capsys.readouterr().out
    table = {line.rsplit(maxsplit=3)[0]: line.split()[-2:] for line in printed.splitlines() if line[-1].isdigit()}
    before, after = map(float, table["album: all"])
    assert after > before + 0.2
    before, after = map(float, table["rest"])
    assert before > 0.8 and after > before - 0.05
    spec, old = Network(out).spec, Network(given[1]).spec
    assert replace(spec, name=old.name) == old and "album" in spec.name
    assert sorted(path.name for path in out.parent.iterdir()) == ["album.onnx"]
    assert Detector.load(out, sample_rate=44100).process(np.zeros(44100, np.float32)) == []


def test_the_same_seed_gives_the_same_network(network, album):
    task, spec = network
    clips = finetune.read_album([album], spec, ())
    short = tuning.Tuning(steps=3)
    states = [tuning.tune(task.network, clips, [], short).state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    # the given network is left alone, and so are the statistics of its normalisation
    for name, value in task.network.state_dict().items():
        assert torch.equal(value, states[0][name]) == (not value.is_floating_point() or "running" in name)


def test_blends_lie_between(network):
    first = network[0].network
    second = copy.deepcopy(first)
    with torch.no_grad():
        for weight in second.parameters():
            weight += 1
    frames = np.random.default_rng(0).normal(-50, 10, (30, 40)).astype(np.float32)
    for share, same in ((0.0, first), (1.0, second)):
        blended, _ = tuning.activations(tuning.blend(first, second, share), frames)
        np.testing.assert_allclose(blended, tuning.activations(same, frames)[0], atol=1e-5)
    half = tuning.blend(first, second, 0.5).state_dict()
    torch.testing.assert_close(half["heads.onset.bias"], first.state_dict()["heads.onset.bias"] + 0.5)


def test_what_is_not_among_only_is_neither_learned_nor_counted(network, album):
    task, spec = network
    (clip,) = finetune.read_album([album], spec, ["kick"])
    assert {hit.label for hit in clip.labels} == {"kick"}
    counts = finetune.score(task.network, spec, [clip])
    assert counts["snare"] == counts["hihat"] == Count() and counts["kick"].tp
    drawn = tuning.crops([clip], 200, 4, tuning.NEAR, np.random.default_rng(0))
    assert drawn["heard"][:, :, 0].all() and not drawn["heard"][:, :, 1:].any()


def test_drums_that_are_labelled_in_part_are_not_counted(network, general, tmp_path):
    spec = network[1]
    chunk = Manifest(general).chunks()[0]
    part = replace(chunk, details={"complete": ["kick"]})
    whole, known = (tuning.read_clip(general, each, spec) for each in (chunk, part))
    assert whole.complete == set(LABELS) and known.complete == {"kick"}
    counts = finetune.score(network[0].network, spec, [known])
    assert counts["kick"].tp and not counts["hihat"].tp + counts["hihat"].fp + counts["hihat"].fn


def test_a_clap_on_a_snare_is_one_hit_to_tell(network, tmp_path):
    spec, samples = network[1], np.zeros(2 * studio.RATE, np.float32)
    labels = [Label(0.5, "snare", 0.8, -3.0), Label(0.505, "snare", 0.6, 9.0), Label(1.0, "snare", 0.8)]
    ChunkWriter(tmp_path, studio.RATE).write("clap", {"": samples}, labels)
    chunk = Chunk("clap", "clap", "test", "clap", "CC0", "by hand", 1.0, 2.0)
    clip = tuning.read_clip(tmp_path, chunk, spec)
    assert [(x.time, x.prominence) for x in clip.labels] == [(0.5, 9.0), (1.0, np.inf)]
    assert finetune.score(network[0].network, spec, [clip])["snare"].fn == 2


def test_short_clips_end_in_silence_that_is_not_asked_about(network, album):
    clip = tuning.cut(finetune.read_album([album], network[1], ())[0], 1.5, 0.01)[0]
    drawn = tuning.crops([clip], 400, 2, tuning.NEAR, np.random.default_rng(0))
    assert drawn["frames"].shape == (2, 400, 40)
    assert drawn["heard"][:, :150].all() and not drawn["heard"][:, 150:].any()


def test_halves_are_whole_songs_where_there_are_several(network, album):
    (clip,) = finetune.read_album([album], network[1], ())
    songs = [replace(clip, song=name) for name in ("a", "b", "a", "c")]
    first, second = finetune.halves(songs, 0.01)
    assert {x.song for x in first} == {"a"} and {x.song for x in second} == {"b", "c"}
    (one,), (two,) = finetune.halves([clip], 0.01)
    assert len(one.frames) + len(two.frames) == len(clip.frames)
    assert [x.time for x in one.labels] + [x.time + 8.0 for x in two.labels] == pytest.approx(
        [x.time for x in clip.labels]
    )
    assert max(x.time for x in one.labels) < 8.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"album": "nothing"}, "no chunks here"),
        ({"out": "album.pt"}, "ends in .onnx"),
        ({"init": "no.ckpt"}, "no such checkpoint"),
        ({"init": "bad.ckpt"}, "not a checkpoint"),
        ({"model": "stranger"}, "--model"),
        ({"more": ["--only", "snare"]}, "nothing to learn from"),
        ({"more": ["--rehearse", "nothing"]}, "no chunks here"),
    ],
)
def test_mistakes_cost_a_line(given, stranger, album, tmp_path, monkeypatch, capsys, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.ckpt").write_text("no weights")
    files = (change.get("init", given[0]), stranger if "model" in change else given[1])
    asked = options(files, change.get("album", album), change.get("out", "album.onnx"), *change.get("more", ()))
    assert finetune.main(asked) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("finetune: ") and message in error
    assert not (tmp_path / "album.onnx").exists()


def test_labels_that_do_not_fit_write_nothing(given, general, tmp_path, capsys):
    assert finetune.main(options(given, general, tmp_path / "album.onnx", "--steps", 1)) == 1
    assert "nothing gained" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_nothing(given, album, tmp_path, monkeypatch, capsys):
    out = tmp_path / "album.onnx"

    def interrupted(network, path, *_):
        assert path.suffix == ".part" and path.exists()
        raise KeyboardInterrupt

    counts = dict.fromkeys(LABELS, Count(1, 1, 1)), dict.fromkeys(LABELS, Count(2))
    monkeypatch.setattr(finetune, "attempt", lambda *_: counts)
    monkeypatch.setattr(export, "parity", interrupted)
    assert finetune.main(options(given, album, out, "--steps", 1)) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
