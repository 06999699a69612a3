"""Detector: same events for any blocks, a true clock through gaps and ends, healthy after bad input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import tiny_model

import dance.detector
from dance.detector import Detector
from dance.errors import SpecError
from dance.features import log_mel
from dance.score import match

RATES = (44100, 48000)
SONG = Path(__file__).parents[2] / "data" / "demo" / "song.ogg"


def run(detector, samples, block):
    events = []
    for start in range(0, len(samples), block):
        events += detector.process(samples[start : start + block])
    return events


def song(rate, seconds=3.0):
    """Noise besides the hits, so that no model is without events."""
    noise = np.random.default_rng(1).normal(0, 0.2, round(seconds * rate)).astype(np.float32)
    noise *= np.exp(-(np.arange(len(noise)) % (rate // 3)) / (0.02 * rate)).astype(np.float32)
    return tiny_model.song(rate, seconds) + noise


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("length", [0, 1, 12345, 130000])
def test_blocks_make_no_difference(model_path, rate, length):
    samples = song(rate)[:length]
    detector = Detector.load(model_path, sample_rate=rate)
    whole = detector.process(samples)
    assert length < 100000 or whole
    presence, rest = detector.presence(), detector.flush()
    for block in (1, 17, rate // 100 - 1, rate // 100, max(length, 1)):
        detector.reset()
        assert run(detector, samples, block) == whole
        assert np.array_equal(detector.presence(), presence)
        assert detector.flush() == rest


@pytest.mark.parametrize("rate", RATES)
def test_what_comes_later_changes_nothing(model_path, rate):
    samples = song(rate)
    whole = Detector.load(model_path, sample_rate=rate).process(samples)
    assert whole
    for length in (1000, 50000, whole[-1].reported - 1, whole[-1].reported):
        before = Detector.load(model_path, sample_rate=rate).process(samples[:length])
        assert before == [event for event in whole if event.reported <= length]


def test_reset_equals_new(model_path):
    samples = song(48000)
    used, new = (Detector.load(model_path, sample_rate=48000) for _ in range(2))
    used.process(samples[5000:77777])
    used.skip(1234)
    used.flush()
    used.reset()
    assert np.array_equal(used.presence(), new.presence())
    assert used.process(samples) == new.process(samples)
    assert np.array_equal(used.presence(), new.presence())
    assert used.flush() == new.flush()


@pytest.mark.parametrize("rate", RATES)
def test_hits_are_found_where_they_are(tiny_path, rate):
    detector = Detector.load(tiny_path, sample_rate=rate)
    events = detector.process(tiny_model.song(rate))
    assert [event.label for event in events] == ["kick", "snare", "hihat"] * 4
    for number, event in enumerate(events):
        assert event.time == pytest.approx(0.1234 + number / 4, abs=0.010)
        assert event.reported - event.sample == detector.latency == round(0.008 * rate)
        assert event.delay == pytest.approx(0.008, abs=1 / rate)
        assert 0 < event.velocity <= 1
        assert 0.5 <= event.confidence <= 1


def test_sample_rates_agree(tiny_path):
    pair = [Detector.load(tiny_path, sample_rate=rate).process(tiny_model.song(rate)) for rate in RATES]
    assert pair[0]
    for a, b in zip(*pair, strict=True):
        assert a.label == b.label
        assert a.time == pytest.approx(b.time, abs=0.005)


def test_sample_rates_agree_on_the_demo_song(model_path):
    """F of one list of events against the other, at 5 ms, is at least .98."""
    song, rate = soundfile.read(SONG, dtype="float32")
    found = pairs = 0
    lists = []
    for to in RATES:
        detector = Detector.load(model_path, sample_rate=to)
        lists.append(detector.process(soxr.resample(song, rate, to, "VHQ")))
    for label in detector.labels:
        low, high = ([event.time for event in events if event.label == label] for events in lists)
        found += len(low) + len(high)
        pairs += len(match(low, high, 0.005))
    assert found > 100
    assert 2 * pairs / found >= 0.98


def test_labels_choose_what_is_reported(tiny_path):
    samples = tiny_model.song(44100)
    every = Detector.load(tiny_path, sample_rate=44100).process(samples)
    detector = Detector.load(tiny_path, sample_rate=44100, labels=["hihat", "kick"])
    assert detector.labels == ("hihat", "kick")
    assert detector.process(samples) == [event for event in every if event.label != "snare"]
    hihat, kick = detector.presence()
    assert hihat > kick > 0


def test_sensitivity_changes_what_counts(tiny_path):
    samples = tiny_model.song(44100)
    counts = [
        len(Detector.load(tiny_path, sample_rate=44100, sensitivity=value).process(samples))
        for value in (0.0, 0.5, 1.0, {"kick": 0.5})
    ]
    assert counts[0] < counts[1] == counts[3] < counts[2]


def test_an_observer_sees_every_frame_and_changes_nothing(tiny_path):
    rate = 44100
    samples = tiny_model.song(rate)
    detector, seen = Detector.load(tiny_path, sample_rate=rate), []
    plain = detector.process(samples)
    detector.reset()
    detector.observer = lambda frame, features, onset: seen.append((frame, features.copy(), onset.copy()))
    assert run(detector, samples, 1000) == plain
    assert [frame for frame, _, _ in seen] == list(range(300))
    assert np.array_equal([features for _, features, _ in seen], log_mel(samples, detector.spec.features, rate))
    for event in plain:
        (onset,) = [
            onset for frame, _, onset in seen if detector.spec.features.frame_end(frame, rate) == event.reported
        ]
        assert onset[detector.spec.labels.index(event.label)] == np.float32(event.confidence)


def test_presence_jumps_and_decays(tiny_path):
    rate = 48000
    detector = Detector.load(tiny_path, sample_rate=rate)
    samples = tiny_model.song(rate, 0.3)
    assert np.array_equal(detector.presence(), np.zeros(3, np.float32))
    (kick,) = detector.process(samples[: 48 * 240])
    level, *others = detector.presence()
    assert others == [0, 0]
    passed = (48 * 240 - kick.reported) / rate
    assert level == pytest.approx(kick.velocity * np.exp(-passed / detector.spec.presence_seconds))
    # A gap and silence count as time, too.
    detector.skip(1000)
    detector.process(np.zeros(3800, np.float32))
    assert detector.presence()[0] == pytest.approx(level * np.exp(-0.1 / detector.spec.presence_seconds))
    assert detector.presence().dtype == np.float32


def test_presence_is_that_of_the_loudest_hit_after_its_decay(tiny_path):
    rate = 48000
    detector = Detector.load(tiny_path, sample_rate=rate)
    samples = tiny_model.song(rate) * np.linspace(1, 0.3, 3 * rate, dtype=np.float32)
    levels = dict.fromkeys(detector.labels, (0.0, 0))
    for event in detector.process(samples):
        level, since = levels[event.label]
        decayed = level * np.exp(-(event.reported - since) / rate / detector.spec.presence_seconds)
        levels[event.label] = max(event.velocity, decayed), event.reported
    expected = [
        level * np.exp(-(3 * rate - since) / rate / detector.spec.presence_seconds) for level, since in levels.values()
    ]
    assert min(expected) > 0
    np.testing.assert_allclose(detector.presence(), expected, rtol=1e-5)


def test_flush_decides_what_is_left(tiny_path):
    rate = 44100
    samples = tiny_model.song(rate, 0.5)
    # The second hit has just begun, and the frame that will show it lacks ten samples.
    end = tiny_model.SPEC.features.frame_end(37, rate) - 10
    detector = Detector.load(tiny_path, sample_rate=rate)
    assert [event.label for event in detector.process(samples[:end])] == ["kick"]
    (event,) = detector.flush()
    assert event.label == "snare"
    assert event.sample < end < event.reported
    assert detector.flush() == []
    with pytest.raises(RuntimeError, match="reset"):
        detector.process(samples)
    with pytest.raises(RuntimeError, match="reset"):
        detector.skip(1)
    detector.reset()
    assert detector.process(samples[:end])


def test_flush_has_nothing_to_say(model_path):
    assert Detector.load(model_path, sample_rate=48000).flush() == []
    detector = Detector.load(model_path, sample_rate=48000)
    detector.process(np.zeros(48000, np.float32))
    assert detector.flush() == []


def test_skip_keeps_the_clock(tiny_path):
    rate = 44100
    samples = tiny_model.song(rate)
    detector = Detector.load(tiny_path, sample_rate=rate)
    whole = detector.process(samples)
    # A whole number of hops goes missing in the hum between two hits.
    gap = slice(441 * 100, 441 * 105)
    detector.reset()
    events = detector.process(samples[: gap.start])
    detector.skip(gap.stop - gap.start)
    assert events + detector.process(samples[gap.stop :]) == whole
    # Any number, and the clock is still true to a frame.
    detector.reset()
    events = detector.process(samples[:44444])
    detector.skip(1234)
    events += detector.process(samples[44444 + 1234 :])
    assert [event.label for event in events] == [event.label for event in whole]
    for a, b in zip(events, whole, strict=True):
        assert abs(a.sample - b.sample) <= 441


@pytest.mark.parametrize("lost", [441, 30_000, 10 * 44100])
def test_a_clock_that_jumps_doubles_no_hit_and_moves_none_into_the_gap(tiny_path, lost):
    rate = 44100
    samples = tiny_model.song(rate)
    detector = Detector.load(tiny_path, sample_rate=rate)
    whole = detector.process(samples)
    for hit in whole:
        for cut in (hit.sample + 5, hit.sample + 300, hit.reported, hit.reported + 441):
            detector.reset()
            events = detector.process(samples[:cut])
            detector.skip(lost)
            events += detector.process(samples[cut:])
            moved = [event.sample + lost * (event.sample >= cut) for event in whole]
            assert [event.label for event in events] == [event.label for event in whole]
            for event, sample in zip(events, moved, strict=True):
                assert abs(event.sample - sample) < 441, (cut, event)


def test_a_hit_between_losses_keeps_its_time(tiny_path):
    rate, lost = 44100, (7 * 441, 5 * 441)  # whole hops, so that frames end where they did
    samples = tiny_model.song(rate)
    detector = Detector.load(tiny_path, sample_rate=rate)
    for hit in (whole := detector.process(samples)):
        detector.reset()
        events, done = [], 0
        for cut, gone in zip((hit.sample + 50, hit.sample + 300), lost, strict=True):
            events += detector.process(samples[done:cut])
            detector.skip(gone)
            done = cut
        events += detector.process(samples[done:])
        assert [event.label for event in events] == [event.label for event in whole]
        assert events[whole.index(hit)].sample == hit.sample


def test_refractory_time_goes_on_in_a_gap(tmp_path):
    rate = 44100
    spec = replace(tiny_model.SPEC, enabled=("kick",), refractory_seconds=(0.5, 0.5, 0.5))
    detector = Detector.load(tiny_model.save(tmp_path / "slow.onnx", spec), sample_rate=rate)
    samples = tiny_model.song(rate, 1.0)
    whole = detector.process(samples)
    assert len(whole) == 2
    detector.reset()
    events = detector.process(samples[: 30 * 441])
    detector.skip(50 * 441)
    assert events + detector.process(samples[80 * 441 :]) == whole


def test_silence_says_nothing(model_path):
    for rate in RATES:
        detector = Detector.load(model_path, sample_rate=rate)
        for level in (0.0, 1e-40, 1e-9):
            assert detector.process(np.full(rate, level, np.float32)) == []


def test_healthy_after_bad_input(model_path):
    """A second of nonsense, and a minute later, when that is forgotten, the same music gives the same events."""
    rate = 48000
    bad = np.concatenate([np.full(rate // 4, x, np.float32) for x in (np.nan, np.inf, -np.inf, 3e38)])
    quiet, music = np.zeros(rate * 60, np.float32), song(rate)
    detector = Detector.load(model_path, sample_rate=rate)
    detector.process(np.zeros(rate, np.float32))
    detector.process(quiet)
    expected = detector.process(music)
    detector.reset()
    detector.process(bad)
    detector.process(quiet)
    found = detector.process(music)
    assert expected
    assert [(event.label, event.sample) for event in found] == [(e.label, e.sample) for e in expected]
    assert np.all(np.isfinite(detector.presence()))


@pytest.mark.parametrize("size", [64, 441, 4096])
def test_skipping_nothing_changes_nothing(tiny_path, size):
    samples = tiny_model.song(44100)
    expected = Detector.load(tiny_path, sample_rate=44100).process(samples)
    detector = Detector.load(tiny_path, sample_rate=44100)
    events = []
    for start in range(0, len(samples), size):
        detector.skip(0)
        events += detector.process(samples[start : start + size])
    assert events == expected


def test_nothing_skipped_does_not_push_out_what_was(tiny_path):
    """Hits right behind a loss are dated behind it, however often nothing is lost after it."""
    samples, heard = tiny_model.song(44100), []
    for more in (0, 50):
        detector = Detector.load(tiny_path, sample_rate=44100)
        events = detector.process(samples[:30000])
        detector.skip(44100)
        for _ in range(more):
            detector.skip(0)
        heard.append(events + detector.process(samples[30000:]))
    assert heard[0] == heard[1]


@pytest.mark.parametrize(("n", "error"), [(1.5, TypeError), ("1", TypeError), (-1, ValueError)])
def test_what_cannot_be_skipped(tiny_path, n, error):
    with pytest.raises(error):
        Detector.load(tiny_path, sample_rate=44100).skip(n)


def test_clipped_input(tiny_path):
    samples = (50 * tiny_model.song(44100)).clip(-1, 1)
    events = Detector.load(tiny_path, sample_rate=44100).process(samples)
    assert {event.label for event in events} == {"kick", "snare", "hihat"}


@pytest.mark.parametrize(
    "samples",
    [np.zeros(500), np.zeros(500, np.int16), np.zeros((500, 2), np.float32), [0.0], np.zeros(0), 5, None],
    ids=lambda value: type(value).__name__,
)
def test_wrong_samples(tiny_path, samples):
    with pytest.raises(TypeError, match="float32 array of one dimension"):
        Detector.load(tiny_path, sample_rate=44100).process(samples)


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"sample_rate": 22050}, "44100 or 48000"),
        ({"labels": ["cowbell"]}, "kick"),
        ({"labels": []}, "kick"),
        ({"labels": ["kick", "kick"]}, "kick"),
        ({"sensitivity": 1.5}, "between 0 and 1"),
        ({"sensitivity": {"cowbell": 0.5}}, "cowbell"),
    ],
)
def test_wrong_arguments(tiny_path, values, hint):
    with pytest.raises(SpecError, match=hint):
        Detector.load(tiny_path, **{"sample_rate": 44100, **values})


def test_package_without_model(monkeypatch, tmp_path):
    monkeypatch.setattr(dance.detector, "RELEASED", tmp_path / "dance.onnx")
    with pytest.raises(SpecError, match="model file"):
        Detector.load(sample_rate=44100)


def test_package_model(monkeypatch, tiny_path):
    monkeypatch.setattr(dance.detector, "RELEASED", tiny_path)
    assert Detector.load(sample_rate=44100).spec == tiny_model.SPEC
