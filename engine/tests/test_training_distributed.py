"""Training on several processes: they share what one would draw, and learn as one with their batches together."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import studio

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from torch.utils.data import DataLoader  # noqa: E402

from dance import FeatureSpec  # noqa: E402
from training import train  # noqa: E402
from training.augment import Augment  # noqa: E402
from training.dataset import BLOCK, Batches, load_features  # noqa: E402

LABELS = ("kick", "snare", "hihat")
SPEC = FeatureSpec(bands=24)
ROOT = Path(__file__).parents[2]
STEPS = 40


@pytest.fixture(scope="module")
def chunks(tmp_path_factory):
    folder = studio.chunk_set(tmp_path_factory.mktemp("sets") / "grid")
    load_features(folder, SPEC, LABELS)
    return folder


def batches(chunks, batch, rank=0, world=1):
    result = Batches([load_features(chunks, SPEC, LABELS)], Augment(), 80, batch, 4, seed=3)
    result.rank, result.world = rank, world
    return result


def test_processes_draw_together_what_one_would(chunks):
    whole = list(batches(chunks, 4 * BLOCK))
    shares = [list(batches(chunks, 2 * BLOCK, rank, 2)) for rank in (0, 1)]
    for number, expected in enumerate(whole):
        for name, values in expected.items():
            dealt = values.unflatten(0, (4, BLOCK))
            for rank in (0, 1):
                assert torch.equal(shares[rank][number][name], dealt[rank::2].flatten(0, 1)), name


def test_loading_processes_change_nothing(chunks):
    given = [batch["frames"] for batch in batches(chunks, 4)]
    for workers in (1, 3):
        loaded = [batch["frames"] for batch in DataLoader(batches(chunks, 4), batch_size=None, num_workers=workers)]
        assert len(loaded) == len(given) and all(map(torch.equal, loaded, given))


def command(chunks, out, batch, *options, dropout=0.0):
    """Return a command that trains a tiny network in `out`; dropout differs from process to process."""
    out.mkdir(exist_ok=True)
    config = {
        "train": [str(chunks)],
        "labels": LABELS,
        "features": asdict(SPEC),
        "sizes": {"channels": 16, "dilations": [1], "dropout": dropout},
        "steps": STEPS,
        "epoch_steps": 20,
        "batch": batch,
        "seconds": 1.0,
        "rate": 0.005,
    }
    (out / "given.json").write_text(json.dumps(config))
    return [sys.executable, str(ROOT / "training" / "train.py"), "--config", str(out / "given.json"), "--out", str(out),
            "--plain", "--workers", "0", "--precision", "32-true", "--accelerator", "cpu", *options]  # fmt: skip


def curve(out):
    """Return the logged training losses by step."""
    with next((out / "run" / "log").glob("version_*/metrics.csv")).open() as file:
        return {int(row["step"]): float(row["train_loss"]) for row in csv.DictReader(file) if row["train_loss"]}


def weights(out):
    return train.DrumTask.load_from_checkpoint(out / "run" / "last.ckpt", weights_only=True).network.state_dict()


def begin(arguments):
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def alone(arguments):
    """Train in this process; starting another takes longer than that."""
    assert train.main(arguments[2:]) == 0


def test_two_processes_learn_as_one_with_twice_the_batch(chunks, tmp_path):
    one, two, half = (tmp_path / name for name in ("one", "two", "half"))
    both = begin(command(chunks, two, BLOCK, "--devices", "2", "--strategy", "ddp"))
    alone(command(chunks, one, 2 * BLOCK))
    alone(command(chunks, half, BLOCK))
    _, errors = both.communicate(timeout=300)
    assert both.returncode == 0, errors
    expected, found, other = curve(one), curve(two), curve(half)
    assert list(found) == list(expected) and len(found) == 2
    # not equal: on a CPU each process normalises by its own share, and averages the errors of its own hits
    for step, loss in expected.items():
        assert found[step] == pytest.approx(loss, rel=0.025)
    assert max(abs(other[step] / loss - 1) for step, loss in expected.items()) > 0.025  # the batch matters
    apart = [sum(float((w - state[k]).square().sum()) for k, w in weights(one).items() if k.endswith("weight"))
             for state in (weights(two), weights(half))]  # fmt: skip
    assert apart[0] < 0.3 * apart[1]


def test_a_killed_run_goes_on_and_ends_the_same(chunks, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    dies = (
        "import os, signal, sys; from training import train\n"
        "def die(task, batch, number): task.global_step == 30 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "train.DrumTask.on_train_batch_start = die; train.main(sys.argv[1:])"
    )
    arguments = command(chunks, killed, 4, dropout=0.2)
    victim = begin([sys.executable, "-c", dies, *arguments[2:]])
    alone(command(chunks, whole, 4, dropout=0.2))
    _, errors = victim.communicate(timeout=300)
    assert victim.returncode == -signal.SIGKILL, errors
    alone(arguments)
    expected = weights(whole)
    for name, value in weights(killed).items():
        torch.testing.assert_close(value, expected[name], msg=name)


@pytest.mark.parametrize(("epoch", "words"), [(0, "first epoch had not ended"), (1, "goes on from the last epoch")])
def test_ctrl_c_ends_with_its_code_and_says_how_to_go_on(chunks, tmp_path, monkeypatch, capsys, epoch, words):
    def press(task, batch, number):
        if task.current_epoch == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.DrumTask, "on_train_batch_start", press)
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert train.main(command(chunks, tmp_path / "stopped", 4)[2:]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning has turned it off
    assert words in capsys.readouterr().err


def test_ctrl_c_in_a_destructor_is_not_lost(chunks, tmp_path, monkeypatch, capsys):
    def press(task, batch, number):
        if task.global_step == 25:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(train.DrumTask, "on_train_batch_start", press)
    handler = signal.getsignal(signal.SIGINT)
    assert train.main(command(chunks, tmp_path / "stopped", 4)[2:]) == 130
    assert "goes on from the last epoch" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_pressed_again_ends_at_once(chunks, tmp_path, monkeypatch):
    def press(task, batch, number):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("went on")

    monkeypatch.setattr(train.DrumTask, "on_train_batch_start", press)
    assert train.main(command(chunks, tmp_path / "stopped", 4)[2:]) == 130


def test_ctrl_c_for_all_processes_ends_one_that_loads_batches_too(chunks, tmp_path):
    arguments = command(chunks, tmp_path / "run", 4, "--steps", "100000")
    arguments[arguments.index("--workers") + 1] = "2"
    running = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               start_new_session=True, preexec_fn=interruptible)  # fmt: skip
    deadline = time.monotonic() + 240
    while not (tmp_path / "run" / "run" / "last.ckpt").exists() and running.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130 and "Traceback" not in errors, errors
    assert errors.endswith("stopped; the same command goes on from the last epoch\n")


def interruptible():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a shell turns off for what runs in the background


def test_a_batch_that_cannot_be_shared_is_refused(chunks, tmp_path, capsys):
    assert train.main(command(chunks, tmp_path / "odd", 12, "--devices", "2", "--strategy", "ddp")[2:]) == 2
    assert f"multiple of {BLOCK}" in capsys.readouterr().err
    assert train.main(command(chunks, tmp_path / "odd", 12, "--strategy", "nosuch")[2:]) == 2
    assert "nosuch" in capsys.readouterr().err
