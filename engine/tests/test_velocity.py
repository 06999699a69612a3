"""Velocity: the loss that asks for its order, and the benchmarks that judge it and electronic songs."""

import numpy as np
import pytest
import studio

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("pyroomacoustics")

from benchmarks import electronic, velocity  # noqa: E402
from dance import FeatureSpec  # noqa: E402
from dance.features import log_mel  # noqa: E402
from labelgen.chunks import Chunk, ChunkWriter, Label, Manifest, layered  # noqa: E402
from labelgen.patterns import STYLES  # noqa: E402
from training.config import TrainConfig  # noqa: E402
from training.loss import DrumLoss, disorder, targets  # noqa: E402


def played(seed=0, songs=4):
    random = np.random.default_rng(seed)
    hits = np.zeros((songs, 300, 2), np.float32)
    hits[:, 30:290:20] = random.uniform(0.2, 1, hits[:, 30:290:20].shape)
    return torch.from_numpy(hits)


def test_disorder_asks_for_differences_inside_a_crop_alone():
    onset, struck = targets(played(), 1)
    near = onset > 0
    assert disorder(struck, struck, near) < 0.01
    assert disorder(0.1 + 0.3 * struck, struck, near) < 0.02  # softer, and less far apart: the same order
    by_song = torch.rand(4, 1, 1) + 0 * struck
    assert disorder(by_song, struck, near) == pytest.approx(1.0)  # knows the songs, not the hits
    assert disorder(-struck, struck, near) > 1.9
    even = torch.where(near, 0.5, 0.0)
    assert disorder(struck, even, near) == 0  # nothing to tell apart


def test_disorder_can_be_learned_from_a_start_without_any():
    onset, struck = targets(played(), 1)
    near = onset > 0
    hardness = torch.full_like(struck, 0.5).requires_grad_()
    disorder(hardness, struck, near).backward()
    assert torch.isfinite(hardness.grad).all()
    assert ((hardness.grad * (struck - struck[near].mean()))[near]).sum() < 0


def test_order_is_part_of_the_loss_only_where_it_is_asked_for():
    hits = played()
    batch = torch.zeros_like(hits), torch.rand(hits.shape), hits, torch.ones_like(hits)
    plain, ordered = DrumLoss(1, 1.0, 0.5)(*batch), DrumLoss(1, 1.0, 0.5, 0.2)(*batch)
    assert set(plain) == {"loss", "onset", "velocity"}
    assert plain["loss"] == pytest.approx(float(plain["onset"] + 0.5 * plain["velocity"]))
    assert ordered["loss"] == pytest.approx(float(plain["loss"] + 0.2 * ordered["order"]))
    assert (TrainConfig().velocity, TrainConfig().order) == (0.3, 0.0)  # what earlier checkpoints were trained with


def test_loudness_is_that_of_the_drums_bands():
    spec, time = FeatureSpec(), np.arange(22050) / 44100
    frames = log_mel((0.5 * np.sin(2 * np.pi * 100 * time)).astype(np.float32), spec, 44100)
    low, high = (velocity.loudness(frames, spec, label)[30] for label in ("kick", "hihat"))
    assert low == pytest.approx(-9, abs=0.5) and high < -60


def test_correlation_overall_and_inside():
    random = np.random.default_rng(0)
    rows = [(k, x, x + k) for k in range(4) for x in random.uniform(0, 1, 30)]
    overall, median, chunks = velocity.correlation(rows)
    assert overall < 0.6 and median == pytest.approx(1) and chunks == 4
    made = velocity.with_means(rows)
    assert velocity.correlation(made[velocity.BY_MEAN])[1] == pytest.approx(1)
    assert velocity.correlation(made[velocity.BY_NONE])[0] > 0.9


def test_velocity_prints_what_was_heard_and_what_could_be(tiny_path, tmp_path, capsys):
    folder = studio.chunk_set(tmp_path / "grid", seconds=10.0)
    assert velocity.main([str(folder), "--model", str(tiny_path), "--ceiling"]) == 0
    out = capsys.readouterr().out
    assert all(what in out for what in ("loudness at report", "drums alone", velocity.BY_MEAN))
    assert velocity.main([str(tmp_path / "nowhere"), "--model", str(tiny_path)]) == 2
    assert "nowhere: no chunks" in capsys.readouterr().err


def test_styles_are_read_from_songs_names():
    for name in STYLES:
        file = name.replace(" ", "-")
        assert electronic.style_of(f"patterns/{file}-2-0007.mid") == file
    assert electronic.style_of("drummer1/session/house.mid") == ""
    assert set(electronic.ELECTRONIC) <= {name.replace(" ", "-") for name in STYLES}


def test_layered_notes_are_one_hit():
    labels = [Label(1.0, "snare", 0.5, 3.0), Label(1.0, "kick", 1.0), Label(1.02, "snare", 0.9, 8.0),
              Label(1.06, "snare", 0.4, 1.0)]  # fmt: skip
    assert layered(labels) == [labels[1], Label(1.0, "snare", 0.9, 8.0), labels[3]]


def test_electronic_songs_are_scored_by_style(tiny_path, tmp_path, capsys):
    folder, time = tmp_path / "songs", np.arange(4 * studio.RATE) / studio.RATE
    samples = np.zeros(len(time), np.float32)
    labels = [Label(0.5 + 0.5 * beat, "kick", 1.0, 20.0) for beat in range(6)]
    for hit in labels:
        since = (time - hit.time).clip(0)
        samples += (0.5 * np.sin(2 * np.pi * 60 * since) * np.exp(-since / 0.05) * (time >= hit.time)).astype(
            np.float32
        )
    for song in ("techno-2-0001.mid", "rock-2-0002.mid"):
        name = song.removesuffix(".mid")
        ChunkWriter(folder, studio.RATE).write(name, {"": samples}, labels)
        details = {"arrangement": ["no hats"]} if song.startswith("techno") else {}
        chunk = Chunk(name, name, "test", f"patterns/{song}", "CC0", "midi", 1.0, 4.0, details=details)
        Manifest(folder).add([chunk])
    assert electronic.main([str(folder), "--model", str(tiny_path)]) == 0
    out = capsys.readouterr().out
    assert "techno" in out and "rock" not in out
    assert "rearranged" in out and "as written" not in out
    assert "kick: F 1.000, floor 0.90: reached" in out and "snare: F 0.000, floor 0.85: missed" in out
    assert electronic.main([str(folder), "--model", str(tiny_path), "--styles", "house"]) == 2
    assert "no song of these styles" in capsys.readouterr().err
