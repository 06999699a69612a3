"""MIDI, over a socket (mido's own ports) and through a real virtual port where there is a MIDI system."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
from stage import until
from wires import hit

from dance import LABELS, SinkError
from dance.errors import AbsentError
from dance.labels import GENERAL_MIDI
from dance.sinks import Midi, Outlet
from dance.sinks.midi import NOTES

mido = pytest.importorskip("mido")
sockets = pytest.importorskip("mido.sockets")


class Line:
    """A socket port of mido's to play on, and what comes out at its other end."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = sockets.connect("127.0.0.1", self._listener.getsockname()[1])
        self._end, _ = self._listener.accept()
        self._end.settimeout(30)
        self._parser = mido.Parser()

    def message(self) -> "mido.Message":
        """Wait for the next message."""
        while (message := self._parser.get_message()) is None:
            data = self._end.recv(64)
            assert data, "the line is closed"
            self._parser.feed(data)
        return message

    def close(self) -> None:
        """End this side."""
        self._end.close()
        self._listener.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.port.close()
    line.close()


def played(message: "mido.Message") -> tuple[str, int, int]:
    return message.type, message.channel, message.note


def test_the_notes_are_those_of_the_drums() -> None:
    assert {label: GENERAL_MIDI[note] for label, note in NOTES.items()} == {label: label for label in LABELS}


def test_a_hit_is_a_note_that_ends(line: Line) -> None:
    with Outlet(Midi(output=line.port, hold=0.01)) as outlet:
        outlet(hit("snare", 0.5))
        on, off = line.message(), line.message()
    assert played(on) == ("note_on", 9, 38)
    assert on.velocity == 64
    assert played(off) == ("note_off", 9, 38)


def test_velocity_is_never_zero_which_would_end_the_note(line: Line) -> None:
    with Outlet(Midi(output=line.port)) as outlet:
        for velocity in (0.0, 1.0):
            outlet(hit(velocity=velocity))
        velocities = [message.velocity for message in (line.message() for _ in range(3)) if message.type == "note_on"]
    assert velocities == [1, 127]


def test_a_second_hit_ends_the_note_first_and_the_end_ends_all(line: Line) -> None:
    outlet = Outlet(Midi(output=line.port, hold=3600, channel=1, notes={"kick": 60, "clap": 61}))
    for label in ("kick", "kick", "bell", "clap"):  # a bell has no note
        outlet(hit(label))
    outlet.close()
    messages = [played(line.message()) for _ in range(6)]
    on, off = ("note_on", 0, 60), ("note_off", 0, 60)
    assert messages == [on, off, on, ("note_on", 0, 61), off, ("note_off", 0, 61)]
    assert (outlet.told, outlet.missed) == (4, 0)


def test_notes_may_differ_and_drums_may_be_silent(line: Line) -> None:
    with Outlet(Midi(output=line.port, notes={"kick": 60, "snare": None})) as outlet:
        for label in ("snare", "kick", "hihat"):
            outlet(hit(label))
    assert [played(line.message()) for _ in range(2)] == [("note_on", 9, 60), ("note_on", 9, 42)]


def test_a_note_whose_end_fails_is_ended_later() -> None:
    class Port:
        name, closed, broken = "port", False, True

        def __init__(self) -> None:
            self.sent: list[str] = []

        def send(self, message: "mido.Message") -> None:
            if self.broken and message.type == "note_off":
                raise OSError("busy")
            self.sent.append(message.type)

        def close(self) -> None:
            self.closed = True

    port = Port()
    midi = Midi(output=port, hold=0.0)
    for label in ("kick", "snare"):
        midi(hit(label))
    with pytest.raises(OSError, match="busy"):
        midi.pulse()
    port.broken = False
    midi.close()
    assert port.sent == ["note_on", "note_on", "note_off", "note_off"]
    assert port.closed


def test_a_port_that_is_gone_costs_hits_and_nothing_else(line: Line) -> None:
    outlet = Outlet(Midi(output=line.port, hold=0.001))
    outlet(hit())
    assert line.message().type == "note_on"
    line.close()
    count = 1

    def refused() -> bool:
        nonlocal count
        outlet(hit())
        count += 1
        return outlet.missed > 0

    until(refused)
    outlet.close()
    assert isinstance(outlet.problem, OSError | SinkError)
    assert outlet.told + outlet.missed == count
    assert "missed" in outlet.report()


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give a MIDI system: ALSA's if the kernel has one, else a JACK server without hardware."""
    pytest.importorskip("rtmidi", reason="python-rtmidi is missing")
    if os.path.exists("/dev/snd/seq"):  # noqa: PTH110
        yield
        return
    if not shutil.which("jackd"):
        pytest.skip("neither ALSA's sequencer nor jackd here: apt-get install jackd2, or modprobe snd-seq")
    name = f"dance-{os.getpid()}"
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    monkeypatch.setenv("JACK_NO_AUDIO_RESERVATION", "1")
    monkeypatch.setattr(mido, "backend", mido.backend)
    server = subprocess.Popen(
        ["jackd", "-r", "-n", name, "-d", "dummy"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        backend = mido.Backend("mido.backends.rtmidi/UNIX_JACK")
        monkeypatch.setattr(mido, "open_output", backend.open_output)
        monkeypatch.setattr(mido, "get_output_names", backend.get_output_names)
        monkeypatch.setattr(mido, "open_input", backend.open_input)
        monkeypatch.setattr(mido, "get_input_names", backend.get_input_names)

        def answers() -> bool:
            assert server.poll() is None, "jackd ended"
            try:
                backend.get_output_names()
            except OSError:
                return False
            return True

        until(answers)
        yield
    finally:
        server.terminate()
        server.wait(60)


@pytest.mark.usefixtures("system")
def test_a_virtual_port_plays_to_whoever_connects() -> None:
    name = f"dance {os.getpid()}"
    with Outlet(Midi(name=name, hold=0.01)) as outlet:
        until(lambda: any(name in each for each in mido.get_input_names()))
        with mido.open_input(next(each for each in mido.get_input_names() if name in each)) as listener:
            outlet(hit("hihat", 1.0))
            on, off = listener.receive(), listener.receive()
    assert (played(on), on.velocity) == (("note_on", 9, 42), 127)
    assert played(off) == ("note_off", 9, 42)


@pytest.mark.usefixtures("system")
def test_a_port_is_found_by_a_part_of_its_name() -> None:
    name = f"Synth {os.getpid()}"
    heard = []
    with mido.open_input(name, virtual=True, client_name=name, callback=heard.append):
        until(lambda: any(name in each for each in mido.get_output_names()))
        with Outlet(Midi(name.upper())) as outlet:
            assert name in outlet.name
            outlet(hit("kick", 1.0))
            until(lambda: heard)
    assert played(heard[0]) == ("note_on", 9, 36)


def test_a_port_that_is_not_there_is_named_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mido, "get_output_names", lambda: ["Through", "Synth"])
    with pytest.raises(AbsentError, match=r"no MIDI output has 'nowhere' in its name; available: Through, Synth"):
        Midi("nowhere")


@pytest.mark.parametrize("arguments", [{"channel": 0}, {"channel": 17}, {"notes": {"kick": 128}}])
def test_what_midi_does_not_have_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(SinkError, match="channels 1 to 16 and notes 0 to 127"):
        Midi(**arguments)
