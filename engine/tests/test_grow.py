"""A larger network says what the smaller one said, until it is trained on."""

from dataclasses import asdict

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from models import build  # noqa: E402
from training import grow  # noqa: E402
from training.task import DrumTask, load_task, take_weights  # noqa: E402
from training.train import main as train  # noqa: E402
from training.train import parser, settings  # noqa: E402


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


@pytest.mark.parametrize("channels", [16, 24])
def test_growing_changes_no_answer_and_waits_longer(checkpoint, tmp_path, channels):
    larger = tmp_path / "large.ckpt"
    sizes = ["--dilations", "5", "10", "--channels", str(channels)]
    assert grow.main([str(checkpoint), *sizes, "--delay", "12", "--out", str(larger)]) == 0
    before, after = (
        DrumTask.load_from_checkpoint(path, map_location="cpu", weights_only=True) for path in (checkpoint, larger)
    )
    assert after.config.delay == 12
    assert tuple(after.network.config.dilations) == (1, 2, 5, 10)
    assert after.network.config.channels == channels
    frames = torch.randn(2, 50, 80) * 10 - 50
    with torch.no_grad():
        first, second = (task.network.eval()(frames, task.network.init_state(2)) for task in (before, after))
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=2e-5)
    torch.testing.assert_close(first[1], second[1], rtol=0, atol=2e-5)
    assert first[0].std() > 0.01


def test_all_of_a_larger_network_learns(checkpoint):
    larger = grow.grow(checkpoint, (5,), 24)
    task = DrumTask(larger["hyper_parameters"]["config"])
    task.load_state_dict(larger["state_dict"])
    optimiser = torch.optim.SGD(task.parameters(), 0.1)
    for _ in range(2):  # what begins at zero passes nothing back at first
        optimiser.zero_grad()
        onset, _, _ = task.network(torch.randn(2, 50, 80) * 10 - 50, task.network.init_state(2))
        onset.square().mean().backward()
        optimiser.step()
    asked = {name: weight.grad for name, weight in task.network.named_parameters() if "velocity" not in name}
    assert [name for name, gradient in asked.items() if not gradient.any()] == []


def test_training_goes_on_with_the_network_of_a_checkpoint(checkpoint, tmp_path, capsys):
    longer = tmp_path / "long.ckpt"
    assert grow.main([str(checkpoint), "--dilations", "4", "--delay", "3", "--out", str(longer)]) == 0
    given = load_task(longer)
    args = parser().parse_args(["--init", str(longer), "--steps", "5"])
    config = settings(args, given.config)
    assert (config.steps, config.delay, config.sizes) == (5, 3, {"channels": 16, "dilations": [1, 2, 4]})
    task = DrumTask(asdict(config))
    take_weights(task, given)
    assert torch.equal(task.network.blocks[0].mix.weight, given.network.blocks[0].mix.weight)
    other = [
        "--init",
        str(longer),
        "--architecture",
        "tcn",
        "--train",
        str(tmp_path),
        "--out",
        str(tmp_path),
        "--plain",
    ]
    assert train(other) == 2
    assert "another network" in capsys.readouterr().err


def test_an_answer_may_be_asked_for_at_once(checkpoint, tmp_path):
    for delay, expected in (([], 2), (["--delay", "0"], 0)):
        assert grow.main([str(checkpoint), "--dilations", "4", *delay, "--out", str(tmp_path / "at-once.ckpt")]) == 0
        assert load_task(tmp_path / "at-once.ckpt").config.delay == expected


def test_others_are_refused(checkpoint, tmp_path, capsys):
    config = {"architecture": "gru"}
    path = tmp_path / "gru.ckpt"
    weights = {f"network.{k}": v for k, v in build("gru").state_dict().items()}
    torch.save(
        {"state_dict": weights, "hyper_parameters": {"config": config}, "pytorch-lightning_version": "2.0"}, path
    )
    assert grow.main([str(path), "--dilations", "4", "--out", str(tmp_path / "out.ckpt")]) == 2
    assert "not a TCN" in capsys.readouterr().err
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    assert grow.main([str(tmp_path / "text.ckpt"), "--dilations", "4", "--out", str(tmp_path / "out.ckpt")]) == 2
    assert "not a checkpoint" in capsys.readouterr().err
    assert grow.main([str(checkpoint), "--channels", "8", "--out", str(tmp_path / "out.ckpt")]) == 2
    assert "fewer" in capsys.readouterr().err
    assert grow.main([str(tmp_path / "none.ckpt"), "--dilations", "4", "--out", str(tmp_path / "out.ckpt")]) == 2
    loaded = torch.load(checkpoint, weights_only=True)
    loaded["hyper_parameters"]["config"]["sizes"]["channels"] = 20
    torch.save(loaded, tmp_path / "sizes.ckpt")
    capsys.readouterr()
    assert grow.main([str(tmp_path / "sizes.ckpt"), "--dilations", "4", "--out", str(tmp_path / "out.ckpt")]) == 2
    error = capsys.readouterr().err
    assert "sizes.ckpt: the weights are not those" in error and error.count("\n") == 1
    for option in ("--dilations", "--channels"):
        with pytest.raises(SystemExit, match="2"):
            grow.main([str(checkpoint), option, "0", "--out", str(tmp_path / "out.ckpt")])
        assert "must be more than 0, not" in capsys.readouterr().err
    assert not (tmp_path / "out.ckpt").exists()
