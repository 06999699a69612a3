"""WLED, over real UDP and HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from stage import until
from wires import Ear, hit

from dance import SinkError
from dance.errors import AbsentError
from dance.filters import Envelope
from dance.sinks import Outlet, Wled
from dance.sinks.wled import _ask

LABELS = ("kick", "snare")
COLOURS = {"kick": (255, 0, 0), "snare": (0, 100, 0)}


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as ear:
        yield ear


def picture(packet: bytes) -> tuple[int, set[tuple[int, ...]], int]:
    """Return first LED, colours and number of LEDs of a DNRGB packet."""
    assert packet[:2] == b"\x04\x02"
    colours = [tuple(packet[at : at + 3]) for at in range(4, len(packet), 3)]
    return int.from_bytes(packet[2:4], "big"), set(colours), len(colours)


def test_a_hit_lights_the_strip_and_fades(ear: Ear) -> None:
    envelope = Envelope(LABELS, decay=0.2)
    with Outlet(Wled(LABELS, "127.0.0.1", leds=7, port=ear.port, colours=COLOURS, envelope=envelope)) as outlet:
        assert picture(ear.packet()) == (0, {(0, 0, 0)}, 7)
        outlet(hit("kick", 1.0))
        reds = [255]
        while reds[-1]:
            _, colours, count = picture(ear.packet())
            ((red, green, blue),) = colours
            assert (green, blue, count) == (0, 0, 7)
            reds.append(red)
        assert reds == sorted(reds, reverse=True)


def test_silence_keeps_the_strip_ours(ear: Ear) -> None:
    with Outlet(Wled(LABELS, "127.0.0.1", leds=1, port=ear.port)):
        assert ear.packet() == ear.packet() == bytes((4, 2, 0, 0, 0, 0, 0))


def test_a_hit_that_cannot_be_sent_is_missed(ear: Ear) -> None:
    wled = Wled(LABELS, "127.0.0.1", leds=1, port=ear.port, colours={"kick": (255, 0, 0)})
    here, wled._target = wled._target, ("255.255.255.255", ear.port)  # a broadcast, for which sockets need permission
    problems: list[str] = []
    with Outlet(wled, on_problem=problems.append) as outlet:
        outlet(hit("kick", 1.0))
        outlet(hit("snare", 1.0))  # which has no colour
        until(lambda: outlet.told + outlet.missed == 2)
        assert outlet.missed == 2
        wled._target = here
        outlet(hit("kick", 1.0))
        until(lambda: outlet.told == 1)
    assert [line.partition(";")[0] for line in problems] == [
        "WLED at 127.0.0.1: Permission denied", "WLED at 127.0.0.1 works again",
    ]  # fmt: skip


def test_colours_add_up_and_a_drum_without_one_is_dark(ear: Ear) -> None:
    envelope = Envelope(("kick", "snare", "tom"), hold=3600)
    wled = Wled(("kick", "snare", "tom"), "127.0.0.1", leds=1, port=ear.port, colours=COLOURS, envelope=envelope)
    for event in (hit("tom", 1.0), hit("kick", 0.2), hit("snare", 0.5)):
        wled(event)
    assert [picture(ear.packet())[1] for _ in range(3)] == [{(0, 0, 0)}, {(51, 0, 0)}, {(51, 50, 0)}]
    wled.close()


def test_a_long_strip_takes_several_packets(ear: Ear) -> None:
    wled = Wled(LABELS, "127.0.0.1", leds=1000, port=ear.port)
    wled.pulse()
    assert [picture(ear.packet())[::2] for _ in range(3)] == [(0, 489), (489, 489), (978, 22)]
    wled.close()


@pytest.fixture
def device() -> Iterator[HTTPServer]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.server.answers.get(self.path)
            self.send_response(200 if body else self.server.refusal)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        server.answers, server.refusal = {}, 404
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_device_is_asked_how_many_leds_it_has(device: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which knows nothing of devices in this network
    device.answers["/json/info"] = json.dumps({"ver": "0.14.4", "leds": {"count": 144}}).encode()
    here = ("127.0.0.1", device.server_port)
    assert _ask(*here) == 144
    for answer in (b"[]", b"{}", b"no JSON", b'{"leds": {"count": null}}'):
        device.answers["/json/info"] = answer
        with pytest.raises(SinkError, match="if it is WLED"):
            _ask(*here)
    monkeypatch.setattr(device.RequestHandlerClass, "protocol_version", "SSH-2.0")  # no HTTP
    with pytest.raises(SinkError, match="if it is WLED"):
        _ask(*here)
    monkeypatch.undo()
    del device.answers["/json/info"]
    with pytest.raises(SinkError, match="Not Found") as caught:
        _ask(*here)
    assert not isinstance(caught.value, AbsentError)


def test_a_device_that_does_not_answer_may_do_so_later(device: HTTPServer) -> None:
    device.refusal = 503
    with pytest.raises(AbsentError, match="Service Unavailable"):
        _ask("127.0.0.1", device.server_port)
    with Ear() as gone, pytest.raises(AbsentError, match="refused"):  # whose port is one of UDP
        _ask("127.0.0.1", gone.port)


def test_what_cannot_be_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SinkError, match="no host"):
        Wled(LABELS, "no such host.")
    with pytest.raises(SinkError, match="needs 1 to 65536 LEDs"):  # waiting for the host would not help
        Wled(LABELS, "nowhere.invalid", leds=0)
    for leds in (0, 65537):
        with pytest.raises(SinkError, match=f"needs 1 to 65536 LEDs, not {leds}"):
            Wled(LABELS, "127.0.0.1", leds=leds)
    monkeypatch.setattr("dance.sinks.wled._ask", lambda host: 70000)
    with pytest.raises(SinkError, match="not 70000; say how many to light"):
        Wled(LABELS, "127.0.0.1")
