"""Songs become labelled chunks: separated by a real demucs model, cut into shreds, named by a net trained here."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import studio

pytest.importorskip("torch")
pytest.importorskip("librosa")
pytest.importorskip("pedalboard")

import torch

from benchmarks import label_quality
from dance.labels import LABELS
from labelgen import audio, packs, recordings, shreds
from labelgen.chunks import Label, Manifest, read_labels
from labelgen.material import Item, read_manifest
from training import shred_bank, shred_data, shred_exam, train_shreds
from training.score import Count, match
from training.shred_resume import read_networks

RATE = studio.RATE
SHARED = Path(os.environ.get("DANCE_SHARED", Path(__file__).parents[3] / "shared"))


def grid(folder, name="grid-0"):
    drums, _ = sf.read(folder / f"{name}.drums.flac", dtype="float32")
    return drums, read_labels(folder / f"{name}.tsv")


def found(truth, labels, window=0.02):
    counts = Count()
    for name in LABELS:
        times = ([x.time for x in rows if x.label == name] for rows in (truth, labels))
        counts += match(*map(sorted, times), window)[0]
    return counts


@pytest.fixture(scope="module")
def chunks(tmp_path_factory):
    return studio.chunk_set(tmp_path_factory.mktemp("material") / "set", 4)


@dataclass(frozen=True)
class Narrow(train_shreds.ShredConfig):
    """A network for which few steps are short ones, too."""

    channels: tuple[int, int, int, int] = (12, 24, 24, 48)


def learn(folder, chunks, *extra):
    """Train narrow networks by the command line, on the spot."""
    arguments = ["--oneshots", folder / "shots" / "manifest.csv", "--chunks", chunks, "--music", chunks]
    arguments += ["--validate", chunks, "--passages", 12, "--unseen", 3, "--nets", 1, "--jobs", 1]
    arguments += ["--cache", folder / "cache", *extra]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_shreds, "ShredConfig", Narrow)
        patch.setattr(train_shreds, "MACHINES", 2)  # hardly a kit but those that it is asked about
        patch.setattr(shred_data, "MADE", 0)
        assert train_shreds.main([str(x) for x in arguments]) == 0


@pytest.fixture(scope="module")
def classifier(tmp_path_factory, chunks):
    folder = tmp_path_factory.mktemp("classifier")
    studio.one_shots(folder / "shots")
    learn(folder, chunks, "--steps", 150, "--out", folder / "s.onnx")
    return folder / "s.onnx"


@pytest.fixture(scope="module")
def separator(tmp_path_factory, chunks):
    """Train a demucs model that tells the grid's drums from its hum, and put it where demucs looks."""
    demucs = pytest.importorskip("demucs.demucs")
    from demucs.utils import center_trim

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = demucs.Demucs(["drums", "other"], channels=16, depth=3, growth=1.5, dconv_mode=0, resample=False,
                          normalize=False, segment=4)  # fmt: skip
    parts = np.stack([[sf.read(chunks / f"grid-{k}.{stem}.flac", dtype="float32")[0] for stem in ("drums", "backing")]
                      for k in range(3)])  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(120):
        starts = rng.integers(parts.shape[2] - RATE // 2, size=4)
        batch = torch.from_numpy(np.stack([parts[rng.integers(3), :, s : s + RATE // 2] for s in starts]))
        batch = (batch / batch.sum(1).std())[:, :, None].expand(-1, -1, 2, -1)
        estimate = model(batch.sum(1))
        loss = (estimate - center_trim(batch, estimate)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    args, kwargs = model._init_args_kwargs
    repo = tmp_path_factory.mktemp("repo")
    package = {"klass": demucs.Demucs, "args": args, "kwargs": kwargs, "state": model.state_dict()}
    torch.save(package, repo / "tiny.th")
    return repo


def run(out, *arguments):
    return audio.main([*map(str, arguments), "--out", str(out), "--jobs", "1"])


# -- packs


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("Kick 01", "kick"),
        ("909BD_long", "kick"),
        ("BassDrum-2", "kick"),
        ("Kick_OH", "kick"),
        ("SNR_tight", "snare"),
        ("Snares", "snare"),
        ("HandClap808", "clap"),
        ("snare side stick", "rim"),
        ("Hi-Hat Closed 3", "hat_closed"),
        ("closedHat", "hat_closed"),
        ("CH_07", "hat_closed"),
        ("OpenHiHat", "hat_open"),
        ("HHpedal", "hat_pedal"),
        ("floor tom", "tom"),
        ("RideBell", "ride"),
        ("Crash_L", "crash"),
        ("china 18", "cymbal"),
        ("CowBell", "perc"),
        ("Vinyl noise", ""),
        ("Hatred pad", ""),
    ],
)
def test_names_tell_classes(name, cls):
    assert packs.class_of(name) == cls


def test_sounds_that_a_manifest_misread_are_read_as_what_they_are(tmp_path):
    rows = [
        ("a/14a_basic_ss_vl1_rr2.flac", "snare", "frankensnare:14a_basic", "rim"),
        ("a/14a_basic_sn_vl1_rr2.flac", "snare", "frankensnare:14a_basic", "snare"),
        ("b/GMRockKit_SnareRimshot-Hard.flac", "rim", "hydrogen:GMRockKit", "snare"),
        ("b/GMRockKit_SideStick-Hard.flac", "rim", "hydrogen:GMRockKit", "rim"),
        ("c/ForzeeStereo_SnareRim-1.flac", "rim", "hydrogen:ForzeeStereo", "snare"),
        ("c/ForzeeStereo_SnareOffRim-1.flac", "rim", "hydrogen:ForzeeStereo", ""),
        ("c/BJA_Pacific_SN3_01.flac", "snare", "hydrogen:BJA_Pacific", ""),
        ("c/BJA_Pacific_SN_01.flac", "snare", "hydrogen:BJA_Pacific", "snare"),
        ("c/ForzeeStereo_RimClick-1.flac", "rim", "hydrogen:ForzeeStereo", "rim"),
        ("d/14a_basic_ss_vl1_rr2.flac", "snare", "somebody else's", "snare"),
    ]
    lines = ["path,class,source,licence,split", *(f"{path},{cls},{source},CC0,test" for path, cls, source, _ in rows)]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    assert [item.cls for item in read_manifest(tmp_path / "m.csv")] == [true for *_, true in rows if true]


@pytest.mark.skipif(sys.platform == "win32", reason="names there are Unicode")
def test_names_of_old_packs_need_not_be_unicode(tmp_path):
    folder = tmp_path / "packs" / "kit"
    folder.mkdir(parents=True)
    sf.write(tmp_path / "kick.wav", np.hanning(4410), 44100)
    (tmp_path / "kick.wav").rename(folder / os.fsdecode(b"kick \xfc.wav"))
    assert packs.main([str(tmp_path / "packs"), "--out", str(tmp_path / "m.csv"), "--licence", "CC0"]) == 0
    (item,) = read_manifest(tmp_path / "m.csv")
    assert item.cls == "kick" and item.path.is_file()


def test_packs_become_a_manifest_and_the_unknown_is_named(tmp_path, capsys):
    root = tmp_path / "Päcks"
    click = np.hanning(2000) * 0.5
    files = ["Kit A/Kicks/01.wav", "Kit A/Snares/snap_01.wav", "Kit A/hats/open 1.wav", "B/Vox/hey.wav",
             "B/Kick loop 120bpm.wav", "B/ride.wav"]  # fmt: skip
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(root / name, click, RATE)
    sf.write(root / "B" / "crash long.wav", np.zeros(8 * RATE), RATE)
    (root / "B" / "snare.wav").write_text("no audio")
    (root / "loop").symlink_to(root)
    assert packs.main([str(root), "--out", str(tmp_path / "m.csv"), "--licence", "CC0"]) == 0
    left = capsys.readouterr().err
    for name, reason in [("hey", "no known word"), ("loop 120", "a loop"), ("crash", "8.0 s"), ("snare", "readable")]:
        assert any(name in line and reason in line for line in left.splitlines())
    items = read_manifest(tmp_path / "m.csv")
    assert {i.path.resolve() for i in items} == {(root / n).resolve() for n in files[:3] + files[5:]}
    assert {i.cls for i in items} == {"kick", "perc", "hat_closed", "ride"}
    assert {(i.source, i.licence) for i in items} == {("Kit A", "CC0"), ("B", "CC0")}
    assert all(len({i.split for i in items if i.source == pack}) == 1 for pack in ("Kit A", "B"))
    assert packs.main([str(tmp_path / "nowhere")]) == 2


# -- shreds


def test_onsets_are_the_attacks_and_shreds_end_at_the_next(chunks):
    drums, labels = grid(chunks)
    spec = shreds.ShredSpec()
    cut = shreds.find_shreds(drums, spec)
    nearest = [np.abs(cut.times - label.time).min() for label in labels]
    assert np.median(nearest) < 0.002 and np.max(nearest) < 0.01
    inside = cut.images[:, 2, :, 0].sum(axis=1)
    gaps = np.diff(cut.times) / spec.features.hop_seconds
    np.testing.assert_allclose(inside[:-1], np.minimum(gaps, spec.after) + spec.before, atol=1)
    assert np.all(cut.images[:, :2][cut.images[:, 2:].repeat(2, axis=1) == 0] == 0)


def test_neither_level_nor_silence_around_changes_a_shred(chunks):
    drums, labels = grid(chunks)
    times = [label.time for label in labels]
    loud = shreds.find_shreds(drums, shreds.ShredSpec(), onsets=times)
    soft = shreds.find_shreds(drums * np.float32(0.1), shreds.ShredSpec(), onsets=times)
    np.testing.assert_allclose(soft.images, loud.images, atol=0.05)


@pytest.mark.parametrize("samples", [0, 1, 100, RATE])
def test_silence_and_nearly_nothing_have_no_shreds(samples):
    assert len(shreds.find_shreds(np.zeros(samples, np.float32), shreds.ShredSpec()).times) == 0


def test_velocity_follows_loudness(chunks):
    drums, labels = grid(chunks)
    spec = shreds.ShredSpec()
    cut = shreds.find_shreds(drums, spec, onsets=[label.time for label in labels])
    given = np.array([[label.label == name for name in LABELS] for label in sorted(labels)])
    velocity = shreds.velocities(cut, given, spec)
    assert np.all((velocity > 0) == given) and velocity.max() <= 1
    for column in (0, 1, 2):
        true = [label.velocity for label in sorted(labels) if label.label == LABELS[column]]
        assert np.corrcoef(true, velocity[given[:, column], column])[0, 1] > 0.9


def test_a_classifier_describes_itself(classifier, tmp_path):
    spec = shreds.ShredClassifier(classifier).spec
    assert spec.labels == LABELS and shreds.ShredSpec.from_json(spec.to_json()) == spec
    card = classifier.with_suffix(".md").read_text()
    assert "alpha" in card and "beta" not in card  # the held-out kit taught nothing
    assert "for want of a second kit" in card and "| one-shots, each once and alone |" in card
    for text in ("", "{}", "[1]", spec.to_json().replace("before", "behind")):
        with pytest.raises(ValueError, match="not the description"):
            shreds.ShredSpec.from_json(text)
    older = json.loads(spec.to_json())
    assert older.pop("second") == train_shreds.SECOND
    assert shreds.ShredSpec.from_json(json.dumps(older)) == replace(spec, second=0.0)
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    with pytest.raises(ValueError, match="not a readable model"):
        shreds.ShredClassifier(tmp_path / "bad.onnx")


def test_thresholds_and_figures_are_made_anew_without_learning(classifier, chunks):
    again = classifier.with_name("again.onnx")
    learn(classifier.parent, chunks, "--init", classifier, "--keep", "--nets", 0, "--out", again)
    before, after = map(shreds.ShredClassifier, (classifier, again))
    drums, _ = grid(chunks)
    cut = shreds.find_shreds(drums, before.spec)
    np.testing.assert_allclose(after.alone(cut), before.alone(cut), atol=1e-5)
    assert after.spec == before.spec  # the same exam
    told, card = (path.with_suffix(".md").read_text() for path in (classifier, again))
    assert card.partition("## Learned from")[2] == told.partition("## Learned from")[2]
    assert "1 networks of 150 steps" in told and "networks of" not in card


def test_no_network_at_all_is_refused(classifier, chunks, capsys):
    given = ["--oneshots", classifier.parent / "shots" / "manifest.csv", "--chunks", chunks, "--validate", chunks]
    assert train_shreds.main([str(x) for x in [*given, "--nets", 0]]) == 2
    assert "--nets 0 needs --keep" in capsys.readouterr().err


def test_targets_go_to_the_nearest_onset_only():
    hits = [Label(1.0, "kick", 1), Label(1.004, "hihat", 1), Label(1.12, "snare", 1), Label(2.0, "kick", 1)]
    hit = shred_data.targets(np.array([1.002, 1.1, 1.5]), hits, LABELS)
    assert hit[:, :3].tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def items(tmp_path, *kinds):
    return [Item(tmp_path / f"{n}.flac", cls, source, "CC0", "test") for n, (cls, source) in enumerate(kinds)]


def test_kits_are_whole_and_take_in_what_is_none(tmp_path):
    shots = items(
        tmp_path,
        *[(cls, "maker:a") for cls in ("kick", "snare", "hat_open", "tom")],
        *[(cls, f"pieces:{cls}") for cls in ("kick", "snare", "hat_closed")],
        *[("snare", "maker:snares")] * 2,
        ("perc", "pieces2:x"),
    )
    first, second = shred_data.whole_kits(shots)
    assert [x.source for x in first] == ["maker:a"] * 4 + ["maker:snares", "pieces2:x"]
    assert [x.source for x in second] == ["pieces:kick", "pieces:snare", "pieces:hat_closed", "maker:snares"]
    with pytest.raises(ValueError, match="no whole kit"):
        shred_data.whole_kits(shots[1:4])


def test_a_roll_call_plays_each_sound_once_until_the_next(tmp_path):
    kit = [x for x in read_manifest(studio.one_shots(tmp_path / "shots")) if x.split == "test"]
    track = shred_data.roll_call(kit, np.array([0.05, 0.1]), np.random.default_rng(0))
    assert sorted(x.label for x in track.labels) == ["hihat", "hihat", "kick", "snare"]
    times = [x.time for x in track.labels]
    assert sorted(np.round(np.diff(times), 3)) in ([0.05, 0.05, 0.1], [0.05, 0.1, 0.1])
    for time in times[1:]:  # nothing rings into the next attack
        before, after = (np.abs(track.drums[round(time * RATE) + k :][:n]).max() for k, n in ((-3, 2), (0, 300)))
        assert before < 0.1 * after


def test_choked_passages_are_silent_between_and_singles_never_together(tmp_path):
    library = shred_data.KitLibrary(read_manifest(studio.one_shots(tmp_path / "shots"), "train"), RATE)
    kit = library.draw(np.random.default_rng(0))
    hits = [[shred_data.Hit(0.1, 46, 1.0)], [shred_data.Hit(0.3, 36, 1.0)]]
    voices = shred_data._choked(kit, hits, 1.0, np.random.default_rng(0))
    hat = np.abs(voices["hat_open"])
    assert hat[: round(0.1 * RATE)].max() == 0 < hat[round(0.25 * RATE) :].max()
    assert hat[round(0.3 * RATE) :].max() == 0
    for seed in range(4):
        single = shred_data.passage(library, np.full(9, 0.2), 40, np.random.default_rng(seed), singles=True)
        assert np.diff([x.time for x in single.labels]).min() > 0.1


def test_a_bank_puts_sounds_together_as_they_are_cut(tmp_path):
    spec = shreds.ShredSpec()
    shots = read_manifest(studio.one_shots(tmp_path / "shots"), "train")
    bank = shred_bank.make_bank(shots, np.full(50, 0.1), spec, 0)
    bank.save(tmp_path / "bank.npz")
    bank = shred_bank.HitBank.load(tmp_path / "bank.npz")
    assert len(bank.frames) == len(shots) * len(shred_bank.SEMITONES)
    runs = [bank.run(spec, 30, np.random.default_rng(seed)) for seed in range(16)]
    images, gaps, hit = map(np.concatenate, zip(*runs, strict=True))
    np.testing.assert_allclose(gaps[1:29], 0.1, atol=1e-6)
    assert np.all(images[:, 2].sum(axis=1) == spec.before + 20)  # the next onset, 20 frames on, ends each shred
    assert not hit[:, 3].any()  # there are no toms
    attack = images[:, 0, spec.before : spec.before + 8].max(axis=1)
    low, high = attack[:, :12].max(axis=1), attack[:, 45:].max(axis=1)
    kick, hat = ((hit == column).all(axis=1) for column in np.eye(5)[[0, 2]])
    assert kick.sum() > 10 < hat.sum()
    assert np.median((low - high)[kick]) > 1 > 0 > np.median((low - high)[hat])  # kicks ring into hats


def test_sounds_of_a_bank_that_come_alone_are_single_clean_and_new_each_time(tmp_path, monkeypatch):
    spec = shreds.ShredSpec()
    shots = read_manifest(studio.one_shots(tmp_path / "shots"), "train")
    bank = shred_bank.make_bank(shots, np.full(50, 0.1), spec, 0)
    drawn = []
    monkeypatch.setattr(shred_bank.HitBank, "sound", lambda self, voice, rng: drawn.append(voice) or _tone(rng, spec))
    for alone in (0, 1):
        monkeypatch.setattr(shred_bank, "ALONE", alone)
        drawn.clear()
        _, _, hit = bank.run(spec, 30, np.random.default_rng(0))
        if alone:
            assert len(drawn) >= 30 and hit.sum(axis=1).max() == 1
        else:
            assert len(drawn) < 30  # kits repeat their sounds


def _tone(rng, spec):
    return np.full((spec.before + shred_bank.TAIL, spec.features.bands), rng.uniform(1, 2), np.float32)


def test_sympathy_adds_little_and_only_after_a_blow():
    kick = np.zeros(RATE, np.float32)
    kick[RATE // 2 :] = np.sin(np.arange(RATE // 2) / 80) * np.exp(-np.arange(RATE // 2) / 3000)
    added = [shred_data.sympathy({"kick": kick}, np.random.default_rng(seed)) for seed in range(8)]
    assert all(np.array_equal(voices["kick"], kick) for voices in added)
    answers = [sound for voices in added for name, sound in voices.items() if name != "kick"]
    assert answers and all(np.abs(sound[: RATE // 2]).max() == 0 for sound in answers)
    assert all(0.005 < np.abs(sound).max() / np.abs(kick).max() < 0.21 for sound in answers)


def test_replays_keep_the_rhythm(tmp_path):
    library = shred_data.KitLibrary(read_manifest(studio.one_shots(tmp_path / "shots"), "train"), RATE)
    labels = [Label(0.5, "kick", 0.9), Label(0.8, "tom", 0.9), Label(1.0, "snare", 0.8), Label(1.5, "hihat", 0.7)]
    track = shred_data.replay(library, labels, np.random.default_rng(0))
    assert [(x.time, x.label) for x in track.labels] == [(0.5, "kick"), (1.0, "snare"), (1.5, "hihat")]  # has no toms


def test_a_half_is_scored_with_the_thresholds_of_the_other():
    def said(half, low, high):
        hit = np.array([[False]] * 4 + [[True]] * 4)
        probability = np.where(hit, high, low).astype(np.float32)
        return shred_exam.Answer(shred_exam.Question("one-shots", half, 0), probability, hit, np.zeros(1, int))

    answers = [said(0, 0.1, 0.2), said(1, 0.7, 0.8)]
    row = next(x for x in shred_exam.table(answers, ["kick"]).splitlines() if "one-shots" in x)
    # the first half gets nothing right with thresholds above .7, the second everything and as much wrong
    assert row.split("|")[2:6] == [" 0.500 ", " 0.500 ", " 0.500 ", " 0.500 "]
    assert " 1.000 | 1.000 " in shred_exam.table(answers[:1], ["kick"])


def test_hits_without_an_onset_count_as_missed(chunks):
    drums, labels = grid(chunks)
    track = shred_data.Track(drums, [*labels, Label(2.125, "kick", 1.0)])
    spec = shreds.ShredSpec()
    made = [(shred_exam.Question("passages", 0, 0), track, shreds.find_shreds(drums, spec))]
    (answer,) = shred_exam.answer(made, lambda cut, _: np.ones((len(cut.times), 5), np.float32), LABELS)
    assert answer.missed.tolist() == [1, 0, 0, 0, 0] and answer.count(0, 0.5).fn == 1


def test_leaks_hold_music_at_the_level_asked(chunks):
    drums, _ = grid(chunks)
    music = 0.3 * np.sin(np.arange(len(drums)) / 30).astype(np.float32)
    rng = np.random.default_rng
    rest = [np.std(shred_data.leak(drums, music, level, rng(0)) - drums[: len(drums)]) for level in (-30, 6)]
    assert 0 < rest[0] < rest[1]


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(chunks, tmp_path, monkeypatch):
    spec = shreds.ShredSpec()
    drums, labels = grid(chunks)
    shots = read_manifest(studio.one_shots(tmp_path / "shots"), "train")

    def prepared(name):
        config = train_shreds.ShredConfig(channels=(4, 4, 4, 4), context=8)
        run = train_shreds.Run(tmp_path / name / "s.npz", tmp_path / name / "b.npz", config, 4, 1e-3, 0)
        train_shreds.save(shred_data.cut(shred_data.Track(drums, labels), spec), run.data)
        shred_bank.make_bank(shots, np.full(30, 0.2), spec, 0).save(run.bank)
        return run

    monkeypatch.setattr(train_shreds, "SAVE", 2)
    whole, halves = prepared("whole"), prepared("halves")
    train_shreds.train(whole)
    augment, calls = train_shreds.augment, []

    def cut_off(images, rng):
        calls.append(1)
        if len(calls) > 2.5 * train_shreds.BATCH:
            raise KeyboardInterrupt
        return augment(images, rng)

    monkeypatch.setattr(train_shreds, "augment", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train_shreds.train(halves)
    assert list(halves.data.parent.glob("*.ckpt")) and not halves.result.exists()
    monkeypatch.setattr(train_shreds, "augment", augment)
    train_shreds.train(halves)
    first, second = (train_shreds.trained(run).state_dict() for run in (whole, halves))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not list(halves.data.parent.glob("*.ckpt"))


def test_an_export_that_differs_is_refused(tmp_path, monkeypatch):
    spec = shreds.ShredSpec()
    monkeypatch.setattr(train_shreds, "PARITY", -1.0)
    with pytest.raises(RuntimeError, match="differs from torch"):
        train_shreds.export([train_shreds.ShredNet(train_shreds.ShredConfig()).eval()], spec, tmp_path / "s.onnx")
    assert not list(tmp_path.iterdir())


# -- songs


def test_drum_recordings_are_labelled(chunks, classifier, tmp_path):
    source = tmp_path / "Lieder" / "Grün"
    source.mkdir(parents=True)
    drums, truth = grid(chunks, "grid-3")
    stereo = np.stack([drums, 0.5 * drums], axis=1)
    sf.write(source / "süß.wav", stereo, RATE, subtype="FLOAT")
    out = tmp_path / "out"
    assert run(out, tmp_path / "Lieder", "--drums-only", "--classifier", classifier, "--seconds", 5) == 0
    first, second = Manifest(out).chunks()
    assert (first.song, first.source) == ("Grün/süß.wav", "Lieder")
    assert first.method == "audio, drums only" and first.stems == () and 0.5 < first.confidence <= 1
    assert (first.seconds, second.details["start"]) == (5, 5)
    labels = read_labels(out / f"{first.name}.tsv")
    labels += [x._replace(time=x.time + 5) for x in read_labels(out / f"{second.name}.tsv")]
    assert found(truth, labels).f > 0.9
    whole = np.concatenate([sf.read(out / f"{chunk.name}.flac")[0] for chunk in (first, second)])
    np.testing.assert_allclose(whole, 0.75 * drums, atol=1e-4)  # the song itself, mono


def test_songs_are_separated_by_demucs(chunks, classifier, separator, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)  # must not be needed
    drums, truth = grid(chunks, "grid-3")
    mix, _ = sf.read(chunks / "grid-3.flac", dtype="float32")
    sf.write(tmp_path / "song.wav", mix, RATE)
    options = audio.Options(tmp_path / "out", classifier, "tiny", separator, "cpu", False,
                            ("drums", "backing", "other"), 30.0, 3600.0, shreds.RISE_DB, "CC0")  # fmt: skip
    (chunk,) = audio.Labeller(options).label(recordings.Song(tmp_path / "song.wav", "song.wav", "here"))
    assert (chunk.method, chunk.licence) == ("audio, tiny", "CC0") and chunk.stems == options.stems
    files = {stem: sf.read(tmp_path / "out" / f"{chunk.name}{stem}.flac")[0] for stem in ("", ".drums", ".backing")}
    np.testing.assert_allclose(files[".drums"] + files[".backing"], files[""], atol=1e-4)
    scale = files[""].max() / mix.max()  # all parts go down together where one would clip
    assert 0.5 < scale <= 1
    np.testing.assert_allclose(files[""], scale * mix, atol=1e-4)
    assert np.corrcoef(files[".drums"], drums)[0, 1] > 0.9
    assert found(truth, read_labels(tmp_path / "out" / f"{chunk.name}.tsv")).f > 0.8


def test_the_command_line_separates_and_goes_on(chunks, classifier, separator, tmp_path):
    mix, rate = sf.read(chunks / "grid-0.flac", dtype="float32")
    sf.write(tmp_path / "a.wav", mix, rate)
    arguments = [tmp_path / "a.wav", "--repo", separator, "--model", "tiny", "--classifier", classifier, "--stems"]
    assert run(tmp_path / "out", *arguments) == 0
    (chunk,) = Manifest(tmp_path / "out").chunks()
    assert chunk.stems == ("drums", "backing") and (tmp_path / "out" / f"{chunk.name}.backing.flac").exists()
    before = (tmp_path / "out" / "manifest.jsonl").read_bytes()
    assert run(tmp_path / "out", *arguments) == 0
    assert (tmp_path / "out" / "manifest.jsonl").read_bytes() == before


def test_long_songs_are_worked_on_in_stretches(chunks, classifier, tmp_path, monkeypatch):
    drums, truth = grid(chunks)
    sf.write(tmp_path / "d.wav", drums, RATE, subtype="FLOAT")
    monkeypatch.setattr(recordings, "STRETCH", 3.0)
    monkeypatch.setattr(recordings, "MARGIN", 1.0)
    parts = list(recordings.stretches(tmp_path / "d.wav", 60.0))
    assert [start for start, _, _ in parts] == [0, 3, 6] and max(len(part) for *_, part in parts) <= 5 * RATE
    joined = [part[margin : margin + 3 * RATE, 0] for _, margin, part in parts]
    np.testing.assert_array_equal(np.concatenate(joined), drums)
    options = audio.Options(tmp_path / "out", classifier, "", None, "cpu", True, (), 3.0, 60.0, shreds.RISE_DB, "")
    made = audio.Labeller(options).label(recordings.Song(tmp_path / "d.wav", "d", ""))
    labels = [x._replace(time=x.time + c.details["start"]) for c in made
              for x in read_labels(tmp_path / "out" / f"{c.name}.tsv")]  # fmt: skip
    assert found(truth, labels).f > 0.9


def test_samples_beyond_full_scale_and_none_at_all_are_no_noise(tmp_path):
    sound = 0.5 * np.sin(np.arange(3 * RATE) / 50).astype(np.float32)
    wrong = 4 * sound
    wrong[RATE : RATE + 3] = np.nan, np.inf, -np.inf
    sf.write(tmp_path / "wrong.wav", wrong, RATE, subtype="FLOAT")
    right = np.where(np.isfinite(wrong), sound, 0) * 2  # the loudest is 1
    ((_, _, heard),) = recordings.stretches(tmp_path / "wrong.wav", 60.0)
    np.testing.assert_allclose(heard[:, 0], right, atol=1e-4)
    np.testing.assert_allclose(recordings.Recording(tmp_path / "wrong.wav").read(0, 3), right, atol=1e-4)
    np.testing.assert_allclose(recordings.Recording(tmp_path / "wrong.wav", part=True).read(0, 0.5), wrong[: RATE // 2])
    sf.write(tmp_path / "cancels.wav", np.stack([sound, -sound], axis=1), RATE)
    for read in (recordings.Recording, lambda path: next(recordings.stretches(path, 60.0))):
        with pytest.raises(ValueError, match="silent, or its channels cancel"):
            read(tmp_path / "cancels.wav")


def test_bad_inputs_cost_one_line_each(classifier, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "text.wav").write_text("this is no sound")
    (source / "empty.wav").write_bytes(b"")
    sf.write(source / "nothing.wav", np.zeros(0), RATE)
    sf.write(source / "silent.wav", np.zeros(2 * RATE), RATE)
    sf.write(source / "short.wav", np.ones(RATE // 2) * 0.1, RATE)
    sf.write(source / "long.wav", np.zeros(100 * 800), 800)
    sf.write(source / "five.wav", np.zeros((2 * RATE, 5)), RATE)
    sf.write(source / "still.wav", np.full(2 * RATE, 0.01), RATE)
    sf.write(source / "nan.wav", np.full(2 * RATE, np.nan), RATE, subtype="FLOAT")
    (source / "bought.wma").write_bytes(b"no matter what")
    (source / "round").symlink_to(source)
    out = tmp_path / "out"
    assert run(out, source, "--drums-only", "--classifier", classifier, "--longest", "1") == 0
    refused = Manifest(out).refused()
    reasons = {"text": "not readable as audio", "empty": "empty file", "nothing": "no samples",
               "silent": "silent, or its channels cancel", "short": "shorter than 1 s", "long": "2 minutes long",
               "five": "silent", "nan": "silent", "still": "no drums heard"}  # fmt: skip
    assert "; convert it: ffmpeg" in refused.pop("bought.wma")
    assert set(refused) == {f"{name}.wav" for name in reasons}
    assert all(reason in refused[f"{name}.wav"] for name, reason in reasons.items()), refused
    assert {path.name for path in out.iterdir()} == {"manifest.jsonl"}


def test_drums_far_below_the_mix_are_none(chunks, classifier):
    drums, _ = grid(chunks)
    loud = 0.3 * np.sin(np.arange(len(drums)) / 10).astype(np.float32)
    ours = shreds.ShredClassifier(classifier)
    assert audio.hear(drums, drums, ours).labels and not audio.hear(drums * np.float32(0.01), loud, ours).labels


def test_confidence_is_the_f_to_expect():
    p = np.array([[0.9, 0.1], [0.8, 0.0]], np.float32)
    heard = audio.Heard([], np.array([0.1, 0.5]), p, p > 0.5)
    assert heard.confidence(0, 1) == pytest.approx((1 + 1.7) / (1 + (2 + 1.8) / 2))
    assert heard.confidence(0.6, 1) == 1


def test_without_network_the_error_names_the_local_way(classifier, tmp_path):
    """In a process of its own: the hub reads its switch when it is imported."""
    sf.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    code = (
        "import socket, sys\n"
        "def no(*_, **__): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = no\n"
        "from labelgen.audio import main; sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = [str(tmp_path / "a.wav"), "--out", str(tmp_path / "out"), "--classifier", str(classifier)]
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=variables, text=True, capture_output=True)
    assert done.returncode == 2
    line = done.stderr.strip().splitlines()[-1]
    assert "htdemucs" in line and "--repo FOLDER" in line and "--drums-only" in line
    assert "Traceback" not in done.stderr


def test_wrong_options_give_a_line_and_code_2(chunks, classifier, separator, tmp_path, capsys):
    song = chunks / "grid-0.flac"
    model = ("--model", "tiny", "--repo", separator, "--classifier", classifier)
    for arguments, complaint in [
        ((tmp_path / "nowhere.wav",), "nowhere.wav"),
        ((song, "--drums-only", "--stems"), "no stems to keep"),
        ((tmp_path, "--drums-only", "--classifier", classifier), "no recordings"),
        ((song, "--drums-only", "--classifier", tmp_path / "none.onnx"), "none.onnx"),
        ((song, *model, "--stems", "flute"), "no flute; there are drums, other, backing"),
        ((song, *model[:2], "--repo", tmp_path / "none"), "no such folder"),
        ((song, "--model", "other", *model[2:]), "the folder holds tiny.th"),
        ((song, *model, "--device", "toaster"), "--device toaster"),
    ]:
        assert run(tmp_path / "out", *arguments) == 2
        assert complaint in capsys.readouterr().err
    for wrong in (("--longest", "0"), ("--seconds", "301")):
        with pytest.raises(SystemExit):
            run(tmp_path / "out", song, *wrong)
    assert train_shreds.main(["--oneshots", "nowhere.csv", "--chunks", "x", "--validate", "x"]) == 2
    assert "nowhere.csv" in capsys.readouterr().err


def test_networks_that_are_kept_answer_with_those_that_went_on_from_them(chunks, classifier, tmp_path, capsys):
    learn(classifier.parent, chunks, "--steps", 2, "--init", classifier, "--keep", "--out", tmp_path / "both.onnx")
    assert "whose networks answer with them" in (tmp_path / "both.md").read_text()
    (old,) = read_networks(classifier, Narrow())
    new, kept = (net.alone.weight for net in read_networks(tmp_path / "both.onnx", Narrow()))
    assert torch.equal(kept, old.alone.weight) and not torch.equal(new, kept)
    arguments = ["--oneshots", "nowhere.csv", "--chunks", str(chunks), "--validate", str(chunks), "--keep"]
    assert train_shreds.main(arguments) == 2
    assert "--init" in capsys.readouterr().err


def test_kits_of_the_exam_may_not_sound_in_chunks(tmp_path, capsys):
    shots = studio.one_shots(tmp_path / "shots")
    for name, details in (("kit", {"kit": {"kick": "beta"}}), ("sounds", {"sounds": ["alpha", "beta"]})):
        folder = studio.chunk_set(tmp_path / name, 1)
        chunk = Manifest(folder).chunks()[0]
        (folder / "manifest.jsonl").unlink()
        Manifest(folder).add([replace(chunk, details=details)])
        sets = ["--chunks", str(folder), "--validate", str(folder), "--cache", str(tmp_path / "cache")]
        assert train_shreds.main(["--oneshots", str(shots), *sets, "--out", str(tmp_path / "s.onnx")]) == 2
        assert "examined with: beta" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("file", ["set/grid-0.tsv", "set/grid-0.drums.flac", "shots/alpha_kick.flac"])
def test_shreds_are_cut_again_where_a_file_has_changed(tmp_path, monkeypatch, file):
    shots, folder, asked = studio.one_shots(tmp_path / "shots"), studio.chunk_set(tmp_path / "set", 1), []

    def stop(_, path):
        asked.append(path)
        raise ValueError("far enough")

    monkeypatch.setattr(train_shreds, "shreds_of", lambda *_: None)
    monkeypatch.setattr(train_shreds, "save", stop)
    arguments = ["--oneshots", shots, "--chunks", folder, "--validate", folder, "--cache", tmp_path / "cache"]
    for time in (1, 1, 2):
        os.utime(tmp_path / file, (time, time))
        assert train_shreds.main([str(x) for x in arguments]) == 2
    assert asked[0] == asked[1] != asked[2]


def test_bleed_table(chunks, classifier, capsys):
    arguments = ["--chunks", str(chunks), "--classifier", str(classifier), "--levels", "-90", "0"]
    assert label_quality.main(arguments) == 0
    header, none, full = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["music", "kick", "snare"] and none.startswith("  -90 dB")
    assert float(none.split()[7]) > 0.9 and full.startswith("    0 dB")


def test_exam_of_a_classifier(chunks, classifier, tmp_path, capsys):
    shots = studio.one_shots(tmp_path / "shots")
    arguments = ["--oneshots", str(shots), "--classifier", str(classifier), "--tracks", "1"]
    assert label_quality.main([*arguments, "--performances", str(chunks), "--music", str(chunks)]) == 0
    rows = {x.split("|")[1].strip(): x.split("|")[2:-1] for x in capsys.readouterr().out.splitlines()}
    assert float(rows["one-shots, each once and alone"][5]) > 0.8
    assert label_quality.main(arguments) == 2
    assert "--performances" in capsys.readouterr().err


# -- the released classifier


@pytest.mark.skipif(not shreds.RELEASED.exists(), reason="no released classifier yet")
def test_released_classifier_on_human_labels():
    folder = SHARED / "eval" / "mdb-dev"
    if not folder.is_dir():
        pytest.skip("no recordings with human labels")
    ours = shreds.ShredClassifier(shreds.RELEASED)
    counts = dict.fromkeys(LABELS, Count())
    for drums, _, truth in label_quality.from_folders(folder / "drum_only", folder / "audio", folder / "labels"):
        labels = audio.hear(drums, drums, ours).labels
        for name in LABELS:
            times = ([x.time for x in rows if x.label == name] for rows in (truth, labels))
            counts[name] += match(*map(sorted, times), 0.05)[0]
    assert counts["kick"].f > 0.92 and counts["snare"].f > 0.75 and counts["hihat"].f > 0.70


@pytest.mark.skipif(not shreds.RELEASED.exists(), reason="no released classifier yet")
def test_released_classifier_on_kits_never_seen():
    manifest = SHARED / "material" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip("no one-shots here")
    with manifest.open(newline="") as file:
        assert {"split", "source"} <= set(next(csv.reader(file)))
    shots = [x for x in read_manifest(manifest, "test") if "midi" not in x.cls]
    ours = shreds.ShredClassifier(shreds.RELEASED)
    gaps = np.random.default_rng(0).uniform(0.08, 0.4, 4000)
    exam = shred_exam.Exam(shred_data.whole_kits(shots), gaps, [], [], 0, ours.spec)
    questions = [question for question in exam.questions(6) if question.kind in ("one-shots", "passages")]
    total = dict.fromkeys(("one-shots", "passages"), Count())
    for answer in shred_exam.answer(map(exam, questions), ours.probabilities, LABELS):
        for column, threshold in enumerate(ours.spec.thresholds):
            total[answer.question.kind] += answer.count(column, threshold)
    assert total["one-shots"].f > 0.8 and total["passages"].f > 0.65
