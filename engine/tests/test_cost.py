"""What the cost benchmarks count and compare, checked by hand."""

import math
import sys
import types

import numpy as np
import onnx
import pytest
import tiny_model
from stage import tiny

from benchmarks import limit, peer_runner, peers
from dance.features import mel_filters
from dance.spec import FeatureSpec


def test_arithmetic_of_a_network() -> None:
    bands, labels = tiny_model.SPEC.features.bands, len(tiny_model.SPEC.labels)
    work, weights = limit.network_work(tiny())
    product = 2 * bands * labels
    elementwise = 6 * labels + limit.LOGARITHM * labels  # Min, Sub, Sub, Mul, Mul, Clip; Sigmoid
    assert work == product + elementwise
    assert weights == bands * labels + 5


def test_arithmetic_of_the_features() -> None:
    spec = FeatureSpec()
    filters = np.count_nonzero(mel_filters(spec, 48000, 2048))
    window = math.floor(spec.window_seconds * 48000 + 0.5)
    expected = window + 2.5 * 2048 * 11 + 3 * 1024 + 2 * filters + limit.LOGARITHM * spec.bands
    assert limit.feature_work(spec, 48000) == expected


def test_operations_that_are_executed() -> None:
    listed = [node.op_type for node in onnx.load(tiny()).graph.node]
    assert 0 < limit.operations(tiny()) <= len(listed)
    assert limit.starting(len(listed), runs=3) > 0


def test_a_transcriber_is_compared_by_division() -> None:
    text = peers.beside_transcriber(peers.Row(cpu=0.5, memory=80.0), 100.0)
    assert "100 times less time" in text and "15 times less memory" in text and "not run here" in text


def test_a_rolling_buffer_tells_each_onset_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # A detector that needs 0.2 s after an onset, and sees only what it is given.
    def onset_detect(y: np.ndarray, sr: int, units: str = "frames") -> np.ndarray:
        found = np.flatnonzero(y) / sr
        return found[found < len(y) / sr - 0.2]

    library = types.SimpleNamespace(onset=types.SimpleNamespace(onset_detect=onset_detect))
    monkeypatch.setitem(sys.modules, "librosa", library)
    rate, samples = 1000, np.zeros(9000, np.float32)
    samples[[350, 2000, 2010, 7777]] = 1
    detection = peer_runner.librosa_rolling(samples, rate)
    assert next(detection) is None
    times, reported, _ = zip(*detection, strict=True)
    assert times == pytest.approx((0.35, 2.0, 7.777))
    assert reported == pytest.approx((0.6, 2.3, 8.0))


def test_a_detector_that_names_no_drum_is_scored_on_moments() -> None:
    row = peers.Row()
    truth = [(1.000, "kick"), (1.005, "hihat"), (2.0, "snare"), (3.0, "hihat")]
    row.add(truth, [(1.01, 1.02, ""), (2.9, 2.95, ""), (3.02, 3.05, "")])
    assert row.truth["any"] == 3
    assert (row.pairs["any"], row.heard["any"]) == (2, 3)
    assert row.f_measure("any") == pytest.approx(2 / 3)
    assert row.delays == pytest.approx([0.02, 0.05])
    assert row.heard["kick"] == 0


def test_a_detector_that_names_drums_is_scored_on_each() -> None:
    row = peers.Row()
    truth = [(1.000, "kick"), (1.005, "hihat"), (2.0, "snare")]
    row.add(truth, [(1.0, 1.01, "kick"), (1.01, 1.03, "hihat"), (2.0, 2.02, "kick")])
    assert row.f_measure("hihat") == 1
    assert row.f_measure("kick") == pytest.approx(2 / 3)
    assert row.f_measure("snare") == 0
    assert row.f_measure("any") == 1
    assert row.delays == pytest.approx([0.01, 0.02])


def test_a_whole_recording_has_no_delay() -> None:
    row = peers.Row()
    row.add([(1.0, "kick")], [(1.0, None, "")])
    assert row.whole
    assert not row.delays


def test_what_cannot_be_installed_is_a_row_that_says_why() -> None:
    table = peers.show({"dance": peers.Row(cpu=0.1), "aubio": "error: no compiler"}, 1.0)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["dance", "aubio"]
    assert cells[1][1] == "not run: error: no compiler"
