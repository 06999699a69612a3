"""A longer network says what the shorter one said, until it is trained on."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from models import build  # noqa: E402
from training import grow  # noqa: E402
from training.train import DrumTask  # noqa: E402
from training.train import main as train  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return a small TCN as a checkpoint."""
    torch.manual_seed(0)
    config = {"sizes": {"channels": 16, "dilations": [1, 2]}, "delay": 2}
    task = DrumTask(config)
    path = tmp_path_factory.mktemp("grow") / "small.ckpt"
    torch.save(
        {"state_dict": task.state_dict(), "hyper_parameters": {"config": config}, "pytorch-lightning_version": "2.0"},
        path,
    )
    return path


def test_growing_changes_no_answer_and_waits_longer(checkpoint, tmp_path):
    longer = tmp_path / "long.ckpt"
    assert grow.main([str(checkpoint), "--dilations", "5", "10", "--delay", "12", "--out", str(longer)]) == 0
    before, after = (
        DrumTask.load_from_checkpoint(path, map_location="cpu", weights_only=True) for path in (checkpoint, longer)
    )
    assert after.config.delay == 12
    assert tuple(after.network.config.dilations) == (1, 2, 5, 10)
    frames = torch.randn(2, 50, 80) * 10 - 50
    with torch.no_grad():
        first, second = (task.network.eval()(frames, task.network.init_state(2)) for task in (before, after))
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)
    torch.testing.assert_close(first[1], second[1], rtol=0, atol=0)


def test_training_can_begin_from_it_with_its_own_configuration(checkpoint, tmp_path, capsys):
    longer = tmp_path / "long.ckpt"
    assert grow.main([str(checkpoint), "--dilations", "4", "--out", str(longer)]) == 0
    assert DrumTask.load_from_checkpoint(longer, map_location="cpu", weights_only=True).config.delay == 2
    assert train(["--init", str(longer), "--train", str(tmp_path), "--out", str(tmp_path), "--plain"]) == 2
    assert "size mismatch" in capsys.readouterr().err  # the default network is another one


def test_others_are_refused(tmp_path, capsys):
    config = {"architecture": "gru"}
    path = tmp_path / "gru.ckpt"
    weights = {f"network.{k}": v for k, v in build("gru").state_dict().items()}
    torch.save(
        {"state_dict": weights, "hyper_parameters": {"config": config}, "pytorch-lightning_version": "2.0"}, path
    )
    assert grow.main([str(path), "--dilations", "4", "--out", str(tmp_path / "out.ckpt")]) == 2
    assert "not a TCN" in capsys.readouterr().err
    assert grow.main([str(tmp_path / "none.ckpt"), "--dilations", "4", "--out", str(tmp_path / "out.ckpt")]) == 2
