"""What the tests of sources, engine and command share: models, music, and a source that follows a script.

Contents
--------
ROOT, SONG, TRUTH, RELEASED, PATIENCE, tiny, model, detector, drums, Script, until, run
"""

import functools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tiny_model

from dance import Detector, Read
from dance.sources import Source

ROOT = Path(__file__).resolve().parents[2]
SONG = ROOT / "data" / "demo" / "song.ogg"
TRUTH = SONG.with_suffix(".tsv")
RELEASED = ROOT / "engine" / "dance" / "released" / "dance.onnx"

PATIENCE = float(os.environ.get("DANCE_TEST_PATIENCE", "1"))
"""How many times slower than a real machine this one is: more than 1 under emulation."""

_folder = tempfile.TemporaryDirectory(prefix="dance-")


@functools.cache
def tiny() -> Path:
    """Return the file of the tiny model."""
    return tiny_model.save(Path(_folder.name) / "tiny.onnx")


def model() -> Path:
    """Return the released model, or the tiny one where there is none yet."""
    return RELEASED if RELEASED.is_file() else tiny()


def detector(sample_rate: int = 44100) -> Detector:
    """Return a new detector with the tiny model."""
    return Detector.load(tiny(), sample_rate=sample_rate)


def drums(seconds: float = 3.0, sample_rate: int = 44100, seed: int = 0) -> np.ndarray:
    """Return four hits a second, thumps and hisses of different strength, float32 mono."""
    random = np.random.default_rng(seed)
    samples = np.zeros(round(seconds * sample_rate))
    time = np.arange(round(0.2 * sample_rate)) / sample_rate
    for hit in range(int(4 * seconds)):
        start = round((hit + 0.5) / 4 * sample_rate)
        if hit % 2:
            sound = random.normal(0, 0.2, len(time)) * np.exp(-time / 0.02)
        else:
            sound = np.sin(2 * np.pi * 60 * time) * np.exp(-time / 0.05)
        part = samples[start : start + len(time)]
        part += random.uniform(0.3, 0.9) * sound[: len(part)]
    return samples.astype(np.float32)


class Script(Source):
    """A source that does what its items say.

    Items: an array is heard, in blocks of up to `block` samples; an int is samples lost; an exception is raised; an
    event is waited for; None waits for `close`.
    """

    def __init__(self, *items: object, sample_rate: int = 44100, block: int = 1000, live: bool = True) -> None:
        self.sample_rate, self.live = sample_rate, live
        self.closed = threading.Event()
        self._items, self._block = list(items), block

    def read(self, out: np.ndarray, timeout: float) -> Read:
        lost = 0
        while self._items and not self.closed.is_set():
            item = self._items.pop(0)
            if isinstance(item, np.ndarray):
                part, rest = item[: self._block], item[self._block :]
                if len(rest):
                    self._items.insert(0, rest)
                out[: len(part)] = part
                return Read(len(part), lost)
            if isinstance(item, int):
                lost += item
            elif isinstance(item, BaseException):
                raise item
            else:
                (item or self.closed).wait()
        return Read(0, lost, ended=True)

    def close(self) -> None:
        self.closed.set()


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def run(*arguments: object, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments from the checkout's root, this package first on its path."""
    path = os.pathsep.join(
        filter(None, [environment.pop("PYTHONPATH", ""), str(ROOT / "engine"), os.environ.get("PYTHONPATH", "")])
    )
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout * PATIENCE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
