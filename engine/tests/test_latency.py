"""What `dance latency` finds: hits in a recording, times that add up, and a virtual microphone's own figures."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stage import ROOT, model, run, tiny, until

from benchmarks import latency as benchmark
from dance import Detector, Event, Microphone, SourceError, SpecError
from dance.cli import main
from dance.commands import listen
from dance.commands.latency import report
from dance.latency import PARTS, Clock, Delivery, Measurement, dissect, measure
from dance.probe import DRUMS, Probe
from dance.speaker import Speaker
from dance.virtual import VirtualMicrophone

DRUM_NAMES = tuple(DRUMS)
TOOLS = ("pulseaudio", "pactl", "pacat")
missing = [tool for tool in TOOLS if not shutil.which(tool)]
needs_pulse = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} (apt-get install pulseaudio)")


@pytest.fixture(scope="module")
def virtual() -> Iterator[VirtualMicrophone]:
    pytest.importorskip("pyaudio", reason="needs PyAudio (apt-get install portaudio19-dev, pip install pyaudio)")
    with VirtualMicrophone(44100) as server:
        yield server


def recorded(probe: Probe, late: int, gain: float = 1.0, noise: float = 0.0) -> np.ndarray:
    """Return the probe's sound `late` samples later, through a wire of this gain, in noise."""
    random = np.random.default_rng(0)
    sound = np.concatenate([np.zeros(late), gain * probe.sound, np.zeros(probe.sample_rate)])
    return (sound + noise * random.normal(size=len(sound))).astype(np.float32)


def steady(probe: Probe, count: int, start: float, step: int = 256) -> Clock:
    """Return the clock of a stream whose blocks pass when their last sample does."""
    ends = np.arange(1, count // step + 1) * step
    return Clock(ends, start + ends / probe.sample_rate, probe.sample_rate, np.min)


# --- Clock ---


def test_the_input_clock_takes_the_soonest_blocks_nearby() -> None:
    random = np.random.default_rng(0)
    ends = np.arange(1, 2001) * 256
    drift = 1 + 1e-4  # sound card against computer
    times = 5.0 + drift * ends / 44100 + random.choice([0.0, 0.003, 0.02], len(ends))
    clock = Clock(ends, times, 44100, np.min)
    for sample in (0, 1000, 250_000, 512_000):
        assert clock.time(sample) == pytest.approx(5.0 + drift * sample / 44100, abs=1.1e-4)


def test_the_output_clock_takes_the_middle() -> None:
    firsts = np.arange(999) * 256
    times = 3.0 + firsts / 48000 + np.tile([-0.004, 0.0, 0.001], 333)
    assert Clock(firsts, times, 48000, np.median).time(48000) == pytest.approx(4.0, abs=1e-9)


def test_a_clock_of_one_block_serves_all_samples() -> None:
    clock = Clock([256], [1.0], 44100, np.min)
    assert clock.time(0) == pytest.approx(1.0 - 256 / 44100)
    assert clock.time(10**7) == pytest.approx(1.0 + (10**7 - 256) / 44100)


# --- Probe ---


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize(("gain", "noise"), [(1.0, 0.0), (-0.3, 0.01), (0.02, 0.002)])
def test_every_hit_is_found_to_the_sample(rate: int, gain: float, noise: float) -> None:
    probe = Probe(rate, DRUM_NAMES, 9)
    assert [hit.label for hit in probe.hits] == [*DRUM_NAMES] * 3
    late = 1234
    recording = recorded(probe, late, gain, noise)
    assert probe.find_head(recording, 0) == late
    assert probe.find_head(recording, -5000) == late + 5000
    for hit in probe.hits:
        assert probe.find(recording, hit.sample, late + 700) == hit.sample + late


@pytest.mark.parametrize("noise", [0.0, 0.001])
@pytest.mark.parametrize("milliseconds", [5, 11, 40, 100])
@pytest.mark.parametrize("at", [0.8, 0.9, 1.0, 1.2, 1.5, 1.9])
def test_first_clicks_that_break_up_are_not_taken_for_others(at: float, milliseconds: int, noise: float) -> None:
    # An output that runs dry tears them apart; a sound server that wakes up swallows some of them.
    probe = Probe(44100, DRUM_NAMES, 9)
    late, where, length = 441, round(at * 44100), round(44.1 * milliseconds)
    sound = recorded(probe, late, noise=noise)
    torn = np.concatenate([sound[:where], np.zeros(length, np.float32), sound[where:]])
    assert probe.find_head(torn, 0) in (late, late + length)
    swallowed = np.concatenate([sound[:where], sound[where + length :]])
    assert probe.find_head(swallowed, 0) in (late, late - length)


def test_clicks_after_the_first_ones_are_not_taken_for_them() -> None:
    probe = Probe(44100, DRUM_NAMES, 9)
    without = recorded(probe, 0)
    without[: probe.head] = 0
    assert probe.find_head(without, 0) is None
    assert probe.find_head(np.roll(without, -probe.head), 0) is None


def test_what_was_not_played_is_not_found() -> None:
    probe = Probe(44100, DRUM_NAMES, 3)
    random = np.random.default_rng(0)
    time = np.arange(len(probe.sound)) / 44100
    hum = 0.3 * np.sin(2 * np.pi * 50 * time)
    for other in (np.zeros(len(time)), random.normal(0, 0.1, len(time)), hum + random.normal(0, 0.001, len(time))):
        recording = other.astype(np.float32)
        assert probe.find_head(recording, 0) is None
        assert all(probe.find(recording, hit.sample, 0) is None for hit in probe.hits)
    assert probe.find_head(np.zeros(0, np.float32), 0) is None


def test_hits_fall_anywhere_in_periods_and_frames() -> None:
    samples = np.array([hit.sample for hit in Probe(44100, DRUM_NAMES, 200).hits])
    for unit in (256, 441):
        quarters = np.bincount(samples % unit * 4 // unit, minlength=4)
        assert quarters.min() > 30


@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_detector_hears_the_drums_that_are_played(rate: int) -> None:
    probe = Probe(rate, DRUM_NAMES, 30)
    detector = Detector.load(model(), sample_rate=rate, labels=DRUM_NAMES)
    events = detector.process(probe.sound) + detector.flush()
    heard = [
        any(event.label == hit.label and abs(event.sample - hit.sample) < rate // 20 for event in events)
        for hit in probe.hits
    ]
    assert sum(heard) >= 24


# --- dissect ---


def deliveries_of(probe: Probe, late: int, decision: int, waits: float) -> list[Delivery]:
    """Return a report of each hit, `decision` samples after its arrival, where samples are there in no time."""
    found = []
    for hit in probe.hits:
        attack = hit.sample + late
        event = Event(hit.label, 0.5, 0.9, attack + 100, attack + decision, probe.sample_rate)
        read = event.reported / probe.sample_rate + waits
        found.append(Delivery(event, read, 0.001, 0.002, read + 0.007))
    return found


def test_the_parts_are_what_was_put_in_and_sum_up() -> None:
    probe = Probe(44100, DRUM_NAMES, 12)
    late, decision = 882, 441
    recording = recorded(probe, late, 0.1, 0.001)
    clock = steady(probe, len(recording), 0.0)
    deliveries = deliveries_of(probe, late, decision, waits=0.006)
    arrived, labels, parts = dissect(probe, recording, clock, clock, deliveries)
    assert (arrived, labels) == (12, [hit.label for hit in probe.hits])
    expected = {
        "device": 0.020,
        "decision": 0.010,
        "buffering": 0.006,
        "features": 0.001,
        "network": 0.002,
        "dispatch": 0.004,
    }
    assert tuple(expected) == PARTS
    np.testing.assert_allclose(parts, np.tile(list(expected.values()), (12, 1)), atol=1e-9)
    measured = Measurement("in", "out", 44100, 256, 12, arrived, tuple(labels), parts, 0, 0)
    np.testing.assert_allclose(measured.total, 0.043)
    np.testing.assert_allclose(measured.beyond_decision, 0.033)
    assert measured.compensation == pytest.approx(0.033)  # without half of what the devices take
    called = [delivery.called for delivery in deliveries]
    np.testing.assert_allclose(called, [clock.time(hit.sample) + 0.043 for hit in probe.hits])


def test_reports_of_other_drums_or_before_the_attack_do_not_count() -> None:
    probe = Probe(44100, DRUM_NAMES, 6)
    recording = recorded(probe, 500)
    clock = steady(probe, len(recording), 0.0)
    deliveries = deliveries_of(probe, 500, 441, waits=0.001)
    early = deliveries_of(probe, 500, -10, waits=0.001)[1]  # the snare's, before it sounds
    arrived, labels, _ = dissect(probe, recording, clock, clock, [deliveries[0], early, *deliveries[3:5]])
    assert (arrived, labels) == (6, ["kick", "kick", "snare"])


def test_what_does_not_arrive_is_an_error_that_says_what_to_do() -> None:
    probe = Probe(44100, DRUM_NAMES, 3)
    clock = steady(probe, len(probe.sound), 0.0)
    with pytest.raises(SourceError, match=r"silent.*--device"):
        dissect(probe, np.zeros(len(probe.sound), np.float32), clock, clock, [])
    noise = np.random.default_rng(0).normal(0, 0.01, len(probe.sound)).astype(np.float32)
    with pytest.raises(SourceError, match=r"peak -2\d dB.*turn it up"):
        dissect(probe, noise, clock, clock, [])


def test_the_report_names_every_part() -> None:
    parts = np.tile([0.010, 0.009, 0.005, 0.0001, 0.0005, 0.0004], (4, 1))
    text = report(Measurement("mic", "box", 48000, 128, 6, 5, ("kick",) * 4, parts, lost=7, underflows=2))
    first = text.splitlines()[0]
    assert first == '"box" -> "mic", 48000 Hz, periods of 128: 6 hits played, 5 arrived, 4 reported'
    rows = {line[:20].strip(): line[20:].split() for line in text.splitlines() if line[:1].islower()}
    assert [*rows][1:9] == [*PARTS, "beyond decision", "attack to callback"]
    assert rows["attack to callback"] == ["25.00"] * 4 and rows["beyond decision"] == ["16.00"] * 4
    assert "compensation for a visual: 20 ms" in text
    assert "7 samples were lost" in text and "ran dry 2 times" in text


# --- errors of the command ---


def test_missing_portaudio_and_missing_pulseaudio_are_a_line(tmp_path: Path) -> None:
    (tmp_path / "pyaudio.py").write_text("raise ImportError('libportaudio.so.2: cannot open')")
    done = run("-m", "dance", "latency", "--model", tiny(), PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install ".[mic]"' in done.stderr.splitlines()[-1]
    done = run("-m", "dance", "latency", "--virtual", "--model", tiny(), PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "sudo apt-get install pulseaudio" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["latency", "listen"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("128.5", "'128.5' is not a whole number of frames"),
        ("0", "must be 16 to 8192 frames, not 0"),
        ("-256", "must be 16 to 8192 frames, not -256"),
        ("44100", "must be 16 to 8192 frames, not 44100"),
    ],
)
def test_a_bad_period_is_refused(command: str, value: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, f"--period={value}"])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"dance {command}: error: argument --period: {problem}"


def test_a_period_without_a_device_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", "--stdin", "--period", "128", "--model", str(tiny())]) == 2
    assert capsys.readouterr().err == "dance: --period applies to devices only; leave it out with --stdin\n"


def test_a_microphone_refuses_a_period_of_nothing() -> None:
    with pytest.raises(SpecError, match="1 sample or more, not 0"):
        Microphone(period=0)


@pytest.mark.parametrize("option", ["--hits", "--rate"])
def test_zero_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["latency", option, "0"])
    assert end.value.code == 2
    assert "at least 1" in capsys.readouterr().err


def test_a_virtual_microphone_takes_no_devices() -> None:
    done = run("-m", "dance", "latency", "--virtual", "--device", "USB", "--model", tiny())
    assert done.returncode == 2
    assert "--device" in done.stderr and "Traceback" not in done.stderr


# --- through the virtual microphone ---


@needs_pulse
def test_it_measures(virtual: VirtualMicrophone) -> None:
    # The longer period keeps the output from running dry where the machine is busy.
    measured = measure(
        lambda source: Detector.load(model(), sample_rate=source.sample_rate),
        device=virtual.name,
        output=virtual.name,
        sample_rate=virtual.sample_rate,
        hits=8,
        period=1024,
    )
    assert (measured.input, measured.output, measured.sample_rate) == ("pulse", "pulse", 44100)
    assert measured.played == 8
    assert 0 < len(measured.labels) <= measured.arrived <= 8
    assert measured.parts.shape == (len(measured.labels), len(PARTS))
    # a buffered sample cannot be read before it came, and computing takes time
    assert (measured.parts[:, 1:] > -1e-9).all()
    assert (measured.parts[:, [PARTS.index("features"), PARTS.index("network")]] > 0).all()
    assert 0 < measured.device < 1
    assert (measured.beyond_decision < measured.total).all()
    print(report(measured))


@needs_pulse
def test_a_device_hands_over_the_period_that_is_asked_for(virtual: VirtualMicrophone, capsys) -> None:
    periods = []

    class Watched(Microphone):
        def _on_audio(self, data: bytes, frames: int, *rest: object) -> tuple[None, int]:
            periods.append(frames)
            return super()._on_audio(data, frames, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listen, "Microphone", Watched)
        options = ["--device", "pulse", "--model", str(tiny()), "--seconds", "0.5", "--plain"]
        assert main(["listen", "--period", "1000", *options]) == 0
        assert set(periods) == {1000}
        periods.clear()
        assert main(["listen", *options]) == 0
        assert set(periods) == {256}


@needs_pulse
def test_what_the_search_for_devices_has_loaded_is_let_go(virtual: VirtualMicrophone) -> None:
    def loaded() -> set[str]:
        return set(re.findall(r"libasound_module_\w+|libavcodec", Path("/proc/self/maps").read_text()))

    def heard(microphone: Microphone) -> int:
        return microphone.read(np.zeros(44100, np.float32), 5.0).count

    with Microphone("pulse", 44100) as first:
        assert loaded() == {"libasound_module_pcm_pulse", "libasound_module_conf_pulse"} & loaded() != set()
        assert heard(first)
        with Microphone("pulse", 44100) as second:  # ALSA finds it again, and the first one goes on
            assert heard(second)
        until(lambda: heard(first))
    assert not loaded()


@needs_pulse
def test_an_input_that_hears_nothing_is_told_early(virtual: VirtualMicrophone) -> None:
    subprocess.run(["pactl", "set-sink-mute", "vmic", "1"], check=True)
    try:
        done = run(
            "-m", "dance", "latency", "--model", tiny(), "--device", "pulse", "--output", "pulse", "--hits", 1000
        )
    finally:
        subprocess.run(["pactl", "set-sink-mute", "vmic", "0"], check=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("dance: the input is silent")


@needs_pulse
def test_an_output_that_is_not_there_is_told_with_those_that_are(virtual: VirtualMicrophone) -> None:
    with pytest.raises(SourceError, match=r'no output device "cassette"; there are: .*pulse'):
        Speaker(np.zeros(10, np.float32), 44100, "cassette")


@needs_pulse
def test_a_detector_of_other_drums_is_refused(virtual: VirtualMicrophone) -> None:
    class Deaf(Detector):
        def __init__(self, rate: int) -> None:
            self.labels = ("gong",)

    with pytest.raises(SpecError, match="kick, snare, hihat"):
        measure(lambda source: Deaf(source.sample_rate), device="pulse", output="pulse")


@needs_pulse
def test_ctrl_c_ends_it(virtual: VirtualMicrophone) -> None:
    def sounding() -> list[str]:
        done = subprocess.run(["pactl", "list", "short", "sink-inputs"], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    before = len(sounding())
    path = os.pathsep.join([str(ROOT / "engine"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "dance", "latency", "--model", str(model()), "--hits", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stderr.readline().startswith("dance: playing 1000 hits")
    until(lambda: len(sounding()) > before)  # it plays
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert "Traceback" not in errors


def test_the_environment_is_as_before() -> None:
    if missing:
        with pytest.raises(SourceError, match="apt-get install pulseaudio"):
            VirtualMicrophone()
        return
    before = dict(os.environ)
    with VirtualMicrophone(48000):
        assert os.environ["PULSE_SERVER"] != before.get("PULSE_SERVER")
    assert dict(os.environ) == before


# --- the benchmark ---


def test_the_benchmark_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chart = tmp_path / "chart.png"
    assert benchmark.main(["--hits", "0", "--model", str(model()), "--out", str(chart)]) == 0
    text = capsys.readouterr().out
    for label in ("kick", "snare", "hihat", "all"):
        assert label in text
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_the_chart_shows_a_measurement_too(tmp_path: Path) -> None:
    parts = np.random.default_rng(0).uniform(0.001, 0.01, (20, len(PARTS)))
    measured = Measurement("in", "out", 44100, 256, 20, 20, ("kick",) * 20, parts, 0, 0)
    delays = {"kick": parts[:, 0], "all": parts[:, 0]}
    for name, second in (("one.png", None), ("two.png", measured)):
        benchmark.draw(tmp_path / name, delays, second)
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()


def test_the_benchmark_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--audio", str(tmp_path), "--model", str(tiny())]) == 2
    assert capsys.readouterr().err.startswith("latency: no recording in")
