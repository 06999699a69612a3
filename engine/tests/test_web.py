"""The monitor: who may see it, what it shows and sets, and that nothing a page does can harm the engine."""

import asyncio
import base64
import contextlib
import gc
import http.client
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
from browser import HOW, MISSING, chromium, resize
from stage import ROOT, SONG, Script, detector, drums, model, run, tiny, until

from dance import (
    DanceError,
    Detector,
    Engine,
    Event,
    LabelSettings,
    Read,
    Settings,
    SoundFile,
    SourceError,
    SpecError,
)
from dance.cli import make_parser
from dance.commands import common, outputs
from dance.commands.monitor import in_turn
from dance.features import log_mel
from dance.network import Network
from dance.portaudio import Device, NoDeviceError
from dance.sources import Source
from dance.web import server
from dance.web.access import Access
from dance.web.monitor import Monitor

pytest.importorskip("websockets", reason="needs websockets (pip install websockets)")
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

PAGE = (ROOT / "engine" / "dance" / "web" / "page.html").read_text()
DEVICES = [Device(0, "built in", 2, 48000, True), Device(1, "USB", 2, 44100, False)]


class Endless(Source):
    """The same samples again and again, ten milliseconds at a time."""

    def __init__(self, samples: np.ndarray, name: str = "endless", sample_rate: int = 44100) -> None:
        self.sample_rate, self.live, self.name = sample_rate, True, name
        self._samples, self._at = samples, 0
        self._end = Script()

    def read(self, out: np.ndarray, timeout: float) -> Read:
        if self._end.closed.wait(0.01):
            return Read(0, ended=True)
        part = self._samples[self._at :][: self.sample_rate // 100]
        self._at = (self._at + len(part)) % len(self._samples)
        out[: len(part)] = part
        return Read(len(part))

    def close(self) -> None:
        self._end.close()


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    with Monitor(port=0, save_to=tmp_path / "room.json", devices=lambda: DEVICES) as monitor:
        yield monitor


@pytest.fixture
def engine(monitor: Monitor) -> Iterator[Engine]:
    with monitor.engine(Endless(drums()), detector()) as engine:
        yield engine


class Page:
    """What a page does, without the page."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, **message: object) -> None:
        self.connection.send(json.dumps(message))

    def get(self, kind: str, condition: Callable[[dict[str, Any]], object] = lambda message: True) -> dict[str, Any]:
        """Return the next message of this kind, and condition; drop others."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            message = json.loads(self.connection.recv(timeout=60))
            if message["type"] == kind and condition(message):
                return message
        raise AssertionError(f"no {kind}")


def address(url: str) -> tuple[str, int, str]:
    """Return host, port and query of the monitor's address."""
    host, port, query = re.fullmatch(r"http://([^:]+):(\d+)/(.*)", url).groups()
    return host, int(port), query


@contextlib.contextmanager
def page(url: str, **options: object) -> Iterator[Page]:
    host, port, query = address(url)
    # Closing waits for what was sent before, which some of these pages do not read.
    options = {"origin": f"http://{host}:{port}", "proxy": None, "close_timeout": 0.1, **options}
    with connect(f"ws://{host}:{port}/socket{query}", **options) as connection:
        yield Page(connection)


def ask(url: str, path: str | None = None, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    host, port, query = address(url)
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.request(method, path or f"/{query}", headers=headers)
    return connection.getresponse()


# Who may see it


def test_the_page_needs_nothing_else(monitor: Monitor) -> None:
    response = ask(monitor.url)
    assert response.status == 200
    assert response.read().decode() == PAGE
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    links = set(re.findall(r"""\w+://[^\s"'`$]+""", PAGE))
    assert links <= {"http://www.w3.org/2000/svg"}  # a name, not a place


@pytest.mark.parametrize("path", ["/index.html", "/..%2f", "/../monitor.py", "/socket/", "//", "/page.html?token=x"])
def test_nothing_but_the_page_is_served(monitor: Monitor, path: str) -> None:
    assert ask(monitor.url, path).status == 404


def test_only_get(monitor: Monitor) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        with contextlib.suppress(http.client.BadStatusLine):  # some versions just hang up
            assert ask(monitor.url, method=method).status >= 400


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8808", "127.0.0.1.evil.example", "", "[::1"])
def test_other_names_for_this_machine_are_refused(monitor: Monitor, host: str) -> None:
    assert ask(monitor.url, Host=host).status == 403


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://127.0.0.1:1"])
def test_other_pages_are_refused(monitor: Monitor, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as refused, page(monitor.url, origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_on_loopback_no_token_is_needed() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert Access(host).token is None


def test_in_a_network_the_token_is_needed() -> None:
    with Monitor("0.0.0.0", 0) as monitor:
        _, port, query = address(monitor.url)
        assert re.fullmatch(r"\?token=[\w-]{12,}", query)
        for where in ("", "?token=", "?token=wrong", query[:-1], query.upper() + "x"):
            local = f"http://127.0.0.1:{port}/{where}"
            assert ask(local).status == 403
            with pytest.raises(InvalidStatus), page(local):
                pass
        local = f"http://127.0.0.1:{port}/{query}"
        assert ask(local).status == 200
        with page(local), pytest.raises(InvalidStatus), page(local, origin="http://evil.example"):
            pass


def test_a_token_of_ones_own() -> None:
    assert Access("192.0.2.7", "ours-only").url(80) == "http://192.0.2.7:80/?token=ours-only"
    for everywhere in ("0.0.0.0", "::"):  # what others can open is some address or name of this machine
        assert not re.match(r"http://(0\.0\.0\.0|\[::\]):", Access(everywhere).url(80))
    assert Access("192.0.2.7").token != Access("192.0.2.7").token
    with pytest.raises(SpecError, match="8 characters"):
        Access("192.0.2.7", "short")


def test_so_many_pages_and_no_more(monitor: Monitor) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(server.CLIENTS):
            stack.enter_context(page(monitor.url))
        with page(monitor.url) as refused, pytest.raises(ConnectionClosed) as closed:
            refused.get("tick")
        assert (closed.value.rcvd.code, closed.value.rcvd.reason[:22]) == (1013, "8 pages are open alrea")


# What it shows


def test_the_page_is_told_what_the_detector_hears(monitor: Monitor) -> None:
    samples = tiny_model.song(44100, 2.0)
    expected = (other := detector()).process(samples)
    expected += other.flush()
    begin = Script().closed  # an event that the source waits for
    heard = []
    with page(monitor.url) as one:
        with monitor.engine(Script(begin, samples, None), detector(), heard.append):
            session = one.get("session")
            begin.set()
            ticks = [one.get("tick")]
            while ticks[-1]["heard"] < 2 or ticks[-1]["frames"]:
                ticks.append(one.get("tick"))
        last = one.get("tick", lambda tick: not tick["running"])
    assert session["labels"] == list(other.labels)
    frames = log_mel(samples, other.spec.features, 44100)
    assert [number for tick in ticks for number in tick["frames"]] == list(range(len(frames)))
    told = np.frombuffer(b"".join(base64.b64decode(tick["mel"]) for tick in ticks), np.uint8).reshape(frames.shape)
    assert np.abs(told / 255 * 100 - 100 - frames.clip(-100, 0)).max() < 0.2
    onset = np.frombuffer(b"".join(base64.b64decode(tick["onset"]) for tick in ticks), np.uint8)
    assert len(onset) == 3 * len(frames) and onset.max() > 200
    hits = [hit for tick in [*ticks, last] for hit in tick["hits"]]
    assert len(hits) > 5
    assert [(other.labels[place], sample) for place, _, sample, _, _ in hits] == [(e.label, e.sample) for e in heard]
    assert [event.sample for event in expected][: len(heard)] == [event.sample for event in heard]
    assert all(latency >= event.delay - 1e-3 for (*_, latency), event in zip(hits, heard, strict=True))
    assert max(tick["peak"] for tick in ticks) == pytest.approx(np.abs(samples).max(), abs=1e-4)
    assert last["lost"] == 0 and last["events"] == len(heard)
    assert last["counts"] == [sum(event.label == label for event in heard) for label in other.labels]


def test_clipping_and_what_is_no_number(monitor: Monitor) -> None:
    samples = np.zeros(3000, np.float32)
    samples[100:107] = [1, -1, 1, 0.9995, 0.99, np.nan, np.inf]
    with page(monitor.url) as one, monitor.engine(Script(samples, 500, samples, None), detector()):
        ticks = [one.get("tick")]
        while ticks[-1]["heard"] < 0.147:
            ticks.append(one.get("tick"))
    assert sum(tick["clipped"] for tick in ticks) == 8
    assert max(tick["peak"] for tick in ticks) == 1
    assert ticks[-1]["lost"] == 500


def test_another_engine_is_another_session_with_the_same_settings(monitor: Monitor) -> None:
    with page(monitor.url) as one:
        with monitor.engine(Endless(drums(), "first"), detector()):
            first = one.get("session")
            one.send(type="label", label="kick", changes={"gate": 0.3})
            one.get("settings", lambda settings: settings["labels"]["kick"]["gate"] == 0.3)
        with monitor.engine(Endless(drums(), "second"), detector()) as engine:
            second = one.get("session")
            assert engine.settings.for_label("kick").gate == 0.3
            assert one.get("settings")["labels"]["kick"]["gate"] == 0.3
            assert one.get("tick")["heard"] < 2
    assert (first["source"], second["source"]) == ("first", "second")
    assert first["id"] != second["id"]


def test_another_model_takes_the_settings_of_the_drums_that_it_knows(monitor: Monitor, tmp_path: Path) -> None:
    labels, both = ("kick", "boom"), {"labels": ("kick", "boom"), "enabled": ("kick", "boom")}
    numbers = {"thresholds": (0.5,) * 2, "refractory_seconds": (0.05,) * 2, "attack_offset_seconds": (0.008,) * 2}
    other = tiny_model.save(tmp_path / "other.onnx", replace(tiny_model.SPEC, **both, **numbers))
    set_before = Settings(dict.fromkeys(("kick", "snare"), LabelSettings(gate=0.3)))
    first = monitor.engine(Script(), Detector.load(tiny(), sample_rate=44100, settings=set_before))
    first.configure(set_before.with_label("snare", gate=0.5))
    engine = monitor.engine(Script(), Detector.load(other, sample_rate=44100))
    assert engine.labels == labels
    assert engine.settings == Settings({"kick": LabelSettings(gate=0.3)})
    engine.configure(Settings())
    assert monitor._content.answer({"type": "reset"}) is None
    assert engine.settings == Settings({"kick": LabelSettings(gate=0.3)})


def test_a_monitored_engine_has_any_consumer(monitor: Monitor) -> None:
    samples = drums()
    expected = (alone := detector()).process(samples)
    expected += alone.flush()

    def polled(engine: Engine) -> list[Event]:
        events = []
        while not engine.wait(0.001):
            events += engine.poll()
        return events + engine.poll()

    async def collected(engine: Engine) -> list[Event]:
        return [event async for event in engine.aevents()]

    for consume in (polled, lambda engine: list(engine.events()), lambda engine: asyncio.run(collected(engine))):
        with page(monitor.url) as one:
            begin = threading.Event()
            engine = monitor.engine(Script(begin, samples), detector())
            one.get("session")
            threading.Timer(0.1, begin.set).start()
            assert consume(engine) == expected
            assert one.get("tick", lambda tick: not tick["running"])["counts"] == [
                sum(event.label == label for event in expected) for label in engine.labels
            ]


def test_a_page_is_told_something_whether_anything_is_heard_or_not(monitor: Monitor) -> None:
    with page(monitor.url) as one:
        assert one.get("waiting")["text"] == "nothing is heard yet"
        one.get("alive")
        monitor.wait("no input device", 0)
        one.get("waiting", lambda told: told["text"] == "no input device")
        one.get("alive")
        with monitor.engine(Endless(drums()), detector()):
            one.get("tick")
        monitor.wait("unplugged", 0)
        one.get("waiting")
        one.get("alive")


def test_who_comes_late_is_greeted(monitor: Monitor, engine: Engine) -> None:
    until(lambda: engine.stats.events)
    with page(monitor.url) as one:
        assert one.get("session")["source"] == "endless"
        assert one.get("settings")["labels"]["kick"]["threshold"] == 0.5
        assert len(one.get("tick")["frames"]) < 256 + 1


class Loud:
    """A server's content that says much."""

    page = b""

    def __init__(self) -> None:
        self.beats = 0

    def greet(self) -> list[dict[str, Any]]:
        return [{"type": "greeting"}]

    def beat(self) -> list[dict[str, Any]]:
        self.beats += 1
        return [{"type": "tick", "number": self.beats, "text": "x" * 100_000}]

    def answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        return None


def test_a_slow_page_loses_messages_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FRAMES_A_SECOND", 1000)
    content = Loud()
    busy = server.Server(content, Access("127.0.0.1"), 0)
    try:
        url = f"http://127.0.0.1:{busy.port}/"
        with page(url, max_queue=1) as slow, page(url) as quick:
            quick.get("tick", lambda tick: content.beats > 300)
            missed = slow.get("missed")
            assert missed["count"] >= 60
            assert slow.get("tick")["number"] > 60
    finally:
        busy.close()


# What it sets


def test_a_page_sets_and_every_page_sees_it(monitor: Monitor, engine: Engine, tmp_path: Path) -> None:
    with page(monitor.url) as one, page(monitor.url) as other:
        one.send(type="label", label="kick", changes={"sensitivity": 0.75})
        one.send(type="label", label="snare", changes={"threshold": 0.9, "refractory": 0.2})
        one.send(type="label", label="hihat", changes={"mute": True})
        one.send(type="offset", seconds=-0.012)
        told = other.get("settings", lambda settings: settings["offset"])
        assert told["labels"]["kick"]["threshold"] < 0.5
        assert told["labels"]["snare"]["own"] == ["threshold", "refractory"]
        assert told["labels"]["hihat"]["mute"] is True
        assert engine.settings.for_label("snare").refractory == 0.2
        assert engine.settings.offset == -0.012
        one.send(type="save")
        assert one.get("saved")["path"] == str(tmp_path / "room.json")
        assert Settings.load(tmp_path / "room.json") == engine.settings
        assert Settings.from_dict(told["file"]) == engine.settings
        one.send(type="reset")
        assert other.get("settings")["offset"] == 0
        assert engine.settings == Settings()


def test_a_drum_that_is_muted_in_the_page_is_silent(monitor: Monitor, engine: Engine) -> None:
    with page(monitor.url) as one:
        one.get("tick", lambda tick: tick["hits"])
        for label in engine.settings.labels or detector().labels:
            one.send(type="label", label=label, changes={"mute": True})
        one.get("settings", lambda told: all(own["mute"] for own in told["labels"].values()))
        start = one.get("tick")
        while (tick := one.get("tick"))["heard"] < start["heard"] + 0.1:
            pass
        while tick["heard"] < start["heard"] + 1.5:
            tick = one.get("tick")
            assert not tick["hits"]
        assert tick["presence"] == [0, 0, 0]


def test_a_file_that_cannot_be_written_is_told(engine: Engine, monitor: Monitor, tmp_path: Path) -> None:
    (tmp_path / "room.json").mkdir()
    with page(monitor.url) as one:
        one.send(type="save")
        assert "room.json" in one.get("error")["text"]


def test_choosing_a_device_ends_the_engine(monitor: Monitor, engine: Engine) -> None:
    with page(monitor.url) as one:
        assert one.get("session")["switchable"] is True
        one.send(type="devices")
        assert one.get("devices")["devices"] == ["built in", "USB"]
        one.send(type="device", name="gone")
        assert 'no input device "gone"' in one.get("error")["text"]
        assert not engine.wait(0)
        one.send(type="device", name="USB")
        assert engine.wait(60)
        assert monitor.take_choice() == "USB"
        with monitor.engine(Endless(drums(), "USB"), detector()):
            assert monitor.take_choice() is None
            assert one.get("session")["source"] == "USB"


def test_a_device_chosen_while_another_is_being_opened_is_heard_next(monitor: Monitor) -> None:
    with page(monitor.url) as one:
        with monitor.engine(Endless(drums(), "built in"), detector()) as engine:
            one.send(type="device", name="USB")
            assert engine.wait(60)
        assert monitor.take_choice() == "USB"
        one.send(type="device", name="built in")
        until(lambda: monitor._content._choice)
        with monitor.engine(Endless(drums(), "USB"), detector()) as engine:
            assert engine.wait(60)
        assert monitor.take_choice() == "built in"
        with monitor.engine(Endless(drums(), "built in"), detector()):
            one.get("tick", lambda tick: tick["running"] and tick["heard"] > 0.1)


def test_devices_in_turn_and_back_again() -> None:
    heard = []

    def hear(device: str | None) -> None:
        heard.append(device)
        if device == "broken":
            raise SourceError("broken")
        monitor.engine(Script(), detector())
        if name := {1: "USB", 2: "broken"}.get(len(heard)):
            assert monitor._content.answer({"type": "device", "name": name}) is None

    names = [*DEVICES, Device(2, "broken", 1, 44100, False)]
    with Monitor(port=0, devices=lambda: names) as monitor:
        in_turn(hear, None, monitor)
        assert heard == [None, "USB", "broken", "USB"]
        with pytest.raises(SourceError):
            in_turn(hear, "broken", monitor, patience=math.inf)  # waiting would not mend it
        with pytest.raises(SourceError):
            in_turn(hear, "broken", None, patience=math.inf)


def test_a_device_that_is_not_there_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says so, and another one can be chosen as soon as there is one."""
    monkeypatch.setattr("dance.commands.monitor._WAIT_SECONDS", 0.01)
    names, heard = [], []

    def hear(device: str | None) -> None:
        if device not in [device.name for device in names]:
            raise NoDeviceError(f'no input device "{device}"')
        heard.append(device)
        monitor.engine(Script(), detector())

    with Monitor(port=0, devices=lambda: names) as monitor, page(monitor.url) as one:
        with pytest.raises(NoDeviceError):
            in_turn(hear, "USB", monitor)
        with pytest.raises(NoDeviceError):
            in_turn(hear, "USB", monitor, patience=0.02)
        patient = {"patience": math.inf}
        listening = threading.Thread(target=in_turn, args=(hear, "USB", monitor), kwargs=patient, daemon=True)
        listening.start()
        waiting = one.get("waiting", lambda told: told["switchable"])
        assert waiting["text"] == 'no input device "USB"; waiting for it'
        assert (waiting["devices"], waiting["switchable"]) == ([], True)
        names.append(DEVICES[0])
        assert one.get("waiting", lambda told: told["devices"])["devices"] == ["built in"]
        with page(monitor.url) as late:
            assert late.get("waiting")["devices"] == ["built in"]
        one.send(type="device", name="built in")
        assert one.get("session")
        one.get("tick")
        listening.join(60)
        assert heard == ["built in"]


def test_a_device_that_appears_is_heard_without_a_choice(monkeypatch: pytest.MonkeyPatch, monitor: Monitor) -> None:
    monkeypatch.setattr("dance.commands.monitor._WAIT_SECONDS", 0.01)
    attempts = []

    def hear(device: str | None) -> None:
        attempts.append(device)
        if len(attempts) < 4:
            raise NoDeviceError("unplugged")

    in_turn(hear, None, monitor, patience=math.inf)
    assert attempts == [None] * 4


# What can go wrong


GARBAGE = [
    "",
    "nonsense",
    "[1, 2]",
    "null",
    "[" * 4000,
    '{"type": "unknown"}',
    '{"type": ["label"]}',
    '{"type": "label"}',
    '{"type": "label", "label": "gong", "changes": {"gate": 0.5}}',
    '{"type": "label", "label": "kick", "changes": []}',
    '{"type": "label", "label": "kick", "changes": {"colour": 1}}',
    '{"type": "label", "label": "kick", "changes": {"gate": "loud"}}',
    '{"type": "label", "label": "kick", "changes": {"gate": NaN}}',
    '{"type": "label", "label": "kick", "changes": {"gate": 1e999}}',
    '{"type": "label", "label": "kick", "changes": {"gate": true}}',
    '{"type": "label", "label": "kick", "changes": {"mute": 1}}',
    '{"type": "label", "label": "kick", "changes": {"sensitivity": null}}',
    '{"type": "label", "label": "kick", "changes": {"refractory": -1}}',
    '{"type": "label", "label": {"a": 1}, "changes": {"gate": 0.5}}',
    '{"type": "label", "label": "kick", "changes": {"self": 1}}',
    '{"type": "offset"}',
    '{"type": "offset", "seconds": "now"}',
    '{"type": "offset", "seconds": 1e9}',
    '{"type": "device", "name": 3}',
    b"\x00\xff\xfe",
    b'{"type": "offset", "seconds": []}',
]


def test_garbage_is_answered_and_changes_nothing(monitor: Monitor, engine: Engine) -> None:
    before = engine.settings
    with page(monitor.url) as one:
        for text in GARBAGE:
            one.connection.send(text)
            assert one.get("error")["text"], text
        one.get("tick")
    assert engine.settings == before
    assert not engine.wait(0)


def test_a_message_that_is_too_long_ends_the_connection_and_nothing_else(monitor: Monitor, engine: Engine) -> None:
    with page(monitor.url) as other:
        with page(monitor.url) as one:
            one.connection.send('"' + "x" * server.MESSAGE_BYTES + '"')
            with pytest.raises(ConnectionClosed) as closed:
                one.get("error")
            assert closed.value.rcvd.code == 1009
        other.get("tick")
    assert not engine.wait(0)


def test_a_flood_is_read_slowly_and_harms_nobody(monitor: Monitor, engine: Engine) -> None:
    with page(monitor.url) as other, page(monitor.url) as flooder:
        began = time.monotonic()
        for i in range(320):
            flooder.send(type="offset", seconds=i / 1000)
        other.get("settings", lambda settings: settings["offset"] == 0.319)
        assert time.monotonic() - began > 1  # 200 at once, 100 a second from then on: a floor, whatever the load
        other.send(type="reset")
        other.get("settings", lambda settings: settings["offset"] == 0)
    assert not engine.wait(0)
    assert engine.stats.lost == 0


def test_whoever_hangs_up_in_the_middle_is_forgotten(monitor: Monitor, engine: Engine) -> None:
    for _ in range(20):
        with page(monitor.url) as one:
            one.connection.socket.close()
    with page(monitor.url) as one:
        one.get("tick")


def test_a_consumer_that_fails_ends_the_engine_as_ever(monitor: Monitor) -> None:
    def fail(event: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        monitor.engine(Endless(drums()), detector(), fail).run()


def test_a_port_that_is_taken(monitor: Monitor) -> None:
    port = address(monitor.url)[1]
    with pytest.raises(DanceError, match=f"port {port} .*; choose another port"):
        Monitor(port=port)
    for host in ("203.0.113.1", "no such host."):
        with pytest.raises(
            DanceError, match=rf"cannot listen on {re.escape(host)} .*; name an address of this machine"
        ):
            Monitor(host, 0)


# The command


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    for options in (["--host", "0.0.0.0"], ["--loop", "--out", tmp_path]):
        done = run("-m", "dance", "play", SONG, "--model", tiny(), *options)
        assert done.returncode == 2
        assert re.fullmatch(r"dance: .*\n", done.stderr)


def test_without_websockets_the_error_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "websockets.py").write_text("raise ImportError('none')")
    done = run("-m", "dance", "play", SONG, "--model", tiny(), "--web", "0", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert re.fullmatch(r'dance: .*pip install "\.\[web\]".*\n', done.stderr)


@contextlib.contextmanager
def command(*arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command; its standard error can be read meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dance", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "engine"), **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def announced(process: subprocess.Popen[str]) -> str:
    """Return the address that the command says."""
    return re.fullmatch(r"dance: open (\S+) in a browser\n", process.stderr.readline())[1]


def test_one_round_after_the_other_becomes_garbage() -> None:
    common._settle.cache_clear()
    options = make_parser().parse_args(["play", "song", "--plain"])
    heard = []
    try:
        with outputs.from_options(options, Network(tiny())) as out, Monitor(port=0) as monitor:
            for _ in range(3):
                one = detector()
                heard.append(weakref.ref(one))
                common.hear(Script(drums(0.5)), one, "", options, outputs=out, monitor=monitor)
                del one
            gc.collect()
            assert [each() is None for each in heard[1:]] == [True, False]
    finally:
        gc.unfreeze()


def test_play_with_the_monitor() -> None:
    with command("play", SONG, "--model", tiny(), "--loop", "--web", "0") as process:
        with page(announced(process)) as one:
            assert one.get("session")["source"].endswith("song.ogg")
            one.get("tick", lambda tick: tick["hits"])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in errors and "s heard" in errors


# In a real browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if MISSING:
        pytest.skip(f"needs {MISSING} ({HOW})")
    with chromium() as driver:
        yield driver


def number(browser: Any, identity: str) -> int:
    """Return a number that the page shows."""
    return int(browser.execute_script("return document.getElementById(arguments[0])?.textContent ?? '0'", identity))


def slide(browser: Any, identity: str, value: float) -> None:
    browser.execute_script(
        "const slider = document.getElementById(arguments[0]);"
        "slider.value = arguments[1]; slider.dispatchEvent(new Event('input'))",
        identity,
        value,
    )


def state(browser: Any) -> str:
    return browser.execute_script("return document.getElementById('state').textContent")


def word(browser: Any) -> str:
    return browser.execute_script("return document.getElementById('word').textContent")


def test_the_browser_shows_the_demo_song(browser: Any, monitor: Monitor) -> None:
    browser.get_log("browser")  # what the tests before left
    with SoundFile(SONG, realtime=True) as source:
        hearing = Detector.load(model(), sample_rate=source.sample_rate)
        with monitor.engine(source, hearing) as engine:
            browser.get(monitor.url)
            until(lambda: number(browser, "hits-kick") >= 2)
            assert state(browser) == "listening"
            until(lambda: engine.stats.seconds > 3)
            # The picture and the lanes are drawn: many colours, and the kick's own.
            colours = browser.execute_script(
                "return [...document.querySelectorAll('canvas')].map(canvas => new Set(new Uint32Array("
                "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size)"
            )
            assert len(colours) == 1 + len(hearing.labels)
            assert colours[0] > 100 and colours[1] > 5
            events = engine.stats.events
            until(lambda: number(browser, "hits") >= events)
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith((monitor.url, "data:")) for name in loaded)
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []


def test_a_slider_changes_what_is_detected(browser: Any, monitor: Monitor) -> None:
    """Hits so faint that they count at sensitivity 0.5 and not at 0."""
    samples = quiet_hits()
    for sensitivity, heard in ((0.5, True), (0, False)):
        offline = Detector.load(tiny(), sample_rate=44100, sensitivity=sensitivity)
        labels = {event.label for event in offline.process(np.tile(samples, 3)) if event.sample > 22050}
        assert ("kick" in labels) == heard
    with monitor.engine(Endless(samples), detector()) as engine:
        browser.get(monitor.url)
        until(lambda: number(browser, "hits-kick") >= 2)
        slide(browser, "sensitivity-kick", 0)
        until(lambda: engine.settings.for_label("kick").sensitivity == 0)
        then = engine.stats.seconds
        until(lambda: engine.stats.seconds > then + 0.5)
        kicks = number(browser, "hits-kick")
        until(lambda: engine.stats.seconds > then + 3)
        assert number(browser, "hits-kick") == kicks
        slide(browser, "sensitivity-kick", 0.5)
        until(lambda: number(browser, "hits-kick") >= kicks + 2)


def test_a_source_that_brings_nothing_is_told(browser: Any, monitor: Monitor) -> None:
    again = Script().closed  # an event that the source waits for
    with monitor.engine(Script(drums(), again, drums()), detector()):
        browser.get(monitor.url)
        until(lambda: state(browser).startswith("nothing comes from "))
        again.set()
        until(lambda: state(browser) == "the source has ended")


def test_an_echo_does_not_move_a_slider_that_a_key_has_just_moved(browser: Any, monitor: Monitor) -> None:
    with monitor.engine(Endless(drums()), detector()) as engine:
        browser.get(monitor.url)
        until(lambda: number(browser, "hits-kick") >= 1)
        for step in range(10):
            slide(browser, "gate-kick", 0.2 + step / 100)
        assert browser.execute_script("return document.getElementById('gate-kick').value") == "0.29"
        until(lambda: engine.settings.for_label("kick").gate == 0.29)
        engine.configure(engine.settings.with_label("kick", gate=0.5))
        until(lambda: browser.execute_script("return document.getElementById('gate-kick').value") == "0.5")


def quiet_hits() -> np.ndarray:
    """Return a second with two faint thumps over a hum, which begins as it ends."""
    time = np.arange(44100) / 44100
    samples = sum(3e-4 * np.sin(2 * np.pi * round(hertz) * time + hertz) for hertz in np.geomspace(40, 12000, 40))
    for start in (0.25, 0.75):
        since = (time - start).clip(0)
        swell = np.exp(-since / 0.03) * np.minimum(since / 0.004, 1)
        samples += 0.1 * swell * sum(np.sin(2 * np.pi * hertz * since) for hertz in (50, 90, 170))
    return samples.astype(np.float32)


def test_the_page_comes_back_when_the_program_does(browser: Any, monitor: Monitor) -> None:
    with monitor.engine(Endless(drums(), "before"), detector()):
        browser.get(monitor.url)
        until(lambda: number(browser, "hits-kick") >= 1)
    until(lambda: state(browser) == "the source has ended")
    browser.execute_script("HEAR.missed({count: 60})")
    until(lambda: number(browser, "missed") == 60)
    monitor.close()
    until(lambda: "not connected" in state(browser))
    with Monitor(port=address(monitor.url)[1]) as again, again.engine(Endless(drums(), "after"), detector()):
        until(lambda: state(browser) == "listening")
        until(lambda: number(browser, "missed") == 0)
        assert "after" in browser.title
        hits = number(browser, "hits-kick")
        until(lambda: number(browser, "hits-kick") > hits)


def test_a_program_that_hangs_is_told(browser: Any) -> None:
    inert = "return document.querySelector('main').inert"
    with command("play", SONG, "--model", tiny(), "--loop", "--web", "0") as process:
        browser.get(announced(process))
        until(lambda: state(browser) == "listening")
        assert browser.execute_script(inert) is False
        process.send_signal(signal.SIGSTOP)
        until(lambda: state(browser).startswith("dance does not answer"))
        assert browser.execute_script(inert) is True
        process.send_signal(signal.SIGCONT)
        until(lambda: state(browser) == "listening")
        assert browser.execute_script(inert) is False


def test_why_there_is_no_connection_is_told(browser: Any) -> None:
    with Monitor("0.0.0.0", 0) as monitor:
        _, port, query = address(monitor.url)
        local = f"http://127.0.0.1:{port}/{query}"
        browser.get(local)
        until(lambda: state(browser) == "nothing is heard yet")
    until(lambda: "not connected" in state(browser))
    with Monitor("0.0.0.0", port) as monitor:  # with another token
        until(lambda: "?token=" in state(browser))
        local = f"http://127.0.0.1:{port}/{address(monitor.url)[2]}"
        with contextlib.ExitStack() as stack:
            for _ in range(server.CLIENTS):
                stack.enter_context(page(local))
            browser.get(local)
            until(lambda: "8 pages are open" in state(browser))
        until(lambda: state(browser) == "nothing is heard yet")


def test_why_an_engine_has_ended_is_told(browser: Any, monitor: Monitor) -> None:
    engine = monitor.engine(Script(drums(), SourceError("the cable is out")), detector())
    browser.get(monitor.url)
    until(lambda: state(browser) == "listening")
    engine.start()
    until(lambda: state(browser) == "failed: the cable is out")


def test_values_beyond_a_slider_widen_it(browser: Any, monitor: Monitor, engine: Engine) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(monitor.url)
    until(lambda: number(browser, "hits-kick") >= 1)
    engine.configure(Settings({"kick": LabelSettings(threshold=1.0, refractory=2.0)}, offset=-0.8))
    shown = "return ['refractory-kick', 'threshold-kick', 'offset'].map(id => document.getElementById(id).value)"
    until(lambda: browser.execute_script(shown) == ["2", "1", "-0.8"])
    browser.find_element("id", "refractory-kick").send_keys(Keys.ARROW_LEFT)
    until(lambda: engine.settings.for_label("kick").refractory == 1.995)
    browser.find_element("id", "offset").send_keys(Keys.ARROW_RIGHT)
    until(lambda: engine.settings.offset == -0.799)


def test_two_quick_taps_on_mute_change_nothing(browser: Any, monitor: Monitor, engine: Engine) -> None:
    browser.get(monitor.url)
    until(lambda: number(browser, "hits-kick") >= 1)
    browser.execute_script("for (const _ of [1, 2]) document.getElementById('mute-snare').click()")
    slide(browser, "gate-snare", 0.3)  # comes after them
    until(lambda: engine.settings.for_label("snare").gate == 0.3)
    assert not engine.settings.for_label("snare").mute


def test_arrow_keys_choose_no_device_on_their_way(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    names = list(DEVICES)
    options = "return [...document.querySelectorAll('#device option')].map(option => option.textContent)"
    with (
        Monitor(port=0, devices=lambda: names) as monitor,
        monitor.engine(Endless(drums(), "built in"), detector()) as engine,
    ):
        browser.get(monitor.url)
        until(lambda: browser.execute_script(options) == ["built in", "USB"])
        names.append(Device(2, "line", 2, 44100, False))
        device = browser.find_element("id", "device")
        browser.execute_script("document.getElementById('device').focus()")
        until(lambda: browser.execute_script(options) == ["built in", "USB", "line"])
        browser.execute_script("window.setTimeout = () => 1")  # time stands still
        device.send_keys(Keys.ARROW_DOWN)
        slide(browser, "gate-snare", 0.3)  # comes after it
        until(lambda: engine.settings.for_label("snare").gate == 0.3)
        assert not engine.wait(0)
        device.send_keys(Keys.ARROW_DOWN, Keys.ENTER)
        assert engine.wait(60)
        assert monitor.take_choice() == "line"


def test_pads_stand_still_where_less_motion_is_asked_for(browser: Any, monitor: Monitor, engine: Engine) -> None:
    colours = """
        const {canvas} = lanes[0], pen = canvas.getContext("2d");
        lanes[0].presence = .5;
        paintLane(lanes[0], 1, 0);
        return new Set(new Uint32Array(pen.getImageData(canvas.width - 9, 0, 1, canvas.height).data.buffer)).size;
    """
    browser.get(monitor.url)
    until(lambda: number(browser, "hits-kick") >= 1)
    assert browser.execute_script(colours) > 1
    try:
        less = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": less})
        until(lambda: browser.execute_script(colours) == 1)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_devices_saving_and_mistakes_in_the_browser(browser: Any, monitor: Monitor, tmp_path: Path) -> None:
    with monitor.engine(Endless(drums(), "built in"), detector()) as engine:
        browser.get(monitor.url)
        until(lambda: browser.execute_script("return document.querySelectorAll('#device option').length") == 2)
        browser.find_element("id", "mute-snare").click()
        until(lambda: engine.settings.for_label("snare").mute)
        browser.find_element("id", "save").click()
        until(lambda: word(browser).startswith("Saved."))
        assert Settings.load(tmp_path / "room.json").for_label("snare").mute
        monitor.tell("<b>mind</b> this")
        until(lambda: word(browser) == "<b>mind</b> this")
        browser.find_element("css selector", "#device option[value=USB]").click()
        assert engine.wait(60)
    assert monitor.take_choice() == "USB"
    monitor.wait("no input device", 0)
    until(lambda: state(browser) == "no input device")
    options = "return [...document.querySelectorAll('#device option')].map(option => option.textContent)"
    assert browser.execute_script(options) == ["choose an input", "built in", "USB"]
    browser.find_element("css selector", "#device option[value='built in']").click()
    until(lambda: monitor.wait("no input device", 0.01) == "built in")
    with monitor.engine(Endless(drums(), "built in"), detector()):
        until(lambda: state(browser) == "listening")
        until(lambda: browser.execute_script(options) == ["built in", "USB"])


# A page of which a script is the clock and the server: frames of a thousand made-up ticks are drawn one by one.
DRAW = """
window.requestAnimationFrame = () => 0;
socket.onmessage = null;
let operations = 0;
for (const name of ["fillRect", "clearRect", "strokeRect", "drawImage", "putImageData", "arc", "lineTo", "moveTo",
    "fill", "stroke", "beginPath", "closePath", "save", "restore", "clip", "setTransform", "setLineDash"]) {
  const own = CanvasRenderingContext2D.prototype[name];
  CanvasRenderingContext2D.prototype[name] = function (...all) { operations += 1; return own.apply(this, all); };
}
const text = count => btoa("x".repeat(count));
let frame = newest, now = before, steps = 0;
function step(seen) {  // a sixtieth of a second: every lane is hit 10 times a second
  const sample = (frame - base) * session.hop * session.rate;
  const hits = steps++ % 6 === 0 ? lanes.map((_, lane) => [lane, .7, sample, .9, .02]) : [];
  const count = frame % 5 < 3 ? 2 : 1, frames = Array.from({length: count}, () => ++frame - base);
  HEAR.tick({type: "tick", frames, mel: text(count * session.bands), onset: text(count * lanes.length), hits,
    presence: lanes.map(() => .5), peak: .5, clipped: 0, heard: frame / 100, events: frame, lost: 0, busy: .01,
    counts: lanes.map(() => frame), running: true});
  now += 1000 / 60;
  if (seen) paint(now);
  writeFigures();
}
const held = () => ({hits: Math.max(...lanes.map(lane => lane.hits.length)), latencies: latencies.length,
  borders: borders.length, nodes: document.getElementsByTagName("*").length,
  activations: Math.max(...lanes.map(lane => lane.activation.length))});
function most(count, seen) {
  const all = {operations: 0};
  for (let i = 0; i < count; i++) {
    operations = 0;
    step(seen);
    for (const [name, value] of Object.entries({...held(), operations})) all[name] = Math.max(all[name] ?? 0, value);
  }
  return all;
}
"""


def test_a_frame_takes_no_more_work_than_the_ones_before(browser: Any, monitor: Monitor) -> None:
    """Once the picture is full, neither the operations of a frame nor what is kept between frames grows."""
    with monitor.engine(Endless(drums()), detector()):
        browser.get(monitor.url)
        until(lambda: number(browser, "hits-kick") >= 1)
        script = "return [most(600, true), most(1000, true), most(3000, false), most(500, true)]"
        browser.set_script_timeout(300)
        filled, later, hidden, again = browser.execute_script(DRAW + script)
    # Three lanes of some 900 pixels, which show 7 seconds: a line for each of 100 frames a second, three operations for
    # each of 10 hits a second, and what surrounds them.
    assert 2000 < filled["operations"] < 3 * (720 + 3 * 72 + 100)
    for after in (later, again):
        assert after["operations"] <= filled["operations"] + 3 * (1 + 3 + 1)  # a frame, a hit and a second's line each
        assert after["hits"] <= filled["hits"] + 1
    for after in (later, hidden, again):
        assert {name: after[name] for name in ("nodes", "borders", "activations")} == {
            name: filled[name] for name in ("nodes", "borders", "activations")
        }
        assert after["latencies"] <= 200
    assert hidden["hits"] < 20.48 * 10 + 20  # of the 20 seconds that are kept, though nothing was drawn


def test_a_phone_shows_it_without_scrolling_sideways(browser: Any, monitor: Monitor, engine: Engine) -> None:
    resize(browser, 390, 844)
    browser.get(monitor.url)
    until(lambda: number(browser, "hits-kick") >= 1)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert browser.execute_script("return [...document.querySelectorAll('details')].some(node => node.open)") is False


def test_a_finger_that_scrolls_moves_no_slider(browser: Any, monitor: Monitor, engine: Engine) -> None:
    resize(browser, 390, 844)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 1})

    def touch(kind: str, *points: tuple[float, float]) -> None:
        points = [{"x": x, "y": y} for x, y in points]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def move(sideways: int, up: int) -> None:
        left, top, width, height = browser.execute_script(
            "const place = document.getElementById('sensitivity-kick').getBoundingClientRect();"
            "return [place.x, place.y, place.width, place.height]"
        )
        x, y = left + 0.8 * width, top + height / 2
        touch("touchStart", (x, y))
        for step in range(1, 11):
            touch("touchMove", (x + sideways * step, y - up * step))
        touch("touchEnd")

    browser.get(monitor.url)
    until(lambda: number(browser, "hits-kick") >= 1)
    scrolled = "return scrollY"
    move(sideways=0, up=12)
    until(lambda: browser.execute_script(scrolled) > 0)
    move(sideways=0, up=0)  # a finger that only lies there
    slide(browser, "gate-kick", 0.3)  # comes after it
    until(lambda: engine.settings.for_label("kick").gate == 0.3)
    assert engine.settings.for_label("kick").sensitivity == 0.5
    assert browser.execute_script("return document.getElementById('sensitivity-kick').value") == "0.5"
    move(sideways=-3, up=0)
    until(lambda: 0.5 < engine.settings.for_label("kick").sensitivity < 0.8)


# With a real device


def test_another_device_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    microphone = pytest.importorskip("test_microphone", reason="needs PyAudio")
    if microphone.missing:
        pytest.skip(f"needs {', '.join(microphone.missing)} (apt-get install pulseaudio)")
    with (
        tempfile.TemporaryDirectory(prefix="pulse-") as folder,
        contextlib.closing(microphone.Pulse(Path(folder), 44100)) as pulse,
        command("listen", "--device", "default", "--model", tiny(), "--web", "0", **pulse.environment) as process,
        page(announced(process)) as one,
    ):
        assert one.get("session")["source"] == "default"
        one.get("tick", lambda tick: tick["heard"] > 0.5)
        one.send(type="label", label="kick", changes={"gate": 0.5})
        one.send(type="devices")
        assert {"default", "pulse"} <= set(one.get("devices")["devices"])
        one.send(type="device", name="pulse")
        assert one.get("session")["source"] == "pulse"
        assert one.get("settings")["labels"]["kick"]["gate"] == 0.5
        one.get("tick", lambda tick: tick["heard"] > 0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert len(re.findall(r"s heard", errors)) == 2


def test_a_sound_server_that_comes_later(tmp_path: Path) -> None:
    """Without any device the page is there and says so; when one appears, it is heard."""
    microphone = pytest.importorskip("test_microphone", reason="needs PyAudio")
    if microphone.missing:
        pytest.skip(f"needs {', '.join(microphone.missing)} (apt-get install pulseaudio)")
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        environment = {name: folder for name in ("XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH")}
        environment["PULSE_SERVER"] = f"unix:{folder}/native"
        with (
            command("listen", "--device", "pulse", "--model", tiny(), "--web", "0", **environment) as process,
            page(announced(process)) as one,
        ):
            one.get("waiting", lambda told: told["text"].endswith("waiting for it"))
            assert process.stderr.readline().endswith("waiting for it\n")
            with contextlib.closing(microphone.Pulse(Path(folder), 44100)):
                assert one.get("session")["source"] == "pulse"
                one.get("tick", lambda tick: tick["heard"] > 0.5)
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)
                assert process.returncode == 130
