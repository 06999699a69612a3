"""A model file becomes the network again that it was made of, for recordings that are there as a whole."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from dance import FeatureSpec  # noqa: E402
from dance.network import Network  # noqa: E402
from models import build  # noqa: E402
from models.restored import PIECE, hear, restored  # noqa: E402
from training.config import TrainConfig  # noqa: E402
from training.export import default_spec, export  # noqa: E402

CONFIG = TrainConfig(features=FeatureSpec(bands=12), labels=("kick", "snare", "hihat"))


def exported(folder, architecture, **sizes):
    """Return the file of a network that looks trained: nothing that folding could get wrong is 0 or 1."""
    torch.manual_seed(0)
    network = build(architecture, bands=12, labels=3, **sizes)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, 0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    path = folder / "model.onnx"
    export(network.eval(), default_spec(CONFIG, "small"), path)
    return path


USUAL = tuple(float(level) for level in np.linspace(25, -5, 12))


@pytest.mark.parametrize("sizes", [{}, {"usual_db": USUAL}, {"depth_db": 30.0, "usual_db": USUAL, "timbre": 5}],
                         ids=" ".join)  # fmt: skip
def test_a_whole_recording_is_heard_as_frame_by_frame(sizes, tmp_path):
    path = exported(tmp_path, "tcn", channels=8, dilations=(1, 4, 2), **sizes)
    network, steps = restored(path), Network(path)
    config = network.config
    assert (config.dilations, config.depth_db, config.timbre) == ((1, 4, 2), sizes.get("depth_db"), steps.timbre.size)
    assert len(config.usual_db) == len(sizes.get("usual_db", ()))
    frames = np.random.default_rng(1).normal(-50, 15, (PIECE + 30, 12)).astype(np.float32)
    frames[:, 0] -= 15  # lows to lift
    expected, sounds = np.empty((2, len(frames), 3), np.float32), np.empty((len(frames), sizes.get("timbre", 0)))
    for number, frame in enumerate(frames):
        expected[:, number] = np.concatenate(steps.step(frame))
        sounds[number] = steps.timbre
    answers, timbres = hear(network, frames)
    np.testing.assert_allclose(answers, expected, atol=2e-5)
    np.testing.assert_allclose(timbres, sounds, atol=1e-4)
    assert expected.std() > 0.01
    assert [found.shape for found in hear(network, frames[:0])] == [(2, 0, 3), (0, sounds.shape[1])]


def test_what_cannot_be_restored_is_left_to_steps(tmp_path):
    assert restored(exported(tmp_path, "gru")) is None
    # another time constant is not written in the file: answers differ, and that is noticed
    assert restored(exported(tmp_path, "tcn", channels=8, dilations=(1, 2), mean_frames=20.0)) is None


def test_a_model_file_is_exported_again_with_another_depth(tmp_path, capsys):
    from training.export import main

    path, out = exported(tmp_path, "tcn", channels=8, dilations=(1, 2)), tmp_path / "deep.onnx"
    assert main([str(path), "--depth-db", "30", "--out", str(out)]) == 0
    before, after = Network(path), Network(out)
    assert after.spec == before.spec
    assert restored(out).config.depth_db == 30
    loud = np.linspace(-20, -45, 12, dtype=np.float32)  # nothing lies 30 dB below
    for _ in range(20):  # after silence the rise of the first frame is less with a floor
        expected, found = np.concatenate(before.step(loud)), np.concatenate(after.step(loud))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    faint = np.linspace(-20, -90, 12, dtype=np.float32)
    assert np.abs(np.concatenate(before.step(faint)) - np.concatenate(after.step(faint))).max() > 1e-4
    assert main([str(out), "--depth-db", "0", "--out", str(tmp_path / "all.onnx")]) == 0
    assert restored(tmp_path / "all.onnx").config.depth_db is None
    assert main([str(exported(tmp_path, "gru")), "--depth-db", "30", "--out", str(out)]) == 2
    assert main([str(out), "--out", str(tmp_path / "x.onnx")]) == 2
    assert "--depth-db" in capsys.readouterr().err
