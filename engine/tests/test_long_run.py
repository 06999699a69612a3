"""After hours, the clock is exact to the sample and memory is what it was at the beginning."""

import functools
from pathlib import Path

import numpy as np
import pytest
import tiny_model
from stage import RELEASED, model, tiny

from benchmarks import long_run
from dance import Detector, Event

RATES = (44100, 48000)
GROWTH = 4e6
"""Bytes of resident memory: what an allocator may keep; a leak of 10 bytes a block would be more in a slow test."""


@functools.cache
def song(rate: int) -> np.ndarray:
    """Return 10 s of hits behind a second of silence; a whole number of frames at both rates."""
    return np.concatenate([np.zeros(rate, np.float32), tiny_model.song(rate, 10.0)])


def shifted(events: list[Event], samples: int) -> list[tuple[str, int, int]]:
    return [(event.label, event.sample - samples, event.reported - samples) for event in events]


@pytest.mark.parametrize("rate", RATES)
def test_every_round_of_some_minutes_is_the_same(rate: int) -> None:
    detector = Detector.load(tiny(), sample_rate=rate)
    samples = long_run.whole_frames(song(rate), detector)
    outcome = long_run.run(detector, samples, 20)
    assert outcome.samples == 20 * 11 * rate
    assert outcome.events > 30
    assert (outcome.different, outcome.deviation) == (0, 0.0)
    assert outcome.late - outcome.early < GROWTH


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("far", [2**31, 2**32, 2**40])
def test_the_clock_is_exact_beyond_any_integer_that_might_overflow(rate: int, far: int) -> None:
    samples = song(rate)
    detector = Detector.load(tiny(), sample_rate=rate)
    detector.process(samples)
    near = detector.process(samples)
    hop = rate // 100
    gap = far // hop * hop
    detector.skip(gap)
    late = detector.process(samples)
    assert len(near) > 30
    assert shifted(late, 2 * len(samples) + gap) == shifted(near, len(samples))
    assert all(event.reported > far for event in late)
    expected = _presence_after(late, detector, 3 * len(samples) + gap)
    np.testing.assert_allclose(detector.presence(), expected, rtol=1e-6)


def _presence_after(events: list[Event], detector: Detector, end: int) -> np.ndarray:
    """Return what the last hits of each label leave at sample `end`."""
    present = np.zeros(len(detector.labels))
    at = np.zeros(len(detector.labels))
    for event in events:
        place = detector.labels.index(event.label)
        seconds = (event.reported - at[place]) / detector.sample_rate
        present[place] = max(event.velocity, present[place] * np.exp(-seconds / detector.spec.presence_seconds))
        at[place] = event.reported
    seconds = (end - at) / detector.sample_rate
    return (present * np.exp(-seconds / detector.spec.presence_seconds)).astype(np.float32)


def test_a_round_that_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector.load(tiny(), sample_rate=44100)
    samples = song(44100)
    process, calls = detector.process, iter(range(10**9))
    blocks = -(-len(samples) // 256)

    def late(part: np.ndarray) -> list[Event]:
        # a block is lost in the fifth round: everything after it is early on the song's clock
        return process(part[:0] if next(calls) == 4 * blocks else part)

    monkeypatch.setattr(detector, "process", late)
    assert long_run.run(detector, samples, 8).different == 4


def test_the_script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert long_run.main(["--hours", "0", "--rates", "44100", "--model", str(tiny()), "--growth", "50"]) == 0
    assert "44100" in capsys.readouterr().out
    assert long_run.main(["--song", str(tmp_path / "none.wav")]) == 2
    assert "long_run:" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("path", [tiny, model], ids=["tiny", "released"])
def test_eight_hours(rate: int, path) -> None:
    if path is model and not RELEASED.is_file():
        pytest.skip("no released model yet")
    detector = Detector.load(path(), sample_rate=rate)
    samples = long_run.whole_frames(song(rate), detector)
    outcome = long_run.run(detector, samples, 8 * 3600 // 11)
    assert outcome.events > 30
    assert outcome.different == 0
    assert outcome.deviation < long_run.ROUNDING
    assert outcome.late - outcome.early < GROWTH
