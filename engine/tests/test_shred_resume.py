"""A shred classifier goes on learning where its file ended, and its bank deals out kits evenly."""

import numpy as np
import onnx
import pytest
import studio

pytest.importorskip("torch")
pytest.importorskip("librosa")
pytest.importorskip("pedalboard")

import torch

from labelgen.material import read_manifest
from labelgen.shreds import ShredSpec
from models.shred import ShredConfig, ShredNet
from training import shred_bank, train_shreds
from training.shred_resume import freeze, read_networks

SPEC = ShredSpec()


def exported(path, config, count=2):
    """Export networks whose normalisations have seen something."""
    torch.manual_seed(0)
    nets = [ShredNet(config) for _ in range(count)]
    for net in nets:
        net(torch.randn(2, 12, 3, config.frames, config.bands), torch.rand(2, 12, 2))
        for layer in net.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(layer.weight, 0.5, 2)
                torch.nn.init.normal_(layer.bias)
        net.eval()
    train_shreds.export(nets, SPEC, path)
    return nets


def test_networks_come_back_and_go_on_from_what_they_said(tmp_path):
    config = ShredConfig(channels=(4, 5, 6, 7), hidden=12, context=7, dropout=0.0)
    before = exported(tmp_path / "s.onnx", config)
    after = read_networks(tmp_path / "s.onnx", config)
    images, gaps = torch.randn(1, 9, 3, config.frames, config.bands), torch.rand(1, 9, 2)
    for old, new in zip(before, after, strict=True):
        new.train()
        freeze(new)
        torch.testing.assert_close(new(images, gaps), old(images, gaps), atol=1e-4, rtol=1e-3)


def test_other_files_are_refused(tmp_path):
    exported(tmp_path / "s.onnx", ShredConfig(channels=(4, 5, 6, 7), hidden=12, context=7), 1)
    with pytest.raises(ValueError, match="sizes"):
        read_networks(tmp_path / "s.onnx", ShredConfig(channels=(4, 5, 6, 8), hidden=12, context=7))
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])), tmp_path / "empty.onnx")
    with pytest.raises(ValueError, match="no networks"):
        read_networks(tmp_path / "empty.onnx", ShredConfig())


def test_a_card_must_name_what_was_learned_before(tmp_path):
    (tmp_path / "s.md").write_text("# Card\n\n## Learned from\n\nkit A\n")
    assert "kit A" in train_shreds.learned(tmp_path / "s.md")
    (tmp_path / "s.md").write_text("# Card\n")
    with pytest.raises(ValueError, match="card"):
        train_shreds.learned(tmp_path / "s.md")


def test_a_small_kit_is_heard_about_as_often_as_a_large_one(tmp_path):
    kick = next(x for x in read_manifest(studio.one_shots(tmp_path / "shots"), "train") if x.cls == "kick")
    items = [kick._replace(source="small"), *[kick._replace(source="large")] * 9]
    bank = shred_bank.make_bank(items, np.full(9, 0.2), SPEC, 0)
    small, large = bank.shelf["kick"]
    if len(small) > len(large):
        small, large = large, small
    assert (len(small), len(large)) == (len(shred_bank.SEMITONES), 9 * len(shred_bank.SEMITONES))
    rng = np.random.default_rng(0)
    of_small = {bank.frames[row].tobytes() for row in small}
    drawn = [bank.draw("kick", rng).astype(np.float16).tobytes() in of_small for _ in range(400)]
    assert 0.18 < np.mean(drawn) < 0.32  # a quarter, not a tenth


def test_a_bank_takes_kits_made_by_rule_and_lets_wires_buzz(tmp_path, monkeypatch):
    shots = read_manifest(studio.one_shots(tmp_path / "shots"), "train")
    bank = shred_bank.make_bank(shots, np.full(9, 0.2), SPEC, 0, machines=2)
    assert len(bank.shelf["tom"]) == 2 and len(bank.shelf["rim"]) == 2  # the one-shots have neither
    sounds = {}
    for share in (0, 1):
        monkeypatch.setattr(shred_bank, "WIRES", {"tom": share})
        sounds[share] = [bank.sound("tom", np.random.default_rng(seed)) for seed in range(40)]
    high = {share: np.median([10 * np.log10(x[4:12, 40:].mean()) for x in made]) for share, made in sounds.items()}
    low = {share: np.median([10 * np.log10(x[4:12, :12].mean()) for x in made]) for share, made in sounds.items()}
    assert high[1] > high[0] + 2 and abs(low[1] - low[0]) < 2
