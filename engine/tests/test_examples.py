"""The examples do what they show."""

from pathlib import Path

import pytest
import soundfile
from stage import ROOT, drums, run, tiny


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "drums.wav", drums(1.5), 44100)
    return tmp_path / "drums.wav"


def test_callback(wav: Path) -> None:
    done = run("examples/callback.py", wav, "--model", tiny())
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) >= 6
    assert {line[2] for line in lines} <= {"kick", "snare", "hihat"}
    assert float(lines[0][0]) == pytest.approx(0.125, abs=0.02)


def test_draw_loop(wav: Path) -> None:
    done = run("examples/draw_loop.py", wav, "--model", tiny())
    assert (done.returncode, done.stderr) == (0, "")
    frames = done.stdout.strip().split("\r")
    assert any("#" in frame for frame in frames)
    assert all("kick" in frame and "hihat" in frame for frame in frames)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_each_explains_itself(path: Path) -> None:
    done = run(path, "-h")
    assert done.returncode == 0
    assert "--model" in done.stdout
