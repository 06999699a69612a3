"""Chunks in, a calibrated model file out: the whole road, with a network of a few thousand weights."""

import errno
import json
import os
import pickle
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import soundfile as sf
import studio

from dance import Detector, Event, FeatureSpec, ModelSpec
from dance.features import log_mel
from dance.network import Network

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning")

from torch.utils.data import DataLoader  # noqa: E402

from labelgen.chunks import DOUBTED, Chunk, ChunkWriter, Label, Manifest, read_labels, write_labels  # noqa: E402
from labelgen.files import RECORDINGS  # noqa: E402
from models.restored import hear, restored  # noqa: E402
from models.whole_file import WholeFile  # noqa: E402
from training import average, calibrate, dataset, evaluate, export, provenance, restore, survey, train  # noqa: E402
from training.augment import Augment, remix  # noqa: E402
from training.checkpoints import write_checkpoint  # noqa: E402
from training.config import TrainConfig  # noqa: E402
from training.dataset import Batches, Places, load_features  # noqa: E402
from training.loss import WARMUP, DrumLoss, asked, targets  # noqa: E402
from training.precision import precision  # noqa: E402
from training.score import Count, count, match  # noqa: E402
from training.task import DrumTask, Mixes, checkpoint, load_task, take_weights  # noqa: E402

LABELS = ("kick", "snare", "hihat")
SPEC = FeatureSpec(bands=40)


@pytest.fixture(scope="module")
def chunks(tmp_path_factory):
    return studio.chunk_set(tmp_path_factory.mktemp("sets") / "grid")


@pytest.fixture(scope="module")
def run(chunks, tmp_path_factory):
    """Train for a moment; return the run's folder."""
    out = tmp_path_factory.mktemp("runs")
    assert train.main(arguments(chunks, out, steps=120)) == 0
    return out / "run"


def arguments(chunks, out, steps):
    config = {
        "train": [str(chunks)],
        "labels": LABELS,
        "features": asdict(SPEC),
        "sizes": {"channels": 24, "dilations": [1, 2]},
        "steps": steps,
        "epoch_steps": 20,
        "batch": 8,
        "seconds": 2.0,
        "rate": 0.01,
        "average": 0.9,
    }
    (out / "config.json").write_text(json.dumps(config))
    return ["--config", str(out / "config.json"), "--out", str(out), "--plain", "--workers", "0",
            "--precision", "32-true"]  # fmt: skip


@pytest.fixture(scope="module")
def model(run, chunks):
    path = run / "model.onnx"
    weights = run / "weights.ckpt"
    arguments = [str(run / "last.ckpt"), "--out", str(path), "--name", "grid", "--weights", str(weights)]
    assert export.main(arguments) == 0
    assert calibrate.main([str(path), str(chunks)]) == 0
    return path


@pytest.fixture(scope="module")
def surveyed(model, run, chunks):
    """Return the model with lows lifted and timbres to vote by, not calibrated again."""
    path = run / "surveyed.onnx"
    arguments = [str(run / "weights.ckpt"), str(chunks), "--timbre", "6", "--out", str(run / "surveyed.ckpt")]
    assert survey.main(arguments) == 0
    assert export.main([str(run / "surveyed.ckpt"), "--out", str(path)]) == 0
    return path


def test_calibration_hears_what_the_engine_decides_on(model, surveyed, chunks, tmp_path, capsys):
    path = tmp_path / "weighing.onnx"
    arguments = [str(surveyed), str(chunks), "--out", str(path), "--expectation", "2", "--votes", "0.6"]
    assert calibrate.main([*arguments, "--evidence", "1.5"]) == 0
    detector = Detector.load(path, sample_rate=44100)
    assert (Network(surveyed).spec.expectation, detector.spec.expectation, detector.spec.votes) == (0, 2, 0.6)
    assert (Network(surveyed).spec.evidence, detector.spec.evidence) == (0, 1.5)
    seen = []
    detector.observer = lambda frame, features, onsets: seen.append(onsets.copy())
    first = sorted(Manifest(chunks).chunks(), key=lambda c: c.name)[0]
    samples, rate = sf.read(chunks / f"{first.name}.flac", dtype="float32")
    detector.process(samples)
    # heard as a whole by torch, activations differ by the rounding of the compiled step, which votes carry on
    for at_once, difference in ((False, 1e-6), (True, 1e-3)):
        onsets = calibrate.activations(WholeFile(path, at_once), detector.spec, samples, rate)
        np.testing.assert_allclose(onsets, seen, rtol=0, atol=difference)
    silent = calibrate.activations(WholeFile(path, False), replace(detector.spec, votes=0.0), samples, rate)
    assert np.abs(silent - onsets).max() > 0.01
    assert calibrate.main([str(model), str(chunks), "--votes", "0.6"]) == 2
    assert "survey.py" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        calibrate.main([str(surveyed), str(chunks), "--votes", "1.6"])


def test_a_survey_tells_components_of_equal_spread_and_the_mean_spectrum(run, surveyed, chunks):
    network = restored(surveyed)
    songs = [sf.read(chunks / f"{chunk.name}.flac", dtype="float32") for chunk in Manifest(chunks).chunks()]
    recordings = [log_mel(samples, SPEC, rate) for samples, rate in songs]
    timbres = network.heads.timbre(torch.from_numpy(survey.features_of_hits(network, recordings))).detach().numpy()
    np.testing.assert_allclose(timbres.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(timbres.T) * (1 - np.eye(6)), 0, atol=1e-3)
    assert (np.diff(timbres.std(0)) < 1e-3).all() and 0.9 < timbres.std(0)[0] < 1.001
    loud = np.concatenate([frames[frames.max(1) > frames.max() - 25] for frames in recordings]).mean(0)
    usual = np.array(network.config.usual_db)
    assert np.corrcoef(usual, loud)[0, 1] > 0.98


def test_training_goes_on_from_what_was_surveyed(run, surveyed):
    given = load_task(run / "surveyed.ckpt")
    plain = {name: value for name, value in given.config.sizes.items() if name not in ("usual_db", "timbre")}
    for sizes in (plain, plain | {"usual_db": given.config.sizes["usual_db"]}):
        task = DrumTask(asdict(replace(given.config, sizes=sizes)))
        take_weights(task, given)
        theirs = given.network.state_dict()
        assert all(torch.equal(weight, theirs[name]) for name, weight in task.network.state_dict().items())
    narrow = DrumTask(asdict(replace(given.config, sizes=plain | {"channels": 8})))
    with pytest.raises(ValueError, match="another network"):
        take_weights(narrow, given)


def test_what_cannot_be_surveyed_is_refused(model, run, chunks, tmp_path, capsys):
    out = ["--out", str(tmp_path / "x.ckpt")]
    for arguments, said in (
        ([str(run / "config.json"), str(chunks)], "not a checkpoint"),
        ([str(run / "weights.ckpt"), str(tmp_path)], "no chunks"),
    ):
        assert survey.main(arguments + out) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "x.ckpt").exists()


def test_features_are_the_engines_and_labels_lie_in_their_frame(chunks):
    features = load_features(chunks, SPEC, LABELS)
    first = sorted(Manifest(chunks).chunks(), key=lambda c: c.name)[0]
    samples, rate = sf.read(chunks / f"{first.name}.drums.flac", dtype="float32")
    expected = log_mel(samples, SPEC, rate)
    np.testing.assert_allclose(features.drums[: len(expected)], expected, atol=0.05)
    for label in read_labels(chunks / f"{first.name}.tsv"):
        frame = int(label.time / SPEC.hop_seconds)
        assert features.velocity[frame, LABELS.index(label.label)] == round(label.velocity * 255)
    assert features.parts[:, :2].all() and len(features.backing) == len(features.drums) == len(features.velocity)


def test_chunks_of_any_parts_lie_side_by_side(tmp_path):
    samples = np.random.default_rng(0).normal(0, 0.1, studio.RATE).astype(np.float32)
    writer, manifest = ChunkWriter(tmp_path, studio.RATE), Manifest(tmp_path)
    for name, stems in (("a", ("backing",)), ("b", ()), ("c", ("drums",))):
        two_samples = [Label(0.5, "kick", 1.0), Label(0.512, "kick", 0.7)]  # of one hit
        writer.write(name, {stem: samples for stem in ("", *stems)}, [] if name == "a" else two_samples)
        manifest.add([Chunk(name, name, "test", name, "CC0", "noise", 1.0, 1.0, stems)])
    features = load_features(tmp_path, SPEC, LABELS)
    assert features.parts[50].tolist() == [False, True, False]
    assert features.parts[150].tolist() == [True, False, True]
    assert features.parts[250].tolist() == [True, False, False]
    assert features.drums[50].max() == -100 and features.backing[150].max() == -100
    assert np.flatnonzero(features.velocity[:, 0]).tolist() == [150, 250]


def test_corrected_labels_and_sounds_are_read_again(tmp_path):
    folder = studio.chunk_set(tmp_path / "set", count=2)
    before = load_features(folder, SPEC, LABELS)
    name = sorted(chunk.name for chunk in Manifest(folder).chunks())[0]
    labels = read_labels(folder / f"{name}.tsv")
    write_labels(folder / f"{name}.tsv", labels[1:])
    after = load_features(folder, SPEC, LABELS)
    assert np.count_nonzero(after.velocity) == np.count_nonzero(before.velocity) - 1
    assert len(list((folder / "features").iterdir())) == 1


def test_an_interrupted_reading_leaves_nothing(tmp_path, monkeypatch):
    folder = studio.chunk_set(tmp_path / "set", count=2)

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dataset, "chunk_features", stop)
        load_features(folder, SPEC, LABELS)
    assert not [path for path in (folder / "features").rglob("*") if path.is_file()]
    assert len(load_features(folder, SPEC, LABELS).drums)


def test_what_a_killed_reading_left_is_removed_and_read_again(tmp_path):
    folder = studio.chunk_set(tmp_path / "set", count=1)
    expected = np.array(load_features(folder, SPEC, LABELS).drums)
    (cache,) = (folder / "features").iterdir()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = cache / f"drums~{platform.node()}~{dead.stdout.strip()}.part"
    (cache / "drums").rename(left)
    again = load_features(folder, SPEC, LABELS).drums
    np.testing.assert_array_equal(again, expected)
    assert not left.exists()


def test_a_hit_behind_a_chunk_is_not_taught(tmp_path):
    samples = np.zeros(studio.RATE, np.float32)
    ChunkWriter(tmp_path, studio.RATE).write("a", {"": samples}, [Label(0.3, "kick", 1.0), Label(1.5, "kick", 1.0)])
    chunk = Chunk("a", "a", "t", "a", "CC0", "by hand", 1.0, 1.0)
    velocity = dataset.chunk_features(tmp_path, chunk, SPEC, LABELS).velocity
    assert np.flatnonzero(velocity[:, 0]).tolist() == [30]


def test_a_set_without_chunks_says_so(tmp_path):
    with pytest.raises(ValueError, match="labelgen"):
        load_features(tmp_path, SPEC, LABELS)


def test_batches_depend_on_seed_and_epoch_alone(chunks):
    def draw(seed, epoch):
        batches = Batches([load_features(chunks, SPEC, LABELS)], Augment(), 100, 4, 2, seed)
        batches.epoch = epoch
        return torch.cat([b["frames"] for b in batches])

    assert torch.equal(draw(0, 0), draw(0, 0))
    assert not torch.equal(draw(0, 0), draw(0, 1))
    assert not torch.equal(draw(0, 0), draw(1, 0))


def test_each_set_has_its_own_boldness(chunks, tmp_path):
    silent = replace(Augment(), drumless=0.0)
    sets = [load_features(chunks, SPEC, LABELS) for _ in range(2)]
    sets[1] = replace(sets[1], velocity=np.zeros_like(sets[1].velocity))  # to be told from the first
    for batch in Batches(sets, silent, 100, 8, 4, 0, boldness=(1.0, 3.0)):
        assert batch["boldness"].shape == (8, 1, len(LABELS))
        hits = batch["velocity"].amax((1, 2)) > 0
        assert torch.equal(batch["boldness"][hits].unique(), torch.ones(1))
    assert (batch["boldness"] == 3).any()
    with pytest.raises(ValueError, match="argument"):
        Batches(sets, silent, 100, 8, 4, 0, boldness=(1.0,))


def test_processes_that_are_not_forked_draw_the_same(chunks):
    batches = Batches(
        [load_features(chunks, SPEC, LABELS) for _ in range(2)], Augment(), 100, 4, 2, 0, None, (1.0, 3.0)
    )
    loaded = DataLoader(batches, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    for given, expected in zip(loaded, batches, strict=True):
        assert all(torch.equal(given[name], values) for name, values in expected.items())


def test_features_in_files_are_sent_as_the_names_of_the_files(chunks):
    features = load_features(chunks, SPEC, LABELS)
    sent = pickle.dumps(features)
    assert len(sent) < 2000
    again = pickle.loads(sent)
    for name in ("drums", "backing", "velocity", "prominence", "parts"):
        given, expected = getattr(again, name), getattr(features, name)
        assert isinstance(given, np.memmap) and given.dtype == expected.dtype
        np.testing.assert_array_equal(given, expected)
    for part in (features.drums[10:90], features.drums[::-1]):  # which are no whole files
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(replace(features, drums=part))).drums, part)


def test_where_crops_begin_is_kept_in_runs_and_drawn_as_of_all():
    rng = np.random.default_rng(0)
    for flags in (np.repeat(rng.random(300) < 0.5, 7), np.zeros(5, bool), np.ones(5, bool)):
        places, expected = Places(flags), np.flatnonzero(flags)
        assert len(places) == len(expected) and list(places) == expected.tolist()
    assert len(pickle.dumps(Places(np.ones(10**6, bool)))) < 1000
    parts = np.repeat(rng.random((80, 3)) < 0.7, 25, axis=0)
    silent, hits = np.zeros((2000, 4), np.float16), np.zeros((2000, 1), np.uint8)
    sets = [dataset.FeatureSet(silent, silent, hits, hits.astype(np.int8), p) for p in (parts, parts[::-1])]
    batches = Batches(sets, Augment(), 60, 4, 1, 0)
    for part in (0, 1):
        starts = [np.flatnonzero(s.parts[:1941, part] & s.parts[59:, part]) for s in sets]
        ours, plain = np.random.default_rng(part), np.random.default_rng(part)
        for _ in range(50):
            number, crop = batches._crop(part, ours)
            assert number == plain.choice(2, p=batches.shares[part])
            assert (crop.start, crop.stop - crop.start) == (plain.choice(starts[number]), 60)


def test_a_bold_crop_is_told_at_a_smaller_chance():
    loss = DrumLoss(0, 1.0)
    struck = torch.zeros(1, 400, 1)
    struck[0, 30::8] = 1.0  # a network that cannot tell these from their surroundings says how often they come
    best = {}
    for boldness in (1.0, 3.0):
        chances = torch.linspace(0.05, 0.95, 181)
        losses = [
            loss(torch.logit(p).expand_as(struck), struck, struck, torch.ones_like(struck), boldness)["onset"]
            for p in chances
        ]
        best[boldness] = float(chances[int(torch.stack(losses).argmin())])
    odds = {b: p / (1 - p) for b, p in best.items()}
    assert odds[3.0] == pytest.approx(3 * odds[1.0], rel=0.1)


PLAIN = Augment(naked=0, drumless=0, balance_db=6, balance_spread_db=0, tone_db=0, dark=0, noise=0, tuning=0, room=0,
                squash=0, thin=0, microphone=0, silence=0, level_db=(-20, -20))  # fmt: skip


def test_remix_keeps_to_its_balance_and_level():
    drums, backing = torch.full((2, 50, 8), -30.0), torch.full((2, 50, 8), -50.0)
    velocity = torch.ones(2, 50, 1)
    mixed = remix(drums, backing, velocity, 99 * velocity, PLAIN, np.random.default_rng(0))["frames"]
    total = 10 * torch.log10((10 ** (mixed / 10)).sum(2))
    torch.testing.assert_close(total, torch.full_like(total, -20), atol=1e-2, rtol=0)
    # drums 6 dB above backing: the mix lies 10 log10(1 + 10^-0.6) above the drums alone
    silent = remix(drums, torch.full_like(backing, -100), velocity, 99 * velocity, PLAIN, np.random.default_rng(0))
    torch.testing.assert_close(silent["frames"], mixed, atol=1e-2, rtol=0)


def test_drums_of_a_set_are_as_much_louder_as_it_says(chunks):
    drums, backing, velocity = torch.full((2, 50, 8), -30.0), torch.full((2, 50, 8), -30.0), torch.ones(2, 50, 1)
    backing[..., 4:], drums[..., :4] = -100, -100  # each has bands of its own
    frames = remix(drums, backing, velocity, 99 * velocity, PLAIN, np.random.default_rng(0), [0.0, -9.0])["frames"]
    balance = frames[..., 4:].mean((1, 2)) - frames[..., :4].mean((1, 2))
    assert balance.tolist() == pytest.approx([6, -3], abs=0.01)
    one, other = (
        next(iter(Batches([load_features(chunks, SPEC, LABELS)], PLAIN, 100, 4, 1, 0, louder_db=louder)))["frames"]
        for louder in (None, (-12.0,))
    )
    assert not torch.equal(one, other)
    with pytest.raises(ValueError, match="louder_db must be one for each"):
        TrainConfig(louder_db=(1.0, 2.0))


def test_drumless_crops_lose_drums_and_labels():
    only = replace(PLAIN, drumless=1.0)
    drums = torch.full((1, 60, 8), -100.0)
    drums[:, 30] = -10
    ones = torch.ones(1, 60, 2)
    out = remix(drums, torch.full((1, 60, 8), -40.0), ones, -99 * ones, only, np.random.default_rng(0))
    assert (out["velocity"] == 0).all() and (out["heard"] == 1).all()
    assert out["frames"].std() < 1e-3


def test_only_what_is_no_drum_booms():
    drums, backing, velocity = torch.full((8, 60, 80), -50.0), torch.full((8, 60, 80), -40.0), torch.zeros(8, 60, 5)
    for drumless, booms in ((1.0, True), (0.0, False)):
        boomy = replace(PLAIN, drumless=drumless, boomy=1.0)
        frames = remix(drums, backing, velocity, 99 * velocity, boomy, np.random.default_rng(0))["frames"]
        tilt = frames[..., :3].mean((1, 2)) - frames[..., 40:].mean((1, 2))
        assert ((tilt > 5.9) & (tilt < 28.1) if booms else tilt.abs() < 0.1).all()


def test_hits_that_drown_are_not_asked_for():
    drums, backing = torch.full((1, 60, 8), -60.0), torch.full((1, 60, 8), -60.0)
    drums[:, 20], drums[:, 40], drums[:, 50:] = -10, -35, -20
    backing[:, 30:] = -20
    velocity, prominence = torch.zeros(1, 60, 2), torch.full((1, 60, 2), 99.0)
    velocity[:, [20, 40]] = 0.5
    prominence[:, 20, 1] = -12  # under another drum
    for balance, expected in ((0, [[1, 0], [0, 0]]), (40, [[1, 0], [1, 1]])):
        plain = replace(PLAIN, balance_db=min(balance, 24), naked=float(balance > 24))
        out = remix(drums, backing, velocity, prominence, plain, np.random.default_rng(0))
        assert out["heard"][0, [20, 40]].tolist() == expected
        assert out["heard"][0, 5].tolist() == [1, 1]


def test_the_loss_passes_over_what_is_not_asked():
    velocity, heard = torch.zeros(1, 60, 1), torch.ones(1, 60, 1)
    velocity[0, [30, 45]] = 0.7
    heard[0, 30] = 0
    assert torch.nonzero(1 - asked(velocity, heard, 2)[0, :, 0]).ravel().tolist() == [30, 31, 32, 33, 34]
    near = velocity.clone()
    near[0, 32] = 0.7  # a hit that is heard takes its own surroundings back
    assert torch.nonzero(1 - asked(near, heard, 2)[0, :, 0]).ravel().tolist() == [30, 31, 32]
    loss = DrumLoss(2, 1.0)
    silent = torch.full((1, 60, 1), -8.0)
    silent[0, 47] = 8.0
    assert (
        loss(silent, velocity, velocity, heard)["onset"]
        < 0.5 * loss(silent, velocity, velocity, torch.ones_like(velocity))["onset"]
    )


def test_labels_not_claimed_complete_are_not_asked_for(tmp_path):
    samples = np.random.default_rng(0).normal(0, 0.1, studio.RATE).astype(np.float32)
    ChunkWriter(tmp_path, studio.RATE).write("a", {"": samples}, [Label(0.5, "kick", 1.0), Label(0.7, "snare", 1.0)])
    Manifest(tmp_path).add([Chunk("a", "a", "t", "a", "CC0", "four", 1.0, 1.0, details={"complete": ["kick"]})])
    features = load_features(tmp_path, SPEC, LABELS)
    assert (features.prominence[:, 0] == 99).all() and (features.prominence[:, 2] == -99).all()
    assert features.prominence[70, 1] == 99 and features.prominence[69, 1] == -99


def test_each_label_may_have_its_own_delay():
    velocity = torch.zeros(1, 12, 2)
    velocity[0, 4] = 0.5
    onset, _ = targets(velocity, delay=(1, 3))
    assert onset[0].argmax(0).tolist() == [5, 7]
    heard = torch.ones_like(velocity)
    heard[0, 4] = 0
    counts = asked(velocity, heard, (1, 3))
    assert [(counts[0, :, k] == 0).nonzero()[:, 0].tolist() for k in (0, 1)] == [[3, 4, 5, 6, 7], [5, 6, 7, 8, 9]]
    with pytest.raises(ValueError, match="3 delays for 2 labels"):
        targets(velocity, delay=(1, 2, 3))
    spec = export.default_spec(TrainConfig.from_dict({"labels": ["kick", "snare"], "delay": [1, 3]}), "two")
    assert spec.attack_offset_seconds == (0.015, 0.035)


def test_targets_are_late_by_the_delay_and_have_shoulders():
    velocity = torch.zeros(1, 10, 1)
    velocity[0, 3] = 0.8
    onset, struck = targets(velocity, delay=2)
    assert onset[0, :, 0].tolist() == [0, 0, 0, 0, 0.5, 1, 0.5, 0, 0, 0]
    assert struck[0, 4:7, 0].tolist() == pytest.approx([0.8] * 3)


def test_loss_prefers_the_truth():
    velocity = torch.zeros(1, 60, 1)
    velocity[0, 40] = 0.7
    loss = DrumLoss(1, 1.0)
    onset, struck = targets(velocity, 1)
    right = loss(torch.logit(onset.clamp(1e-3, 1 - 1e-3)), struck, velocity, torch.ones_like(velocity))
    wrong = loss(torch.zeros(1, 60, 1), torch.zeros(1, 60, 1), velocity, torch.ones_like(velocity))
    assert right["loss"] < 0.2 * wrong["loss"] and right["velocity"] < 1e-9


def test_a_label_of_little_importance_moves_the_network_little():
    velocity = torch.zeros(1, 60, 2)
    velocity[0, 40] = 0.7
    logits = torch.zeros(1, 60, 2, requires_grad=True)
    parts = DrumLoss(1, 1.0, importance=(1.0, 0.25))(logits, velocity, velocity, torch.ones_like(velocity))
    parts["loss"].backward()
    assert logits.grad[0, WARMUP:, 1] == pytest.approx(0.25 * logits.grad[0, WARMUP:, 0])
    assert logits.grad.abs().max() > 0


def test_a_stopped_run_goes_on_and_ends_the_same_wherever_its_folder_is(chunks, tmp_path):
    def weights(out, stops):
        out.mkdir()
        for steps in stops:  # the schedule's length is part of the run: a stop is a limit on epochs
            config = json.loads(arguments_json(chunks, out))
            task = DrumTask(config)
            trainer = train.trainer_for(TrainConfig.from_dict(config), out, "32-true", "cpu", True, steps)
            last = out / "last.ckpt"
            trainer.fit(task, Mixes(TrainConfig.from_dict(config)),
                        ckpt_path=str(last) if last.exists() else None)  # fmt: skip
            out = out.rename(out.with_name(f"{out.name}-{steps}"))
            assert [path.name for path in out.glob("last*")] == ["last.ckpt"]
        return DrumTask.load_from_checkpoint(out / "last.ckpt", weights_only=True).network.state_dict()

    whole = weights(tmp_path / "whole", [40])
    parts = weights(tmp_path / "parts", [20, 40])
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, msg=name)


def arguments_json(chunks, out):
    arguments(chunks, out, steps=40)
    values = json.loads((out / "config.json").read_text())
    return json.dumps(asdict(TrainConfig.from_dict({**values, "sizes": {"channels": 8, "dilations": [1]}})))


def test_checkpoint_carries_its_configuration(run):
    task = DrumTask.load_from_checkpoint(run / "last.ckpt", map_location="cpu", weights_only=True)
    assert task.config.labels == LABELS and task.config.features == SPEC
    assert task.network.config.channels == 24


def test_weights_alone_are_a_checkpoint_to_begin_from(model, run, chunks, tmp_path):
    weights = run / "weights.ckpt"
    assert weights.stat().st_size < (run / "last.ckpt").stat().st_size / 2
    given = DrumTask.load_from_checkpoint(weights, map_location="cpu", weights_only=True)
    last = DrumTask.load_from_checkpoint(run / "last.ckpt", map_location="cpu", weights_only=True)
    for a, b in zip(given.network.state_dict().values(), last.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    begun = arguments(chunks, tmp_path, steps=2)
    assert train.main([*begun, "--init", str(weights)]) == 0


def test_a_name_is_not_used_for_two_runs(chunks, tmp_path, capsys):
    command = arguments(chunks, tmp_path, steps=2)
    assert train.main(command) == 0
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    capsys.readouterr()
    assert train.main(command) == 0
    assert "already been trained for all of its 2 steps" in capsys.readouterr().out
    assert train.main([*command, "--steps", "4", "--rate", "0.02"]) == 2
    message = capsys.readouterr().err
    assert "rate, steps" in message and "--name" in message
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], "settings by name"),
        ({"augment": {"loudness": 1}}, "loudness"),
        ({"steps": "many"}, "steps"),
        ({"train": "a-set"}, "train must be a list of folders, not 'a-set'"),
        ({"seconds": 0}, "seconds"),
        ({"delay": [1, 2]}, "delay"),
        ({"delay": -1}, "delay"),
        ({"seed": -1}, "seed"),
        ({"batch": True}, "batch"),
        ({"batch": 2.5}, "batch"),
        ({"seed": True}, "seed"),
        ({"rate": float("inf")}, "rate"),
        ({"seconds": 0.2}, "seconds must be 0.21 or more"),
        ({"seconds": 0.4, "delay": 40}, "seconds must be 0.41 or more"),
        ({"weights": [1.0, 2.0]}, "weights must be one for each of the 1 sets of train"),
        ({"boldness": [1.0, 2.0]}, "boldness"),
        ({"weights": 1.0}, "weights"),
        ({"augment": {"level_db": [0, -20]}}, "level_db"),
        ({"augment": {"level_db": -20}}, "level_db"),
        ({"augment": {"level_db": ["low", "high"]}}, "level_db"),
        ({"augment": {"naked": "often"}}, "naked must be a number"),
        ({"augment": 3}, "augment"),
        ({"features": 3}, "features"),
        ({"labels": "kick"}, "labels"),
        ({"labels": []}, "labels"),
        ({"architecture": 1}, "architecture"),
        ({"sizes": [1]}, "sizes"),
        ({"sizes": {"architecture": "gru"}}, "sizes"),
        ({"delay": ["1", "1", "1", "1", "1"]}, "delay"),
        ({"delay": 1.5}, "delay"),
        ({"delay": True}, "delay"),
        ({"weights": ["1"]}, "weights must be numbers"),
        ({"louder_db": [None]}, "louder_db must be numbers"),
        ({"boldness": [[1.0, 2.0]]}, "boldness must be numbers, or one for each label"),
        ({"positive": -1}, "positive must be a number, 0 or more, not -1"),
        ({"velocity": "0.3"}, "velocity"),
        ({"order": float("nan")}, "order"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"average": 1.5}, "average must be a number from 0 to 1"),
        ({"importance": [1, 1]}, "importance must be numbers, 0 or more, one for each of kick, snare"),
        ({"importance": [1, 1, 1, 1, -1]}, "importance must be numbers, 0 or more"),
        ({"importance": 2}, "importance"),
    ],
)
def test_wrong_settings_cost_a_line(tmp_path, capsys, values, message):
    (tmp_path / "c.json").write_text(json.dumps(values))
    assert train.main(["--config", str(tmp_path / "c.json"), "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr().err
    assert message in captured and captured.count("\n") == 1
    assert restore.main(["none.onnx", "--config", str(tmp_path / "c.json"), "--out", str(tmp_path / "x.ckpt")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sizes": {"channels": "many"}}, "tcn: "),
        ({"architecture": "ensemble", "sizes": {"members": [1]}}, "members must be a list of sizes by name"),
    ],
)
def test_sizes_that_no_network_can_have_cost_a_line(tmp_path, capsys, values, message):
    (tmp_path / "c.json").write_text(json.dumps(values))
    assert train.main(["--config", str(tmp_path / "c.json"), "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--seed", "-1", "train.py: error: argument --seed"), ("--workers", "-1", "train.py: error: argument --workers"),
     ("--out", "a-file/below", "train: [Errno 20] Not a directory: 'a-file")],
)  # fmt: skip
def test_wrong_options_cost_a_line(chunks, tmp_path, monkeypatch, capsys, option, value, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    (tmp_path / "a-file").touch()
    asked = arguments(chunks, tmp_path, steps=2)
    capsys.readouterr()
    try:
        code = train.main([*asked, option, value])
    except SystemExit as end:  # of argparse
        code = end.code
    assert code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_passed_over_for_the_one_beside_it(chunks, tmp_path, capsys):
    command = arguments(chunks, tmp_path, steps=2)
    assert train.main(command) == 0
    (tmp_path / "run" / "last.ckpt").write_bytes(b"")
    capsys.readouterr()
    assert train.main(command) == 0
    assert f"{tmp_path / 'run' / 'step=2.ckpt'}: has already been trained" in capsys.readouterr().out
    (tmp_path / "run" / "step=2.ckpt").write_bytes(b"")
    assert train.main(command) == 2
    assert "last.ckpt: not a checkpoint" in capsys.readouterr().err


def test_a_run_goes_on_beside_a_damaged_checkpoint(chunks, tmp_path, monkeypatch, capsys):
    command = arguments(chunks, tmp_path, steps=40)
    with monkeypatch.context() as patch:
        patch.setattr(train, "trainer_for", partial(stopped_after, train.trainer_for, 20))
        assert train.main(command) == 0
    (tmp_path / "run" / "last.ckpt").write_bytes(b"")
    capsys.readouterr()
    assert train.main(command) == 0
    assert f"missing or damaged: going on from {tmp_path / 'run' / 'step=20.ckpt'}" in capsys.readouterr().err
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 40


def stopped_after(make, steps, *given):
    """Return the trainer of a run that ends early."""
    return make(*given[:5], steps, *given[6:])


def test_checkpoints_pass_through_no_other_folder(chunks, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert train.main(arguments(chunks, tmp_path, steps=2)) == 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.json", "last.ckpt", "log", "step=2.ckpt"]  # fmt: skip


def test_a_full_disk_costs_a_line(chunks, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    command = arguments(chunks, tmp_path, steps=2)
    capsys.readouterr()
    assert train.main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"train: {tmp_path / 'run'}: ") and "No space left" in error and "first epoch" in error
    assert not [path for path in (tmp_path / "run").iterdir() if path.suffix in (".ckpt", ".part")]


def test_damaged_sounds_and_labels_are_named(model, run, chunks, tmp_path, capsys):
    damaged = shutil.copytree(chunks, tmp_path / "damaged", ignore=shutil.ignore_patterns("features"))
    for name in ("grid-1.flac", "grid-1.drums.flac"):
        content = bytearray((damaged / name).read_bytes())
        middle = len(content) // 2
        content[middle : middle + 3000] = bytes(3000)
        (damaged / name).write_bytes(content)
    train_it = arguments(damaged, tmp_path, steps=2)
    out = str(tmp_path / "x.ckpt")
    for script, options, name in (
        (train, train_it, "grid-1.drums.flac"),
        (calibrate, [str(model), str(damaged)], "grid-1.flac"),
        (survey, [str(run / "weights.ckpt"), str(damaged), "--out", out], "grid-1.flac"),
    ):
        capsys.readouterr()
        assert script.main(options) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert str(damaged / name) in error and "make the chunk again" in error
    for velocity, time in (("100", "0.5"), ("0.5", "nan")):
        (damaged / "grid-0.tsv").write_text(f"time\tlabel\tvelocity\n{time}\tkick\t{velocity}\n")
        assert train.main(train_it) == 2
        assert str(damaged / "grid-0.tsv") in capsys.readouterr().err.splitlines()[-1]


def test_sets_are_looked_over_before_features_are_computed(tmp_path, capsys):
    sounds = {"": np.zeros(studio.RATE, np.float32), "drums": np.zeros(studio.RATE, np.float32)}
    for name, stems, seconds in (
        ("mixes", (), 1.0), ("only-drums", ("drums",), 1.0), ("no-drums", ("backing",), 1.0), ("short", (), 0.3),
    ):  # fmt: skip
        ChunkWriter(tmp_path / name, studio.RATE).write("a", sounds, [])
        about = Chunk("a", "a", "test", "a", "CC0", "silence", 1.0, seconds, stems)
        Manifest(tmp_path / name).add([about])
    for values, message in (
        ({"train": ["gone", "mixes"], "valid": ["lost"]}, f"no chunks in {tmp_path}/gone, {tmp_path}/lost; make"),
        ({"train": ["mixes", "only-drums"]}, "no set of train has accompaniment without drums"),
        ({"train": ["mixes", "no-drums"], "valid": ["mixes"]}, "no set of valid has accompaniment without drums"),
        ({"train": ["no-drums"]}, "no set of train has drums"),
        ({"train": ["short"]}, "no set of train is as long as a crop (0.5 s)"),
    ):
        values = {use: [str(tmp_path / name) for name in sets] for use, sets in values.items()}
        (tmp_path / "c.json").write_text(json.dumps(values | {"seconds": 0.5}))
        assert train.main(["--config", str(tmp_path / "c.json"), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not list(tmp_path.glob("*/features"))


def test_sets_too_short_for_a_crop_are_named(chunks, tmp_path, capsys):
    short = studio.chunk_set(tmp_path / "short", count=1, seconds=1.0)
    assert train.main([*arguments(chunks, tmp_path, steps=2), "--train", str(chunks), str(short)]) == 0
    assert f"not used, shorter than a crop of 2 s: {short}\n" in capsys.readouterr().err


@pytest.mark.parametrize("steps", [1, 5, 9, 10, 100])
def test_a_training_of_any_length_has_a_schedule(steps):
    task = DrumTask(asdict(TrainConfig(**SMALL, steps=steps, rate=0.1)))
    (optimiser,), (plan,) = task.configure_optimizers()
    schedule, rates = plan["scheduler"], []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    assert all(0 < rate <= 0.1 for rate in rates) and max(rates) > 0.04


def test_training_goes_on_from_a_model_file(model, run, chunks, tmp_path, capsys):
    given = [str(model), "--config", str(run / "config.json"), "--out", str(tmp_path / "again.ckpt")]
    assert restore.main(given) == 0
    network = DrumTask.load_from_checkpoint(tmp_path / "again.ckpt", weights_only=True).network
    file = restored(model)
    batch = next(iter(Batches([load_features(chunks, SPEC, LABELS)], Augment(), 200, 8, 1, 0)))["frames"]

    def answers(heard):
        return heard(batch, heard.init_state(len(batch)))[0]

    with torch.no_grad():
        expected = answers(file.eval())
        torch.testing.assert_close(answers(network.eval()), expected, atol=1e-3, rtol=1e-3)
        for each in (network, file):
            each.train()
            for module in each.modules():
                if isinstance(module, torch.nn.Dropout1d):
                    module.eval()
        # normalised by the batch, it is near to what it was; the file's network is not
        assert (answers(network) - expected).abs().mean() < 0.3 * (answers(file) - expected).abs().mean()
    assert restore.main([str(run / "config.json"), *given[1:]]) == 2


def test_a_network_is_restored_with_the_sizes_of_its_file(surveyed, run, tmp_path, capsys):
    deep, out = tmp_path / "deep.onnx", tmp_path / "again.ckpt"
    assert export.main([str(surveyed), "--depth-db", "30", "--out", str(deep)]) == 0
    config = json.loads((run / "config.json").read_text()) | {"sizes": {"channels": 8, "dropout": 0.3}}
    (tmp_path / "c.json").write_text(json.dumps(config))
    given = [str(deep), "--config", str(tmp_path / "c.json"), "--out", str(out)]
    capsys.readouterr()
    assert restore.main(given) == 0
    assert "depth_db" in capsys.readouterr().out  # which the configuration does not have
    own, file = load_task(out).network.config, restored(deep).config
    assert own == replace(file, dropout=0.3) and (file.depth_db, file.timbre, file.channels) == (30, 6, 24)
    samples = np.random.default_rng(0).normal(-50, 15, (60, SPEC.bands)).astype(np.float32)
    answers = (hear(network, samples)[0] for network in (load_task(out).network.eval(), restored(deep)))
    np.testing.assert_allclose(*answers, atol=1e-3)


def test_what_cannot_be_restored_costs_a_line(model, run, tmp_path, capsys):
    out = tmp_path / "again.ckpt"
    broken = studio.chunk_set(tmp_path / "set", count=1)
    (broken / "grid-0.drums.flac").write_bytes(b"fLaC, damaged")
    for change, message in (
        ({"labels": ["snare", "kick", "hihat"]}, "labels"),
        ({"features": asdict(replace(SPEC, f_max=12000.0))}, "features"),
        ({"train": [str(broken)]}, "grid-0.drums.flac"),
    ):
        (tmp_path / "c.json").write_text(json.dumps(json.loads((run / "config.json").read_text()) | change))
        capsys.readouterr()
        assert restore.main([str(model), "--config", str(tmp_path / "c.json"), "--out", str(out)]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("restore: ") and message in error
    assert not out.exists()


def test_training_learns_the_grid(model, chunks):
    spec = Detector.load(model, sample_rate=44100).spec
    assert isinstance(spec, ModelSpec) and spec.name == "grid"
    tracks = []
    for chunk in Manifest(chunks).chunks():
        detector = Detector.load(model, sample_rate=44100, labels=LABELS)
        events, seconds = evaluate.detect(detector, chunks / f"{chunk.name}.flac")
        tracks.append(evaluate.Track(chunk.name, seconds, read_labels(chunks / f"{chunk.name}.tsv"), events))
    figures = evaluate.score(tracks, LABELS)["labels"]["all"]
    assert figures["50ms"]["F"] > 0.85
    assert 0 <= figures["delay_ms"]["median"] < 30
    assert abs(figures["bias_ms"]) < 6


def test_an_export_that_differs_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "PARITY", -1.0)
    with pytest.raises(RuntimeError, match="differs from torch"):
        export.main([str(run / "last.ckpt"), "--out", str(tmp_path / "m.onnx")])
    assert not list(tmp_path.iterdir())


def test_calibration_chooses_the_best_threshold_and_the_bias():
    spec = ModelSpec("t", ("kick",), ("kick",), FeatureSpec(), (44100,), (0.9,), (0.03,), (0.0,))
    onsets = np.full((400, 1), 0.02, np.float32)
    labels = []
    for k in range(20, 380, 40):
        onsets[k] = 0.6  # reported at (k + 1) * 10 ms, 23 ms after the hit
        onsets[k + 20] = 0.3  # a false one, lower
        labels.append(Label((k + 1) * 0.01 - 0.023, "kick", 1.0))
    spec, ((threshold, counted, offset),) = calibrate.calibrate(spec, [(onsets, labels, 44100)])
    assert 0.3 < threshold <= 0.6 and counted == Count(len(labels), 0, 0)
    assert offset == pytest.approx(0.023, abs=1e-3) and spec.attack_offset_seconds == (0.023,)


def test_calibration_excuses_hits_that_drown():
    spec = ModelSpec("t", ("kick",), ("kick",), FeatureSpec(), (44100,), (0.9,), (0.03,), (0.0,))
    onsets = np.full((200, 1), 0.02, np.float32)
    onsets[[50, 100]] = 0.6
    labels = [Label(0.5, "kick", 1.0), Label(1.0, "kick", 0.1, -20.0), Label(1.5, "kick", 0.1, -20.0)]
    _, ((_, counted, _),) = calibrate.calibrate(spec, [(onsets, labels, 44100)])
    assert counted == Count(1, 0, 0)


def test_evaluation_excuses_hits_that_drown_or_are_doubted():
    hits = [Label(0.5, "kick", 1.0), Label(1.0, "kick", 0.1, -20.0), Label(1.5, "kick", 0.1, DOUBTED)]
    events = [Event("kick", 1, 1, round(44100 * t), round(44100 * (t + 0.02)), 44100) for t in (0.51, 1.01, 3.0)]
    figures = evaluate.score([evaluate.Track("a", 4.0, hits, events)], ["kick"])
    for window in ("50ms", "25ms"):
        row = figures["labels"]["kick"][window]
        assert (row["tp"], row["fp"], row["fn"]) == (1, 1, 0)
    assert figures["labels"]["kick"]["bias_ms"] == pytest.approx(10, abs=0.1)
    assert figures["labels"]["kick"]["delay_ms"]["median"] == pytest.approx(30, abs=0.1)
    heard = [event.time for event in events]
    assert count(hits[:1], heard, 0.05)[0] == match([0.5], heard, 0.05)[0] == Count(1, 2, 0)


def test_calibration_keeps_what_it_cannot_choose(model, chunks, tmp_path, capsys):
    spec = ModelSpec("t", ("kick",), ("kick",), FeatureSpec(), (44100,), (0.9,), (0.03,), (0.01,))
    kept, ((threshold, _, offset),) = calibrate.calibrate(spec, [(np.full((200, 1), 0.5, np.float32), [], 44100)])
    assert (threshold, offset) == (0.9, 0.01) and kept == spec
    before = model.read_bytes()
    assert calibrate.main([str(model), str(chunks), "--balance", "60"]) == 2
    assert "--balance" in capsys.readouterr().err
    first, *_ = Manifest(chunks).chunks()
    part = tmp_path / "part"
    ChunkWriter(part, 44100).write(first.name, {"": np.zeros(44100, np.float32)}, [Label(0.5, "kick", 1.0)])
    Manifest(part).add([replace(first, stems=(), details={"complete": ["kick"]})])
    assert calibrate.main([str(model), str(part)]) == 2
    assert "hihat, snare" in capsys.readouterr().err
    assert model.read_bytes() == before
    assert calibrate.main([str(model), str(chunks), "--out", str(tmp_path / "few.onnx"), "--limit", "1"]) == 0
    out, err = capsys.readouterr()
    assert "hits" in out and "too few hits to rely on: kick (" in err


def test_match_is_one_to_one():
    assert match([], [1.0], 0.05) == (Count(0, 1, 0), []) and match([], [], 0.05) == (Count(), [])
    counted, pairs = match([1.0, 1.04], [1.02, 1.03, 5.0], 0.05)
    assert counted == Count(2, 1, 0) and len(pairs) == 2
    assert (counted + Count(0, 0, 1)).recall == pytest.approx(2 / 3)


def test_evaluate_reads_both_label_forms(tmp_path):
    (tmp_path / "a.txt").write_text("0.5 KD\n0.75\tOT\n")
    assert evaluate.read_truth(tmp_path / "a.txt") == [Label(0.5, "kick", 1.0), Label(0.75, "other", 1.0)]
    (tmp_path / "b.tsv").write_text("time\tlabel\tvelocity\n0.5\thihat\t0.25\n")
    assert evaluate.read_truth(tmp_path / "b.tsv") == [Label(0.5, "hihat", 0.25)]


def test_evaluate_reads_labels_of_other_programs(tmp_path):
    (tmp_path / "a.txt").write_text(
        "\ufefftime,label\n0.5\t0.6\tkick\n\\\t100.0\t200.0\n# x\n0.75\t0.75\tSnare Drum\n1.0; hi-hat closed\n"
    )
    assert [(x.time, x.label) for x in evaluate.read_truth(tmp_path / "a.txt")] == [
        (0.5, "kick"),
        (0.75, "snare"),
        (1.0, "hihat"),
    ]


def test_evaluate_tells_what_it_leaves_out(tmp_path, capsys):
    for name in ("a.wav", "b.wav", "a.txt"):
        (tmp_path / name).write_text("0.5 KD\n")
    assert evaluate.find(tmp_path, tmp_path) == [(tmp_path / "a.wav", tmp_path / "a.txt")]
    assert f"left out, no labels (.tsv or .txt): {tmp_path / 'b.wav'}\n" in capsys.readouterr().err


def test_evaluate_takes_every_form_of_recording(tmp_path):
    for suffix in RECORDINGS:
        (tmp_path / f"{suffix[1:]}{suffix}").touch()
        (tmp_path / f"{suffix[1:]}.txt").touch()
    assert {recording.suffix for recording, _ in evaluate.find(tmp_path, tmp_path)} == set(RECORDINGS)


def test_evaluate_names_what_it_cannot_read(model, tmp_path, capsys):
    for content, labels, message in (
        (b"no sound", "0.5 KD\n", "a.wav"),
        (None, "time class\n", "a.txt: no line begins with a time"),
        (None, "0.5 KD\n0.75\n", "a.txt, line 2"),
        (None, "0.5\t0.6\n", "a.txt, line 1"),
        (None, "0.5 quux\n0.6 zork\n", "a.txt: none of its classes (quux, zork) is of kick, snare"),
    ):
        sf.write(tmp_path / "a.wav", np.zeros(4410), 44100)
        if content:
            (tmp_path / "a.wav").write_bytes(content)
        (tmp_path / "a.txt").write_text(labels)
        assert evaluate.main(["--model", str(model), "--audio", str(tmp_path), "--only", *LABELS]) == 2
        assert message in capsys.readouterr().err


def test_evaluate_gives_the_figures_of_what_it_can_read(model, chunks, tmp_path, monkeypatch, capsys):
    for name in ("grid-0", "grid-1"):
        for file in (f"{name}.flac", f"{name}.tsv"):
            shutil.copy(chunks / file, tmp_path)
    content = (tmp_path / "grid-1.flac").read_bytes()
    (tmp_path / "grid-1.flac").write_bytes(content[: len(content) // 2] + bytes(3000))
    out = tmp_path / "figures.json"
    command = ["--model", str(model), "--audio", str(tmp_path), "--only", *LABELS, "--json", str(out)]
    assert evaluate.main(command) == 2
    captured = capsys.readouterr()
    assert "left out: " in captured.err and "grid-1.flac" in captured.err and "kick" in captured.out
    assert list(json.loads(out.read_text())["tracks"]) == ["grid-0"]
    (tmp_path / "grid-1.tsv").write_text("time\n")
    monkeypatch.setattr(evaluate, "detect", lambda *_: pytest.fail("heard before all labels were read"))
    assert evaluate.main(command) == 2
    assert "grid-1.tsv" in capsys.readouterr().err


def test_calibration_refuses_a_weight_that_is_no_number(model, chunks, capsys):
    for beta in ("nan", "0", "inf"):
        with pytest.raises(SystemExit) as stopped:
            calibrate.main([str(model), str(chunks), "--beta", beta])
        assert stopped.value.code == 2 and "--beta" in capsys.readouterr().err


def test_classes_of_others_are_other_percussion_and_told(tmp_path, capsys):
    (tmp_path / "a.tsv").write_text("time\tlabel\tvelocity\n0.5\tkick\t1\n\n0.9\tKick\t1\n1.1\tcowbell\t1\n")
    assert [x.label for x in evaluate.read_truth(tmp_path / "a.tsv")] == ["kick", "other", "other"]
    assert "a.tsv: counted as other percussion: Kick, cowbell\n" in capsys.readouterr().err


def test_evaluate_prints_the_figures(model, chunks, tmp_path, capsys):
    out = tmp_path / "new" / "figures.json"
    code = evaluate.main(["--model", str(model), "--audio", str(chunks), "--only", *LABELS, "--json", str(out)])
    assert code == 0
    assert "kick" in capsys.readouterr().out
    assert json.loads(out.read_text())["labels"]["all"]["50ms"]["F"] > 0.8


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (train, ["--train", "nowhere"]),
        (export, ["nowhere.ckpt"]),
        (calibrate, ["nowhere.onnx", "nowhere"]),
        (evaluate, ["--model", "nowhere.onnx", "--audio", "nowhere"]),
    ],
)
def test_missing_inputs_give_a_line_and_code_2(script, arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert script.main(arguments) == 2
    assert "nowhere" in capsys.readouterr().err


def test_config_names_are_checked():
    with pytest.raises(ValueError, match="unknown settings: stepz"):
        TrainConfig.from_dict({"stepz": 3})
    config = TrainConfig(augment=replace(Augment(), level_db=(-3.0, 0.0)))
    assert TrainConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


SMALL = {"sizes": {"channels": 8, "dilations": [1, 2]}, "features": SPEC, "labels": LABELS, "delay": 2}


def small(path, **settings):
    """Write the checkpoint of a small network; return its path."""
    write_checkpoint(checkpoint(DrumTask(asdict(TrainConfig(**{**SMALL, **settings})))), path)
    return path


def test_average_is_the_mean_of_the_weights(tmp_path):
    first = small(tmp_path / "a.ckpt", steps=10)
    second = small(tmp_path / "b.ckpt", seed=1, steps=20, train=("others",), weights=(2.0,), delay=(2, 2, 2))
    mean = average.average([first, second])
    a, b = (load_task(path) for path in (first, second))
    for name, value in a.state_dict().items():
        expected = (value + b.state_dict()[name]) / 2 if value.is_floating_point() else value
        torch.testing.assert_close(mean["state_dict"][name], expected)
    assert mean["hyper_parameters"]["config"] == asdict(a.config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": {"channels": 8, "dilations": [2, 1]}}, "another network"),
        ({"sizes": {"channels": 9, "dilations": [1, 2]}}, "another network"),
        ({"labels": ("snare", "kick", "hihat")}, "labels"),
        ({"delay": 3}, "delay"),
        ({"features": replace(SPEC, f_max=12000.0)}, "features"),
    ],
)
def test_networks_that_hear_or_say_other_things_have_no_mean(tmp_path, capsys, settings, message):
    paths = small(tmp_path / "a.ckpt"), small(tmp_path / "b.ckpt", **settings)
    assert average.main([*map(str, paths), "--out", str(tmp_path / "mean.ckpt")]) == 2
    error = capsys.readouterr().err
    assert "b.ckpt" in error and message in error and error.count("\n") == 1
    assert not (tmp_path / "mean.ckpt").exists()


def test_training_begins_with_weights_of_the_same_labels_and_dilations_only(tmp_path):
    given = load_task(small(tmp_path / "a.ckpt", sizes={**SMALL["sizes"], "dropout": 0.3}))
    take_weights(DrumTask(asdict(TrainConfig(**SMALL | {"delay": 12}))), given)
    for other in ({"sizes": {"channels": 8, "dilations": [2, 1]}}, {"labels": ("snare", "kick", "hihat")}):
        task = DrumTask(asdict(TrainConfig(**SMALL | other)))
        with pytest.raises(ValueError, match="another network"):
            take_weights(task, given)


def test_networks_that_answer_together_are_a_checkpoint_like_any_other(tmp_path):
    paths, tasks = [], []
    for seed, (architecture, channels) in enumerate((("tcn", 8), ("convtcn", 12))):
        config = TrainConfig(architecture=architecture, sizes={"channels": channels}, delay=2, seed=seed)
        tasks.append(DrumTask(asdict(config)).eval())
        paths.append(tmp_path / f"{architecture}.ckpt")
        torch.save(
            {
                "state_dict": tasks[-1].state_dict(),
                "hyper_parameters": dict(tasks[-1].hparams),
                "pytorch-lightning_version": lightning.__version__,
            },
            paths[-1],
        )
    both = tmp_path / "both.ckpt"
    assert average.main(["--answers", *map(str, paths), "--out", str(both)]) == 0
    loaded = DrumTask.load_from_checkpoint(both, map_location="cpu", weights_only=True).eval()
    x = torch.randn(1, 40, loaded.config.features.bands) * 15 - 60

    def onset(network):
        return torch.sigmoid(network(x, network.init_state())[0])

    with torch.no_grad():
        expected = sum(onset(task.network) for task in tasks) / 2
        torch.testing.assert_close(onset(loaded.network), expected, atol=1e-6, rtol=0)
    onnx = tmp_path / "both.onnx"
    assert export.main([str(both), "--out", str(onnx)]) == 0  # which compares the two
    assert Detector.load(onnx, sample_rate=44100).labels == ("kick", "snare", "hihat")
    other = torch.load(paths[0], weights_only=True)
    other["hyper_parameters"]["config"]["delay"] = 1
    torch.save(other, paths[0])
    with pytest.raises(ValueError, match=r"delays are \(2, .*, those of .* \(1, "):
        average.together(paths)


def test_networks_of_other_sets_answer_together_with_the_boldness_of_neither(tmp_path):
    first = small(tmp_path / "a.ckpt", train=("one",), weights=(2.0,), boldness=(3.0,))
    second = small(tmp_path / "b.ckpt", train=("two",))
    both = tmp_path / "both.ckpt"
    assert average.main(["--answers", str(first), str(second), "--out", str(both)]) == 0
    config = load_task(both).config
    assert (config.train, config.weights, config.boldness) == (("one", "two"), (), ())


def test_a_crop_may_begin_in_silence_and_nothing_is_asked_where_a_hit_is_cut():
    drums, backing = torch.full((8, 200, 20), -20.0), torch.full((8, 200, 20), -30.0)
    velocity = torch.zeros(8, 200, 2)
    velocity[:, ::2] = 0.5
    mixed = remix(drums, backing, velocity, 99 * velocity, replace(PLAIN, silence=1.0), np.random.default_rng(0))
    for frames, struck, heard in zip(mixed["frames"], mixed["velocity"], mixed["heard"], strict=True):
        silent = frames.amax(1) <= -99
        start = int((~silent).nonzero()[0])
        assert 20 <= start <= 120 and silent[:start].all() and not silent[start:].any()
        assert (struck[:start] == 0).all() and (struck[start:] > 0).any()
        assert heard[: start - 3].all() and not heard[start - 3 : start].any()


def test_bfloat16_only_where_the_machine_computes_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert precision("auto") == precision("cpu") == "bf16-mixed"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert precision("cpu") == "32-true"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert precision("auto") == "bf16-mixed" and precision("cpu") == "32-true"


def test_sets_that_are_gone_are_not_passed_over(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"train": [str(tmp_path / "gone")]}))
    assert provenance.main([str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "gone: no chunks" in captured.err and not captured.out


def test_manifests_without_licences_are_named(tmp_path):
    (tmp_path / "m.csv").write_text("path,source\na.wav,me\n", encoding="utf-8-sig")
    with pytest.raises(ValueError, match=r"m\.csv: the manifest lacks the columns licence"):
        provenance.licences([tmp_path / "m.csv"])
    (tmp_path / "m.csv").write_text("source,licence\nme,CC0\nme,MIT\n", encoding="utf-8-sig")
    assert provenance.licences([tmp_path / "m.csv"]) == {"me": "CC0, MIT"}


def test_licences_of_many_chunks_are_named_once_each():
    chunks = [
        Chunk(f"c{k}", "u", "songs", "s", licence, "midi", 1.0, 400.0) for k, licence in enumerate(("A; B", "B; C"))
    ]
    assert "| songs | midi | 0.22 | A, B, C |" in provenance.tables(chunks, {}).splitlines()
