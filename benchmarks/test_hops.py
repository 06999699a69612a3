"""Time of a hop through each stage and through all, as pytest-benchmark takes it; `cost.py` makes a table of it.

    pytest benchmarks/test_hops.py --benchmark-enable

Each round is one call with the next piece of a recording, as a live stream would bring it. Without the option
every function only runs once.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.common import mono
from dance.detector import Detector
from dance.evidence import Evidence
from dance.expectation import Expectation
from dance.features import LogMel, log_mel
from dance.network import Network
from dance.peaks import PeakPicker
from dance.votes import Votes

RATES = (44100, 48000)
BLOCKS = (64, 128, 256, "hop", 1024)
ROUNDS = 10_000
"""Enough for ten beyond the 99.9th percentile."""
LIVE_ROUNDS = 1000
WARMUP = 200
PAUSE = 0.009
"""Seconds; with the hop itself about the ten milliseconds of a live stream."""


@pytest.fixture(scope="module", params=RATES)
def rate(request: pytest.FixtureRequest) -> int:
    """Return the sample rate."""
    return int(request.param)


@pytest.fixture(scope="module")
def song(rate: int, request: pytest.FixtureRequest) -> np.ndarray:
    """Return the recording, mono."""
    return mono(request.config.getoption("song"), rate)


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest) -> Network:
    """Return the model."""
    return Network(request.config.getoption("model"))


@pytest.fixture(scope="module")
def graph(request: pytest.FixtureRequest) -> Network:
    """Return the model as ONNX Runtime does it."""
    return Network(request.config.getoption("model"), compiled=False)


@pytest.fixture(scope="module")
def frames(network: Network, rate: int, song: np.ndarray) -> np.ndarray:
    """Return the recording's log-mel frames."""
    return log_mel(song, network.spec.features, rate)


def test_log_mel(benchmark: BenchmarkFixture, network: Network, rate: int, song: np.ndarray) -> None:
    """Samples to a frame."""
    hop = round(network.spec.features.hop_seconds * rate)
    mel = LogMel(network.spec.features, rate)
    out = np.empty((2, mel.bands), np.float32)
    measure(benchmark, lambda block: mel.process(block, out), cut(song, hop), rate, hop)


def test_network(benchmark: BenchmarkFixture, network: Network, rate: int, frames: np.ndarray) -> None:
    """A frame to activations."""
    network.reset()
    measure(benchmark, network.step, list(frames), rate, round(network.spec.features.hop_seconds * rate))


def test_network_by_onnx_runtime(benchmark: BenchmarkFixture, graph: Network, rate: int, frames: np.ndarray) -> None:
    """The same where no step is compiled."""
    graph.reset()
    measure(benchmark, graph.step, list(frames), rate, round(graph.spec.features.hop_seconds * rate))


def test_votes(benchmark: BenchmarkFixture, network: Network, rate: int, frames: np.ndarray) -> None:
    """Activations, weighed by hits that sounded alike."""
    network.reset()
    told = [(network.step(frame)[0].copy(), network.timbre.copy()) for frame in frames]
    out = np.empty_like(told[0][0])
    votes = Votes(network.spec, network.timbre.size)
    hop = round(network.spec.features.hop_seconds * rate)
    measure(benchmark, lambda outputs: votes.process(*outputs, out), told, rate, hop)


def test_expectation(benchmark: BenchmarkFixture, network: Network, rate: int, frames: np.ndarray) -> None:
    """Activations, weighed by what repeats."""
    weigh(benchmark, Expectation(network.spec), network, rate, frames)


def test_evidence(benchmark: BenchmarkFixture, network: Network, rate: int, frames: np.ndarray) -> None:
    """Activations, weighed by whether drums were heard at all."""
    weigh(benchmark, Evidence(network.spec), network, rate, frames)


def weigh(
    benchmark: BenchmarkFixture, weighing: Expectation | Evidence, network: Network, rate: int, frames: np.ndarray
) -> None:
    """Time a weighing of what the network says of frames."""
    network.reset()
    activations = [network.step(frame)[0].copy() for frame in frames]
    out = np.empty_like(activations[0])
    hop = round(network.spec.features.hop_seconds * rate)
    measure(benchmark, lambda onset: weighing.process(onset, out), activations, rate, hop)


def test_peak_picker(benchmark: BenchmarkFixture, network: Network, rate: int, frames: np.ndarray) -> None:
    """Activations to hits."""
    network.reset()
    activations = [tuple(output.copy() for output in network.step(frame)) for frame in frames]
    hits = np.empty_like(activations[0][0], np.uint8)
    picker = PeakPicker(network.spec)
    hop = round(network.spec.features.hop_seconds * rate)
    measure(benchmark, lambda outputs: picker.process(outputs[0], hits, outputs[1]), activations, rate, hop)


@pytest.mark.parametrize("block", BLOCKS)
def test_detector(benchmark: BenchmarkFixture, network: Network, rate: int, song: np.ndarray, block: int | str) -> None:
    """Samples to events: everything, in blocks of a hop or as a device may cut them."""
    size = round(network.spec.features.hop_seconds * rate) if block == "hop" else int(block)
    network.reset()
    detector = Detector(network, sample_rate=rate)
    measure(benchmark, detector.process, cut(song, size), rate, size)


def test_detector_at_live_pace(benchmark: BenchmarkFixture, network: Network, rate: int, song: np.ndarray) -> None:
    """The same with a pause before each hop, in which caches and clock rate are lost to others, as on stage."""
    network.reset()
    live(benchmark, network, rate, song)


def test_detector_at_live_pace_by_onnx_runtime(
    benchmark: BenchmarkFixture, graph: Network, rate: int, song: np.ndarray
) -> None:
    """The same where no step is compiled."""
    graph.reset()
    live(benchmark, graph, rate, song)


def live(benchmark: BenchmarkFixture, network: Network, rate: int, song: np.ndarray) -> None:
    """Time hops with pauses between them."""
    hop = round(network.spec.features.hop_seconds * rate)
    detector = Detector(network, sample_rate=rate)
    measure(benchmark, detector.process, cut(song, hop), rate, hop, rounds=LIVE_ROUNDS, pause=PAUSE)


def cut(song: np.ndarray, size: int) -> list[np.ndarray]:
    """Return the recording in blocks of `size` samples."""
    return [song[start : start + size] for start in range(0, len(song) - size, size)]


def measure(
    benchmark: BenchmarkFixture,
    call: Callable[[Any], object],
    pieces: Sequence[object],
    rate: int,
    samples: int,
    *,
    rounds: int = ROUNDS,
    pause: float = 0.0,
) -> None:
    """Time `call` with one piece after the other, each standing for so many samples, after a pause in seconds."""
    benchmark.extra_info.update(rate=rate, samples=samples)
    endless = itertools.cycle(pieces)

    def following() -> tuple[tuple[object], dict[str, object]]:
        if pause:
            time.sleep(pause)
        return (next(endless),), {}

    benchmark.pedantic(call, setup=following, rounds=rounds, iterations=1, warmup_rounds=WARMUP)
