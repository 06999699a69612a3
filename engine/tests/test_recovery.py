"""Devices as they are: gone at first, unplugged, silent, taken, with a server that dies; and the clock stays true.

PortAudio is played by `test_sources.PortAudio` where nothing else can bring a device into that state; what PulseAudio
can do is done to a real server, whose null sink is the microphone.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from stage import ROOT, tiny, until
from test_microphone import TOOLS, Pulse
from test_sources import PortAudio

from dance import Microphone, Read, SourceError
from dance.dropouts import Dropouts
from dance.portaudio import Device, Search, _traces

RATE = 44100


# How much is missing


def blocks(dropouts: Dropouts, start: float, count: int, late: Callable[[int], float] = lambda number: 0.0) -> float:
    """Let blocks of 441 samples arrive, each `late` after its time; return when the next one begins."""
    for number in range(count):
        dropouts.arrived(441, start + (number + 1) / 100 + late(number))
        dropouts.missing(start + (number + 1) / 100 + late(number))
    return start + count / 100


def test_an_even_stream_misses_nothing_whatever_its_jitter() -> None:
    dropouts = Dropouts(RATE)
    jitter = np.random.default_rng(0).exponential(0.02, 1000)
    dropouts.arrived(441, 100.0)
    assert not any(dropouts.missing(100.0 + number) for number in range(5))
    blocks(dropouts, 100.0, 1000, lambda number: float(min(jitter[number], 0.4)))
    assert dropouts.undecided(200.0) == 0
    assert dropouts.missing(200.0) == 0


def test_long_blocks_are_no_gaps() -> None:
    period = 32768
    dropouts = Dropouts(RATE, period)
    jitter = np.random.default_rng(0).uniform(0, 0.02, 30)
    for number in range(30):
        now = 50.0 + (number + 1) * period / RATE + float(jitter[number])
        dropouts.arrived(period, now)
        assert dropouts.undecided(now) == dropouts.missing(now) == 0


@pytest.mark.parametrize("away", [0.7, 5.0, 8 * 3600.0])
def test_what_never_came_is_missing(away: float) -> None:
    dropouts = Dropouts(RATE)
    now = blocks(dropouts, 50.0, 500, lambda number: 0.003 * (number % 3)) + away
    dropouts.arrived(441, now + 0.01 + 0.06)  # a slow start
    assert 0 < dropouts.undecided(now + 0.1) < 0.3
    for number in range(1, 30):
        dropouts.arrived(441, now + (number + 1) / 100 + 0.002)
    assert dropouts.undecided(now + 0.4) == 0
    assert dropouts.missing(now + 0.4) == pytest.approx(away * RATE, abs=0.003 * RATE)
    assert dropouts.missing(now + 0.4) == 0


def test_what_was_only_held_back_is_not_missing() -> None:
    dropouts = Dropouts(RATE)
    now = blocks(dropouts, 50.0, 300)
    for _ in range(100):  # a second of blocks at once, a second too late
        dropouts.arrived(441, now + 1.0)
    for number in range(25):
        dropouts.arrived(441, now + 1.0 + (number + 1) / 100)
    assert dropouts.missing(now + 1.3) == 0


def test_the_drift_of_a_sound_card_is_not_missing() -> None:
    dropouts = Dropouts(RATE)
    now = 0.0
    for _ in range(20_000):  # 200 s of a card that is 0.1 % slow
        now += 0.01001
        dropouts.arrived(441, now)
        assert dropouts.missing(now) == 0
    dropouts.arrived(441, now + 2.0)
    assert dropouts.missing(now + 2.3) == pytest.approx(1.99 * RATE, abs=0.003 * RATE)


def test_a_gap_tells_where_it_is_until_it_is_judged() -> None:
    dropouts = Dropouts(RATE)
    now = blocks(dropouts, 50.0, 100)
    assert dropouts.before(40000) is None
    now += 2.0
    for number in range(30):
        dropouts.arrived(441, now + (number + 1) / 100)
    assert (dropouts.before(40000), dropouts.before(44100), dropouts.before(44200)) == (4100, 0, 0)
    assert dropouts.missing(now + 0.3) == pytest.approx(2 * RATE, abs=2)
    assert dropouts.before(44100) is None


# Devices that PortAudio says this or that of


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> Iterator[PortAudio]:
    played = PortAudio(("HDA Mic", 2, 44100.0, {44100}), ("USB Mic: Audio (hw:1,0)", 2, 44100.0, {44100}), default=0)
    monkeypatch.setitem(sys.modules, "pyaudio", played)
    monkeypatch.setattr("dance.microphone._CHECK_SECONDS", 0.001)
    monkeypatch.setattr("dance.portaudio._PAUSE_SECONDS", (0.001, 0.002))
    yield played
    assert played.instances == 0  # whatever happened, PortAudio was let go


def refusing(played: PortAudio, refuse: Callable[[dict[str, object]], OSError | None]) -> None:
    """Let opening fail as `refuse` says."""
    accept = played.open

    def open_(**options: object) -> object:
        if refusal := refuse(options):
            raise refusal
        return accept(**options)

    played.open = open_


def test_without_reconnect_everything_fails_at_once(portaudio: PortAudio) -> None:
    refusing(portaudio, lambda options: OSError(-9985, "Device unavailable"))
    with pytest.raises(SourceError, match=r'"HDA Mic" does not open .*Device unavailable.*another program uses it'):
        Microphone()
    with pytest.raises(SourceError, match='no input device "piano"'):
        Microphone("piano")


def test_a_device_that_is_not_there_yet_is_waited_for(portaudio: PortAudio) -> None:
    every, portaudio.devices, portaudio.default = portaudio.devices, (), None
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        portaudio.devices = every[: len(told)]

    with Microphone("USB", reconnect=True, tell=tell) as source:
        assert source.name == "USB Mic: Audio (hw:1,0)"
    assert len(told) == 2
    assert told[0].startswith("no input device: plug one in")
    assert told[1].startswith('no input device "USB"; there are: 0 HDA Mic')
    assert all(line.endswith("waiting for it") for line in told)


def test_patience_ends(portaudio: PortAudio) -> None:
    told: list[str] = []
    with pytest.raises(SourceError, match='no input device "piano"'):
        Microphone("piano", reconnect=True, patience=0.01, tell=told.append)
    assert len(told) <= 1  # none where this machine dozed meanwhile


def test_what_waiting_cannot_mend_is_told_at_once(portaudio: PortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r'"HDA Mic" does not record 2 channels at 48000 Hz .*Invalid sample rate'):
        Microphone(0, 48000, reconnect=True)
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(SourceError, match="needs PortAudio and PyAudio"):
        Microphone(reconnect=True)


def test_a_default_device_that_is_taken_gives_way_to_the_sound_server(portaudio: PortAudio) -> None:
    portaudio.devices += (("pulse", 32, 44100.0, {44100}),)
    busy = {0}
    refusing(
        portaudio,
        lambda options: OSError(-9985, "Device unavailable") if options["input_device_index"] in busy else None,
    )
    told: list[str] = []
    with Microphone(tell=told.append) as source:
        assert source.name == "pulse"
    assert len(told) == 1
    assert '"HDA Mic" does not open' in told[0]
    assert 'hearing "pulse" instead' in told[0]
    with pytest.raises(SourceError, match="HDA Mic"):  # named, it is meant
        Microphone("HDA")


@pytest.mark.parametrize(("accepted", "channels"), [({1}, 1), ({18}, 18)])
def test_a_device_that_insists_on_its_channels(portaudio: PortAudio, accepted: set[int], channels: int) -> None:
    portaudio.devices = (("Mixer", 18, 44100.0, {44100}),)
    refusing(
        portaudio,
        lambda options: None if options["channels"] in accepted else OSError(-9998, "Invalid number of channels"),
    )
    with Microphone() as source:
        assert source.channels == channels
        portaudio.streams[-1].hear(np.full((256, channels), 0.5))
        out = np.zeros(256, np.float32)
        assert source.read(out, 60).count == 256
        np.testing.assert_allclose(out, 0.5)


def test_a_device_with_another_number_is_found_by_its_name(
    portaudio: PortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with Microphone(1, reconnect=True, tell=told.append) as source:
        out = np.zeros(512, np.float32)
        portaudio.streams[-1].hear(np.zeros((256, 2)))
        assert source.read(out, 60).count == 256
        portaudio.devices = (portaudio.devices[0],)
        portaudio.streams[-1].active = False
        until(lambda: not source.read(out, 0.01).count and len(told) == 2)
        assert told[0] == '"USB Mic: Audio (hw:1,0)" stopped: unplugged or taken away; trying again'
        assert told[1].startswith('no input device "USB Mic: Audio"; there are: 0 HDA Mic')
        other = ("USB Mic: Audio (hw:3,0)", 2, 44100.0, {44100})
        portaudio.devices = (("New", 2, 48000.0, {48000}), portaudio.devices[0], other)
        until(lambda: not source.read(out, 0.01).count and len(portaudio.streams) == 2)
        assert (source.name, source.sample_rate, source.outages) == (other[0], 44100, 1)
        assert len(told) == 2  # not before it is heard
        now = time.monotonic()
        monkeypatch.setattr("dance.microphone.monotonic", lambda: now + 7)
        portaudio.streams[-1].hear(np.ones((256, 2)))
        monkeypatch.setattr("dance.microphone.monotonic", lambda: now + 8)
        read = source.read(out, 60)
        assert read.count == 256
        assert read.lost_before == pytest.approx(7 * RATE, abs=60 * RATE)  # the test itself took its time, too
        assert read.lost_before >= 6.9 * RATE
        assert 'hearing "USB Mic: Audio (hw:3,0)" again' in told[-1]
        assert source.read(out, 0.0).lost_before == 0


def test_only_what_may_have_changed_is_searched_for(portaudio: PortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each start of PortAudio may cost memory that never comes back."""
    traces, told, sources = {}, [], []
    monkeypatch.setattr("dance.portaudio._PAUSE_SECONDS", (0.001, 3600.0))
    monkeypatch.setattr("dance.portaudio._traces", traces.copy)
    every, portaudio.devices = portaudio.devices, portaudio.devices[:1]

    def wait() -> None:
        sources.append(Microphone("USB", reconnect=True, tell=told.append))

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)
    assert portaudio.searches <= 18  # pauses doubled for longer than a minute
    portaudio.devices = every
    traces["card1"] = b"USB Mic"
    waiting.join(60)
    with sources[0] as source:
        before = portaudio.searches
        portaudio.devices = every[:1]
        portaudio.streams[-1].active = False
        out = np.zeros(512, np.float32)
        until(lambda: not source.read(out, 0.01).count and len(told) == 3)
        began = time.monotonic()
        until(lambda: not source.read(out, 0.01).count and time.monotonic() > began + 0.5)
        assert portaudio.searches - before <= 18
        portaudio.devices = every
        traces["card1"] = b"USB Mic, plugged in again"
        until(lambda: not source.read(out, 0.01).count and len(portaudio.streams) == 2)


def test_a_search_is_due_soon_after_a_change_and_ever_later_without(monkeypatch: pytest.MonkeyPatch) -> None:
    traces: dict[str, object] = {}
    monkeypatch.setattr("dance.portaudio._traces", traces.copy)
    search, now, pauses = Search(), 100.0, []
    for _ in range(10):
        search.failed(now)
        began = now
        while not search.due(now):
            now += 0.25
        pauses.append(now - began)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    search.failed(now)
    traces["card1"] = 1
    assert not search.due(now + 1)  # which takes a moment until it can be opened
    assert search.due(now + 1.5)
    search.failed(now + 1.5)
    assert search.due(now + 2)
    monkeypatch.setattr("dance.portaudio._traces", lambda: None)
    blind = Search()
    for _ in range(10):
        blind.failed(now)
    assert blind.due(now + 2)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every search is worth a try")
def test_a_sound_server_leaves_traces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # which changes, too, and must not count
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("PULSE_RUNTIME_PATH", "PULSE_SERVER"):
        monkeypatch.delenv(name, raising=False)
    seen = [_traces()]
    for name in ("pipewire-0", "pulse/native"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        seen.append(_traces())
        os.utime(path, ns=(1, 1))  # another one in its place
        seen.append(_traces())
        path.unlink()
    seen.append(_traces())
    assert all(one != other for one, other in itertools.pairwise(seen))
    assert seen[-1] == seen[0] == _traces()


def test_the_page_shows_what_the_search_has_found(portaudio: PortAudio) -> None:
    pytest.importorskip("websockets", reason='needs pip install ".[web]"')
    from dance.commands.monitor import in_turn
    from dance.web.monitor import Monitor

    shown, every, portaudio.devices = [], portaudio.devices, portaudio.devices[:1]

    def hear(device: str | None) -> None:
        if (waiting := monitor._content._waiting) and waiting["switchable"]:
            shown.append(waiting["devices"])
        if len(shown) == 3:
            portaudio.devices = every
        Microphone(device).close()

    def search_again() -> list[Device]:
        raise AssertionError

    with Monitor(port=0, devices=search_again) as monitor:
        in_turn(hear, "USB", monitor, patience=60.0)
    assert shown == 3 * [["HDA Mic"]]
    assert portaudio.searches == 4


class Slow:
    """A microphone whose samples tell their own number, on a clock of the test's own."""

    def __init__(self, portaudio: PortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.sent, self.position, self.told = 1000.0, 0, 0, []
        monkeypatch.setattr("dance.microphone.monotonic", lambda: self.now)
        self.source = Microphone(0, tell=self.told.append)
        self._stream = portaudio.streams[-1]
        self._out = np.zeros(1 << 17, np.float32)

    def hear(self, blocks: int) -> None:
        """Let blocks of 10 ms arrive, one after the other."""
        for _ in range(blocks):
            self.now += 0.01
            samples = np.arange(self.sent, self.sent + 441)
            self._stream.hear(np.stack([samples, samples], axis=1))
            self.sent += 441

    def read(self) -> Read:
        """Return what there is now, which must be what it says it is."""
        read = self.source.read(self._out, 0.0)
        first = self.position + read.lost_before
        assert np.array_equal(self._out[: read.count], np.arange(first, first + read.count))
        self.position = first + read.count
        return read


@pytest.fixture
def slow(portaudio: PortAudio, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    slow = Slow(portaudio, monkeypatch)
    with slow.source:
        yield slow


def test_a_reader_that_is_always_late_hears_the_present(slow: Slow) -> None:
    slow.hear(1)
    assert slow.read() == Read(441)
    for _ in range(30):
        slow.hear(150)
        assert slow.read() == Read(0)
        slow.hear(1)
        assert slow.read() == Read(441, lost_before=150 * 441)
        assert slow.position == slow.sent
    first, *later = slow.told
    assert first == "cannot keep up: 1.5 s skipped"
    assert later == 4 * ["cannot keep up: 10.5 s skipped"]
    slow.hear(100)
    assert slow.read() == Read(44100)  # not late yet


def test_what_did_not_fit_is_skipped_too(slow: Slow) -> None:
    slow.hear(1)
    slow.read()
    slow.hear(900)
    assert slow.read() == Read(0)
    slow.hear(1)
    assert slow.read() == Read(441, lost_before=900 * 441)
    assert slow.told == ["cannot keep up: 9.0 s skipped"]


def test_what_came_before_the_first_read_is_nobody_s_fault(slow: Slow) -> None:
    slow.hear(300)
    slow.read()
    slow.hear(1)
    assert slow.read() == Read(441, lost_before=300 * 441)
    assert not slow.told


def test_long_periods_are_not_late(portaudio: PortAudio) -> None:
    with Microphone(0, period=1 << 16) as source:
        for _ in range(2):
            portaudio.streams[-1].hear(np.zeros((1 << 16, 2)))
        assert source.read(np.zeros(1 << 18, np.float32), 0.0) == Read(1 << 17)


def test_an_outage_is_told_where_it_was(slow: Slow) -> None:
    slow.hear(10)
    slow.read()
    slow.hear(50)
    slow.now += 1.5
    slow.hear(10)
    assert slow.read() == Read(50 * 441)  # what came before it
    assert slow.read() == Read(0)  # too soon to judge
    slow.hear(20)
    read = slow.source.read(slow._out, 0.0)
    assert (read.count, slow._out[0]) == (30 * 441, 60 * 441)
    assert read.lost_before == pytest.approx(1.5 * RATE, abs=2)
    assert slow.told == ['hearing "HDA Mic" again; 1.5 s are missing']


def test_an_outage_among_what_is_skipped_is_counted(slow: Slow) -> None:
    slow.hear(10)
    slow.read()
    slow.hear(90)
    slow.now += 1.5
    slow.hear(30)
    assert slow.source.read(slow._out, 0.0) == Read(0)
    slow.hear(1)
    read = slow.source.read(slow._out, 0.0)
    assert (read.count, slow._out[0]) == (441, 130 * 441)
    assert read.lost_before == pytest.approx(120 * 441 + 1.5 * RATE, abs=2)
    assert slow.told == ["cannot keep up: 1.2 s skipped", 'hearing "HDA Mic" again; 1.5 s are missing']


def test_closing_while_it_is_waited_for(portaudio: PortAudio) -> None:
    source = Microphone(reconnect=True, tell=lambda line: None)
    portaudio.devices, portaudio.default = (), None
    portaudio.streams[-1].active = False
    out = np.zeros(512, np.float32)
    reads = []
    reader = threading.Thread(target=lambda: reads.append(source.read(out, 1e6)))
    reader.start()
    until(lambda: source.outages)
    source.close()
    reader.join(60)
    assert reads[0].ended
    source.close()


def test_by_default_it_is_logged(portaudio: PortAudio, caplog: pytest.LogCaptureFixture) -> None:
    with Microphone(reconnect=True) as source:
        portaudio.streams[-1].active = False
        until(lambda: not source.read(np.zeros(9, np.float32), 0.01).count and source.outages)
    assert "dance" in {record.name for record in caplog.records}
    assert '"HDA Mic" stopped' in caplog.text


# A real server

missing = [tool for tool in TOOLS if not shutil.which(tool)]
real = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} (apt-get install pulseaudio)")


class Server:
    """PulseAudio that can be killed and started again, at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pulse: Pulse | None = None

    def start(self) -> None:
        self.pulse = Pulse(self._folder, RATE)

    def kill(self) -> None:
        for process in self.pulse._processes:
            process.kill()
            process.communicate(timeout=60)
        self.pulse = None

    def close(self) -> None:
        if self.pulse:
            self.pulse.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # Not pytest's own folder: the path of a socket must be short.
    with (
        tempfile.TemporaryDirectory(prefix="pulse-") as folder,
        contextlib.closing(Server(Path(folder))) as server,
    ):
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv("PULSE_RUNTIME_PATH", folder)
        monkeypatch.setenv("PULSE_SERVER", f"unix:{folder}/native")
        server.start()
        yield server


class Listener:
    """Reads a microphone in a thread, and compares its clock with the computer's."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.lost: list[int] = []
        self.position = 0
        self.lag = float("inf")
        self._source = Microphone("pulse", RATE, reconnect=True, tell=self.told.append)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def close(self) -> None:
        self._source.close()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def measure(self) -> float:
        """Return by how much the stream is behind, after two more seconds of it."""
        end = self.position + 2 * RATE
        self.lag = float("inf")
        until(lambda: self.position >= end)
        return self.lag

    def _listen(self) -> None:
        out = np.empty(4096, np.float32)
        while not (read := self._source.read(out, 1.0)).ended:
            if read.lost_before:
                self.lost.append(read.lost_before)
            self.position += read.lost_before + read.count
            if read.count:
                self.lag = min(self.lag, time.monotonic() - self.position / RATE)


def unplug(server: Server, listener: Listener) -> None:
    server.pulse.control("unload-module", "module-null-sink")
    until(lambda: len(listener.told) >= 2)
    sink = ("sink_name=vmic", f"rate={RATE}", "channels=1", "format=s16le")
    server.pulse.control("load-module", "module-null-sink", *sink)
    server.pulse.control("set-default-source", "vmic.monitor")


def suspend(server: Server, listener: Listener) -> None:
    server.pulse.control("suspend-sink", "vmic", "1")
    until(lambda: listener.told)
    server.pulse.control("suspend-sink", "vmic", "0")


def pause(server: Server, listener: Listener) -> None:
    """Stand still for so short that it is not given up."""
    server.pulse.control("suspend-sink", "vmic", "1")
    time.sleep(1.0)
    server.pulse.control("suspend-sink", "vmic", "0")


def kill(server: Server, listener: Listener) -> None:
    server.kill()
    until(lambda: len(listener.told) >= 2)
    server.start()


@real
@pytest.mark.parametrize("harm", [unplug, suspend, pause, kill])
def test_the_clock_stays_true_whatever_happens(server: Server, harm: Callable[[Server, Listener], None]) -> None:
    pytest.importorskip("pyaudio", reason="needs PyAudio (apt-get install portaudio19-dev, pip install pyaudio)")
    with contextlib.closing(Listener()) as listener:
        before = listener.measure()
        began, lag = time.monotonic(), listener.position
        harm(server, listener)
        until(lambda: listener.lost and 'hearing "pulse" again' in listener.told[-1])
        away = time.monotonic() - began
        assert len(listener.lost) == 1
        assert 0.4 * RATE < listener.lost[0] < (away + 0.5) * RATE
        assert listener.measure() == pytest.approx(before, abs=0.1)
        assert listener.position > lag
        assert listener.told == [line for line, _ in itertools.groupby(listener.told)]  # nothing is said twice


@real
def test_the_command_waits_goes_on_and_counts_what_is_missing(server: Server) -> None:
    pytest.importorskip("pyaudio", reason="needs PyAudio (apt-get install portaudio19-dev, pip install pyaudio)")
    server.kill()
    path = os.pathsep.join([str(ROOT / "engine"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "dance", "listen", "--device", "pulse", "--plain", "--model", str(tiny())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )

    def wait_for(text: str) -> str:
        said = []
        while text not in (line := process.stderr.readline()):
            said.append(line)
            assert line, said
        return line

    try:
        assert wait_for("waiting for it").startswith("dance: no input device")
        server.start()
        wait_for("pulse, ")
        time.sleep(1)
        server.pulse.control("suspend-sink", "vmic", "1")
        wait_for('dance: "pulse" sends nothing any more; trying again')
        server.pulse.control("suspend-sink", "vmic", "0")
        again = wait_for('dance: hearing "pulse" again')
    finally:
        process.send_signal(2)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert " 0 samples lost" not in errors, again
