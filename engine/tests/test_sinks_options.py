"""Outputs and filters as options of the command."""

import argparse
import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from pythonosc.udp_client import SimpleUDPClient
from stage import ROOT, SONG, Script, detector, drums, model, run, tiny, until
from wires import Ear, hit

from dance import LABELS, DanceError, Engine, Event
from dance.cli import main, make_parser
from dance.commands import outputs
from dance.network import Network
from dance.sinks import Outlet


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "drums.wav"
    soundfile.write(path, drums(1.6), 44100, subtype="FLOAT")
    return path


@pytest.fixture
def play(wav: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Give a function that plays with these options, and returns the lines of standard output."""

    def play(*options: object) -> list[str]:
        assert main(["play", str(wav), "--model", str(tiny()), *map(str, options)]) == 0
        out, err = capsys.readouterr()
        assert "missed" not in err
        return out.splitlines()

    return play


def made(*options: str) -> outputs.Outputs:
    """Return what these options make."""
    parser = argparse.ArgumentParser()
    outputs.add_options(parser)
    parsed = parser.parse_args(options)
    parsed.labels = None
    return outputs.from_options(parsed, Network(tiny()))


def passed(made: outputs.Outputs, *events: Event) -> list[Event]:
    """Return what is shown of these hits."""
    shown: list[Event] = []
    with made, made.showing(shown.append):
        for event in events:
            made(event)
    return shown


def test_json_and_osc_tell_the_same(play: Callable[..., list[str]]) -> None:
    with Ear() as one, Ear() as other:
        # A short decay, so that what nobody reads meanwhile fits into the system's buffer.
        options = ("--osc", one.port, "--osc", f"127.0.0.1:{other.port}", "--osc-address", "snare=/bang")
        hits = [json.loads(line) for line in play("--json", *options, "--decay", 0.001)]
        assert {"kick", "snare"} <= {each["label"] for each in hits}
        for ear in (one, other):
            told = []
            while len(told) < len(hits):
                address, value = ear.osc()
                if "presence" not in address:
                    told.append((address, round(value, 3)))
            names = {"snare": "/bang"}
            assert told == [(names.get(h["label"], f"/dance/{h['label']}"), pytest.approx(h["velocity"])) for h in hits]


def test_filters_hold_for_what_is_shown_and_sent(play: Callable[..., list[str]]) -> None:
    kicks = [each for each in map(json.loads, play("--json")) if each["label"] == "kick"]
    assert len(kicks) > 2
    options = ("--every", "kick=2,snare=1000,hihat=1000", "--quantise", "kick=1", "--offset", 1.5)
    told = [json.loads(line) for line in play("--json", *options)]
    assert [each["time"] for each in told if each["label"] == "kick"] == pytest.approx(
        [each["time"] + 1.5 for each in kicks[::2]], abs=2e-5
    )
    assert {each["velocity"] for each in told if each["label"] == "kick"} == {1.0}
    assert [each["label"] for each in told].count("snare") == 1
    assert len(play(*options)) == len(told)


def test_filters_come_in_a_fixed_order() -> None:
    hits = [hit(velocity=v, time=t) for t, v in enumerate((0.9, 0.1, 0.6, 0.2, 0.8))]
    shown = passed(made("--every", "2", "--above", "0.5", "--quantise", "2", "--gap", "0.5"), *hits)
    assert [(event.time, event.velocity) for event in shown] == [(0, 1.0), (4, 1.0)]
    assert passed(made("--gap", "2"), *hits) == hits[::2]
    assert passed(made(), *hits) == hits


def test_everything_at_once() -> None:
    with Ear() as strip:
        port = str(strip.port)
        both = made(
            "--json", "--osc", port, "--websocket", "0", "--osc-in", "0", "--wled", "localhost", "--wled-leds", "3"
        )
        with both:
            names = {outlet.name for outlet in both._outlets}
    assert {"JSON lines", f"OSC to 127.0.0.1:{port}", "WebSocket", "WLED at localhost"} == names


def test_osc_input_sets_the_engine_that_is_attached(capsys: pytest.CaptureFixture[str]) -> None:
    out = made("--osc-in", "0", "--every", "4", "--offset", "0.25")
    with out:
        first = Engine(Script(), detector())
        out.attach(first)
        assert first.settings.offset == 0.25
        client = SimpleUDPClient("127.0.0.1", out._control.port)
        client.send_message("/dance/mute/kick", 1)
        until(lambda: first.settings.for_label("kick").mute)
        second = Engine(Script(), detector())
        out.attach(second)
        assert second.settings == first.settings  # as in the next round of a loop
        client.send_message("/dance/sensitivity", 0.75)
        until(lambda: second.settings.for_label("snare").sensitivity == 0.75)
        assert first.settings.for_label("snare").sensitivity == 0.5
        first.stop()
        second.stop()
    assert capsys.readouterr() == ("", "")


def test_a_tap_over_osc_makes_now_the_one() -> None:
    out = made("--osc-in", "0", "--every", "4")
    shown: list[Event] = []
    with out, out.showing(shown.append):
        out(hit(time=0))
        out(hit(time=1))
        SimpleUDPClient("127.0.0.1", out._control.port).send_message("/dance/tap", 1.0)
        until(lambda: out._control.understood)
        for time in range(2, 8):
            out(hit(time=time))
    assert [event.time for event in shown] in ([0, 5], [0, 2, 6])  # the second was just now, unless the machine dozed


def test_on_the_network_osc_input_says_what_that_means(capsys: pytest.CaptureFixture[str]) -> None:
    with made("--osc-in", "0.0.0.0:0") as out:
        where = f"0.0.0.0 port {out._control.port}"
    assert f"OSC input on {where}: everybody in this network can set sens" in capsys.readouterr().err


def test_what_is_not_there_yet_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mido = pytest.importorskip("mido")
    there, real = False, socket.getaddrinfo

    def getaddrinfo(host: str, *rest: object, **more: object) -> object:
        if host == "later.local" and not there:
            raise socket.gaierror(-2, "Name or service not known")
        return real("127.0.0.1", *rest, **more)

    class Port:
        name, closed = "USB MIDI 1", False

        def send(self, message: object) -> None:
            played.append(message)

        def close(self) -> None:
            pass

    played: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(mido, "get_output_names", lambda: [Port.name] if there else [])
    monkeypatch.setattr(mido, "open_output", lambda name: Port())
    monkeypatch.setattr("dance.sinks.later._AGAIN_SECONDS", 0.01)
    with Ear() as ear, Ear() as other:
        host = f"later.local:{ear.port}"
        lights = ("--wled", "later.local", "--wled-leds", "1")
        with made("--osc", host, "--osc", str(other.port), *lights, "--midi", "usb") as out:
            assert capsys.readouterr().err.splitlines() == [
                "dance: no host later.local for OSC (Name or service not known); trying again",
                "dance: no MIDI output has 'usb' in its name; available: none; trying again",
                "dance: no host later.local for WLED (Name or service not known); trying again",
            ]
            out(hit())
            assert other.osc() == ("/dance/kick", 0.5)
            until(lambda: sum(outlet.missed for outlet in out._outlets) == 3)
            there = True
            said = ""

            def all_work() -> bool:
                nonlocal said
                said += capsys.readouterr().err
                return said.count("works") == 3

            until(all_work)
            out(hit("snare", 0.75))
            assert ear.osc() == ("/dance/snare", 0.75)
            until(lambda: played)
        assert set(said.splitlines()) == {
            f"dance: OSC to {host} works", "dance: MIDI to USB MIDI 1 works", "dance: WLED at later.local works",
        }  # fmt: skip
    assert f"OSC to {host} missed 1 of 2 hits (no host later.local for OSC" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "name"), [(["--json"], "JSON lines"), ([], "standard output")])
def test_a_full_disk_is_told_at_once(
    options: list[str], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with made(*options) as out, out.showing(None):
        out(hit())
        until(lambda: all(outlet.missed for outlet in (*out._outlets, out._display) if outlet))
        told = capsys.readouterr().err
    assert told == f"dance: {name}: No space left on device; everything else goes on, and this is tried again\n"


def test_what_was_missed_is_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    out = made()

    def light(event: Event) -> None:
        raise OSError(113, "No route to host")

    with out:
        out._add(Outlet(light))
        for _ in range(3):
            out(hit())
    assert capsys.readouterr().err == "dance: light missed 3 of 3 hits (No route to host)\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--every", "kik=4"), "--every names kik; the model knows kick, snare, hihat"),
        (("--wled-colours", "clap=ffffff"), "--wled-colours names clap"),
        (("--every", "0"), "every must be .* at least 1"),
        (("--above", "2"), "velocity must be between 0 and 1"),
        (("--osc", "no such host.:9"), "no host"),
        (("--osc", "a..b:9"), "no host"),
        (("--wled", "a..b", "--wled-leds", "1"), "no host"),
        (("--osc-in", "a..b:9"), "no OSC input on a..b"),
        (("--websocket", "a..b:9"), "cannot listen on a..b"),
        (("--osc", "0"), "OSC is sent to a port from 1 to 65535, not 0"),
        (("--osc-release", "0.1"), "--osc-release belongs to --osc"),
        (("--midi-channel", "3"), "--midi-channel belongs to --midi"),
        (("--wled-leds", "3"), "--wled-leds belongs to --wled"),
        (("--hold", "1"), "--hold applies to what is sent; add --osc or --midi or --websocket or --wled"),
        (("--decay", "1", "--midi"), "--decay applies to what is sent; add --osc or --websocket"),
        (("--delay", "0"), "--delay applies to what is sent; add --json or --osc"),
        (("--osc", "9", "--osc-address", "kik=/x"), "'kik' has no OSC address; there are"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(options: tuple[str, ...], words: str) -> None:
    with pytest.raises(DanceError, match=words):
        made(*options)


@pytest.mark.parametrize(
    "options",
    [
        ("--osc", "somewhere"),
        ("--osc", "1:2:x"),
        ("--osc", "70000"),
        ("--websocket", "localhost:70000"),
        ("--midi-notes", "60"),
        ("--osc-release", "soon"),
        ("--every", "often"),
        ("--every", "kick=2.5"),
        ("--above", "kick"),
        ("--osc-address", "kick"),
        ("--wled-colours", "kick=red"),
        ("--hold", "-1"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        made(*options)
    assert end.value.code == 2
    assert re.search(rf"error: argument {options[0]}.*: ", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9000", ("127.0.0.1", 9000)),
        (":9000", ("127.0.0.1", 9000)),
        ("10.0.0.7:9000", ("10.0.0.7", 9000)),
        ("[::1]:9000", ("::1", 9000)),
        ("resolume.local:7000", ("resolume.local", 7000)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert outputs._address(text) == address


@pytest.mark.parametrize(
    ("module", "option", "words"),
    [
        ("pythonosc.udp_client", "--osc=9", r'OSC needs python-osc: pip install "\.\[osc\]"'),
        ("pythonosc.osc_message", "--osc-in=0", r'OSC needs python-osc: pip install "\.\[osc\]"'),
        ("mido", "--midi", r'MIDI needs mido: pip install "\.\[midi\]"'),
        ("mido.backends.rtmidi", "--midi", r'MIDI ports need python-rtmidi: pip install "\.\[midi\]"'),
        ("websockets", "--websocket=0", r'the WebSocket needs websockets: pip install "\.\[web\]"'),
    ],
)
def test_a_missing_library_is_one_line_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, option: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # the import system takes None for "there is none"
    if module.startswith("mido."):
        import mido

        monkeypatch.setattr(mido.backend, "_module", None)  # which it has imported already, perhaps
    with pytest.raises(DanceError, match=words):
        made(option)


@pytest.mark.parametrize("options", [["--json"], []])
def test_whoever_reads_may_go_away(wav: Path, options: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dance", "play", wav, "--loop", "--model", tiny(), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "engine")},
    )
    process.stdout.readline()
    process.stdout.close()
    text = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert b"Traceback" not in text
    assert b"missed" not in text
    assert b"goes on" not in text


def test_importing_the_command_loads_no_library_of_an_output() -> None:
    done = run("-c", "import sys, dance.cli; dance.cli.make_parser(); print(*sys.modules)")
    assert done.returncode == 0
    loaded = set(done.stdout.split())
    assert "dance.sinks.osc" in loaded
    assert not loaded & {"pythonosc", "mido", "rtmidi", "websockets", "urllib.request"}


GUIDE = (ROOT / "docs" / "outputs.md").read_text()


@pytest.mark.parametrize("line", re.findall(r"^dance .*", GUIDE, re.MULTILINE))
def test_commands_of_the_guide_are_understood(line: str) -> None:
    options = make_parser().parse_args(shlex.split(line)[1:])
    for name in ("every", "above", "gap", "quantise", "midi_notes", "wled_colours"):
        outputs._check_labels(name, getattr(options, name), LABELS)


def test_the_program_of_the_guide_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "song.ogg").symlink_to(SONG)
    with Ear() as ear:
        program = program.replace('"song.ogg"', repr(str(tmp_path / "song.ogg"))).replace("7000", str(ear.port))
        done = run("-c", program.replace("Detector.load(", f"Detector.load({str(model())!r}, "))
        assert (done.returncode, done.stderr) == (0, "")
        told = int(re.search(r"(\d+) hits sent, 0 missed", done.stdout)[1])
        assert 0 < told < done.stdout.count("Event(")
