"""LogMel against a plain float64 reference, and as a stream: blocks, gaps, odd input."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soxr

from dance import _dsp
from dance.errors import SpecError
from dance.features import LogMel, log_mel
from dance.spec import FeatureSpec

SPEC = FeatureSpec()
RATES = (44100, 48000)


def reference(samples, spec, rate):
    """Compute mel powers [frames, bands] from the definitions, in float64."""
    length = math.floor(spec.window_seconds * rate + 0.5)
    age = (np.arange(length)[::-1] + 0.5) / rate
    fall = np.cos(np.pi / 2 * (1 - age / spec.attack_seconds)) ** 2
    rise = np.sin(np.pi / 2 * (spec.window_seconds - age) / (spec.window_seconds - spec.attack_seconds)) ** 2
    window = np.where(age < spec.attack_seconds, fall, rise)
    size = 2 ** math.ceil(math.log2(length))

    # Triangles of peak 1 on the mel scale, integrated between the borders of each bin.
    mel = np.linspace(*(2595 * np.log10(1 + np.array([spec.f_min, spec.f_max]) / 700)), spec.bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    borders = (np.arange(size // 2 + 2) - 0.5) * rate / size
    areas = []
    for band in range(spec.bands):
        corners = edges[band : band + 3]
        grid = np.union1d(borders, corners)
        height = np.interp(grid, corners, [0, 1, 0])
        below = np.concatenate([[0], np.cumsum(np.diff(grid) * (height[1:] + height[:-1]) / 2)])
        areas.append(np.diff(np.interp(borders, grid, below)))

    powers = []
    padded = np.concatenate([np.zeros(length), np.asarray(samples, np.float64)])
    while (end := spec.frame_end(len(powers), rate)) <= len(samples):
        spectrum = np.fft.rfft(padded[end : end + length] * window, size)
        density = 2 * np.abs(spectrum) ** 2 / (rate * np.sum(window**2))
        powers.append(np.array(areas) @ density)
    return np.reshape(powers, (-1, spec.bands))


def powers(samples, spec, rate):
    """Ask LogMel for the same, one frame at a time."""
    stream, out, found = LogMel(spec, rate), np.empty((1, spec.bands), np.float32), []
    start = 0
    while (end := spec.frame_end(len(found), rate)) <= len(samples):
        assert stream.process(samples[start:end], out) == 1
        found.append(stream.power)
        np.testing.assert_allclose(out[0], 10 * np.log10(found[-1].astype(float) + spec.floor), atol=2e-5)
        start = end
    return np.reshape(found, (-1, spec.bands))


def noise(count, level=0.3, seed=0):
    return (level * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def sine(frequency, rate, level=1.0):
    return (level * np.sin(2 * np.pi * frequency * np.arange(rate // 2) / rate)).astype(np.float32)


SIGNALS = {
    "noise": lambda rate: noise(rate),
    "bass": lambda rate: sine(55, rate),
    "treble": lambda rate: sine(15000, rate, 0.5),
    "clipped": lambda rate: np.sign(sine(997, rate)),
    "clicks": lambda rate: (np.arange(rate) % 3001 == 0).astype(np.float32),
    "quiet": lambda rate: noise(rate, 1e-6),
    "nearly silent": lambda rate: noise(rate, 1e-13).clip(1e-14),
}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", SIGNALS)
def test_equals_reference(name, rate):
    samples = SIGNALS[name](rate)
    expected, found = reference(samples, SPEC, rate), powers(samples, SPEC, rate)
    error = np.abs(found - expected).max(axis=1)
    assert len(found) >= 50
    assert np.all(error <= 1e-6 * expected.max(axis=1))


@pytest.mark.parametrize("window_seconds", [0.0003, 0.0006, 0.012, 0.021, 0.093, 0.18])
def test_equals_reference_for_every_size_of_fft(window_seconds):
    spec = FeatureSpec(
        hop_seconds=0.0003,
        window_seconds=window_seconds,
        attack_seconds=window_seconds / 5,
        bands=12,
        f_min=0.0,
        f_max=22050.0,
    )
    samples = noise(10000)
    expected, found = reference(samples, spec, 44100), powers(samples, spec, 44100)
    assert np.all(np.abs(found - expected).max(axis=1) <= 1e-6 * expected.max(axis=1))


def test_full_scale_sine_has_minus_three_decibels():
    for rate in RATES:
        assert 10 * np.log10(powers(sine(1000, rate), SPEC, rate)[-1].sum()) == pytest.approx(-3.01, abs=0.01)


def test_sample_rates_agree():
    """Band-limited noise, swelling and fading, gives nearly the same frames at both rates.

    What is left comes from the low bands, which are as narrow as one bin: 0.05 dB on average, 0.4 dB in the
    worst band, and 0.7 dB in all but one of a hundred values.
    """
    rng = np.random.default_rng(3)
    swell = np.repeat(10 ** rng.uniform(-3, -0.5, 40), 4800)
    wide = swell * rng.standard_normal(len(swell))
    high = soxr.resample(soxr.resample(wide, 48000, 34000, "VHQ"), 34000, 48000, "VHQ")
    low = soxr.resample(high, 48000, 44100, "VHQ")
    a, b = (log_mel(x.astype(np.float32), SPEC, rate) for x, rate in ((high, 48000), (low, 44100)))
    # The resampler's own ends differ.
    difference = np.abs(a[5:390] - b[5:390])
    assert difference.mean() < 0.05
    assert difference.mean(axis=0).max() < 0.4
    assert np.quantile(difference, 0.99) < 0.7


def stream(samples, block, rate, spec=SPEC):
    mel = LogMel(spec, rate)
    frames = []
    for start in range(0, len(samples), block):
        part = samples[start : start + block]
        out = np.empty((mel.frames_after(len(part)), spec.bands), np.float32)
        assert mel.process(part, out) == len(out)
        frames.append(out)
    assert mel.position == len(samples)
    assert mel.frame == sum(map(len, frames))
    return np.concatenate([np.empty((0, spec.bands), np.float32), *frames])


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hop_seconds", [0.010, 0.0101])
@pytest.mark.parametrize("length", [0, 1, 12345, 60000])
def test_blocks_make_no_difference(rate, hop_seconds, length):
    spec = replace(SPEC, hop_seconds=hop_seconds)
    samples = noise(length)
    whole = log_mel(samples, spec, rate)
    hop = round(hop_seconds * rate)
    assert len(whole) == sum(spec.frame_end(frame, rate) <= length for frame in range(1000))
    for block in (1, 17, hop - 1, hop, max(length, 1)):
        assert np.array_equal(stream(samples, block, rate, spec), whole)


def test_what_comes_later_changes_nothing():
    samples = noise(30000)
    whole = log_mel(samples, SPEC, 44100)
    for length in (441, 10000, 20001):
        before = log_mel(samples[:length], SPEC, 44100)
        assert np.array_equal(whole[: len(before)], before)


def test_reset_equals_new():
    used, new = LogMel(SPEC, 48000), LogMel(SPEC, 48000)
    out, other = np.empty((40, 80), np.float32), np.empty((40, 80), np.float32)
    used.process(np.append(noise(9999), np.float32(np.nan)), out)
    used.skip(777)
    used.reset()
    assert (used.position, used.frame, used.nonfinite) == (0, 0, 0)
    assert np.array_equal(used.power, new.power)
    samples = noise(19200, seed=1)
    assert used.process(samples, out) == new.process(samples, other) == 40
    assert np.array_equal(out, other)


def test_silence_and_denormals_are_the_floor():
    silence = log_mel(np.zeros(48000, np.float32), SPEC, 48000)
    np.testing.assert_allclose(silence, -100, atol=1e-4)
    for value in (-0.0, 1e-40, 1e-16):
        assert np.array_equal(log_mel(np.full(48000, value, np.float32), SPEC, 48000), silence)


def test_nan_and_infinity_count_as_silence():
    samples = noise(48000)
    holes = samples.copy()
    holes[[1000, 20000, 20001]] = np.nan, np.inf, -np.inf
    samples[[1000, 20000, 20001]] = 0
    assert np.array_equal(log_mel(holes, SPEC, 48000), log_mel(samples, SPEC, 48000))
    mel = LogMel(SPEC, 48000)
    mel.process(holes, np.empty((100, 80), np.float32))
    assert mel.nonfinite == 3


def test_absurd_levels_are_limited():
    samples = noise(48000, 100)
    assert np.array_equal(log_mel(samples, SPEC, 48000), log_mel(samples.clip(-8, 8), SPEC, 48000))
    largest = np.full(48000, np.finfo(np.float32).max)
    assert np.all(np.isfinite(log_mel(largest, SPEC, 48000)))


def test_skip_moves_the_clock_and_joins():
    samples = noise(44100)
    joined = log_mel(samples, SPEC, 44100)
    mel, out = LogMel(SPEC, 44100), np.empty((100, 80), np.float32)
    first = mel.process(samples[:10000], out)
    assert mel.skip(441 * 7) == 7
    assert (mel.position, mel.frame) == (10000 + 441 * 7, first + 7)
    second = mel.process(samples[10000:], out[first:])
    assert mel.frame == 107
    assert np.array_equal(out[: first + second], joined)
    mel.skip(0)
    with pytest.raises(ValueError, match="negative"):
        mel.skip(-1)


def test_skip_counts_frames_that_end_in_the_gap():
    spec = FeatureSpec(hop_seconds=0.0101)
    mel = LogMel(spec, 44100)
    for gap in (1, 444, 445, 446, 0, 100000, 3):
        mel.skip(gap)
        assert spec.frame_end(mel.frame - 1, 44100) <= mel.position < spec.frame_end(mel.frame, 44100)


WRONG_SAMPLES = [
    np.zeros(500),
    np.zeros(500, np.int16),
    np.zeros((500, 1), np.float32),
    np.zeros(1000, np.float32)[::2],
    [0.0] * 500,
    b"1234",
    None,
]


def test_a_stream_has_an_end():
    mel = LogMel(SPEC, 44100)
    for more in (2**53 + 1, 2**63 - 1):
        with pytest.raises(ValueError, match="clock"):
            mel.skip(more)
    mel.skip(2**53)
    with pytest.raises(ValueError, match="clock"):
        mel.skip(1)


@pytest.mark.parametrize(
    ("hop", "window", "filters"),
    [(0.01, np.ones(16), np.ones(9)), (0.01, np.ones((4, 4)), np.ones((2, 9))), (np.inf, np.ones(16), np.ones((2, 9)))],
)
def test_what_makes_no_frames_is_refused(hop, window, filters):
    with pytest.raises(ValueError):
        _dsp.LogMel(hop, 44100, window, filters, 1e-10)


@pytest.mark.parametrize("samples", WRONG_SAMPLES, ids=lambda value: type(value).__name__)
def test_wrong_samples(samples):
    mel = LogMel(SPEC, 44100)
    with pytest.raises(TypeError):
        mel.process(samples, np.empty((2, 80), np.float32))
    assert mel.position == 0


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.empty((2, 80)), TypeError),
        (np.empty((80, 2), np.float32).T, TypeError),
        (np.empty(160, np.float32), TypeError),
        (None, TypeError),
        (np.empty((1, 80), np.float32), ValueError),
        (np.empty((2, 79), np.float32), ValueError),
    ],
)
def test_wrong_out(out, error):
    mel = LogMel(SPEC, 44100)
    with pytest.raises(error):
        mel.process(np.zeros(900, np.float32), out)
    assert mel.position == 0


def test_read_only_samples_are_welcome():
    samples = noise(1000)
    samples.setflags(write=False)
    assert log_mel(samples, SPEC, 44100).shape == (2, 80)


def test_rate_too_low():
    with pytest.raises(SpecError, match="resample"):
        LogMel(SPEC, 31999)
    LogMel(SPEC, 32000)


def test_steady_state_allocates_nothing():
    mel, out = LogMel(SPEC, 48000), np.empty((20, 80), np.float32)
    blocks = [noise(480), noise(4800), noise(1), noise(333)]

    def work():
        for _ in range(50):
            for block in blocks:
                mel.process(block, out)

    work()
    tracemalloc.start()
    try:
        work()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The views of the arguments come and go.
    assert kept < 300
    assert peak < 3000
