"""A model file becomes the network again that it was made of, for recordings that are there as a whole."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from dance import FeatureSpec  # noqa: E402
from dance.network import Network  # noqa: E402
from models import build  # noqa: E402
from models.restored import PIECE, hear, restored  # noqa: E402
from training.export import default_spec, export  # noqa: E402
from training.train import TrainConfig  # noqa: E402

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


@pytest.mark.parametrize("depth_db", [None, 30.0])
def test_a_whole_recording_is_heard_as_frame_by_frame(depth_db, tmp_path):
    path = exported(tmp_path, "tcn", channels=8, dilations=(1, 4, 2), depth_db=depth_db)
    network, steps = restored(path), Network(path)
    assert network.config.dilations == (1, 4, 2)
    assert network.config.depth_db == (depth_db and pytest.approx(depth_db))
    frames = np.random.default_rng(1).normal(-50, 15, (PIECE + 30, 12)).astype(np.float32)
    expected = np.stack([np.concatenate(steps.step(frame)) for frame in frames], axis=1)
    np.testing.assert_allclose(hear(network, frames), expected, atol=2e-5)
    assert expected.std() > 0.01
    assert hear(network, frames[:0]).shape == (2, 0, 3)


def test_what_cannot_be_restored_is_left_to_steps(tmp_path):
    assert restored(exported(tmp_path, "gru")) is None
    # another time constant is not written in the file: answers differ, and that is noticed
    assert restored(exported(tmp_path, "tcn", channels=8, dilations=(1, 2), mean_frames=20.0)) is None
