"""The WebSocket, with real clients."""

import json
import threading
from collections.abc import Iterator

import pytest
from stage import until
from wires import hit

from dance import SinkError
from dance.filters import Envelope
from dance.sinks import Outlet, WebSocket

pytest.importorskip("websockets")
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

LABELS = ("kick", "snare")


@pytest.fixture
def sink() -> Iterator[WebSocket]:
    sink = WebSocket(LABELS, port=0, envelope=Envelope(LABELS, decay=0.1))
    yield sink
    sink.close()


def next_of(client: object, kind: str) -> dict[str, object]:
    """Return the next message of this type."""
    while (message := json.loads(client.recv(timeout=30)))["type"] != kind:
        pass
    return message


def test_hits_and_presences_reach_everyone_who_connected(sink: WebSocket) -> None:
    with connect(sink.url) as one, connect(sink.url) as other:
        for client in (one, other):
            assert json.loads(client.recv(timeout=30)) == {"type": "hello", "labels": list(LABELS)}
        outlet = Outlet(sink)
        outlet(hit("snare", 0.75, time=1.5))
        for client in (one, other):
            told = next_of(client, "hit")
            assert told == {
                "type": "hit", "label": "snare", "velocity": 0.75, "confidence": 0.9, "time": 1.5, "delay": 0.00907,
            }  # fmt: skip
            values = [next_of(client, "presence")["values"] for _ in range(2)]
            while any(values[-1].values()):
                values.append(next_of(client, "presence")["values"])
            assert {value["kick"] for value in values} == {0}
            snares = [value["snare"] for value in values]
            assert snares == sorted(snares, reverse=True)
            assert snares[0] > 0
        assert outlet.told == 1
        outlet.close()


def test_nobody_needs_to_listen(sink: WebSocket) -> None:
    for _ in range(1000):
        sink(hit())
    with connect(sink.url) as client:
        assert json.loads(client.recv(timeout=30))["type"] == "hello"


@pytest.mark.parametrize("origin", [None, "null", "http://localhost:5173", "http://127.0.0.1", "http://[::1]:80"])
def test_programs_files_and_pages_of_this_machine_may_connect(sink: WebSocket, origin: str | None) -> None:
    with connect(sink.url, origin=origin) as client:
        next_of(client, "hello")


@pytest.mark.parametrize("origin", ["https://example.com", "http://localhost.example.com", "http://[", "x"])
def test_pages_of_others_may_not(sink: WebSocket, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(sink.url, origin=origin)
    assert refused.value.response.status_code == 403


def test_what_a_client_sends_changes_nothing(sink: WebSocket) -> None:
    with connect(sink.url) as client:
        next_of(client, "hello")
        for text in ("x", '{"type": "reset"}', "[" * 4000):
            client.send(text)
            assert "text" in next_of(client, "error")
        client.send("x" * 100_000)  # ends this connection, and no other
        with connect(sink.url) as other:
            next_of(other, "hello")
            sink(hit())
            assert next_of(other, "hit")["label"] == "kick"


def test_a_client_that_does_not_read_delays_nobody(sink: WebSocket) -> None:
    with connect(sink.url, max_queue=1, close_timeout=0.1) as lazy, connect(sink.url) as eager:
        next_of(eager, "hello")
        outlet = Outlet(sink, queue=3000)
        heard = []

        def listen() -> None:
            while not heard or heard[-1] != "snare":
                heard.append(next_of(eager, "hit")["label"])

        thread = threading.Thread(target=listen)
        thread.start()
        for _ in range(3000):
            outlet(hit())
        until(lambda: outlet.told == 3000)
        outlet(hit("snare"))
        thread.join(60)
        assert not thread.is_alive()
        assert next_of(lazy, "hello")
        outlet.close()


def test_other_addresses_need_the_token() -> None:
    sink = WebSocket(LABELS, "0.0.0.0", 0)
    try:
        port = sink.url.split(":")[2].split("/")[0]
        token = sink.url.partition("?token=")[2]
        assert len(token) >= 8
        with pytest.raises(InvalidStatus):
            connect(f"ws://127.0.0.1:{port}/socket")
        with connect(f"ws://127.0.0.1:{port}/socket?token={token}") as client:
            next_of(client, "hello")
    finally:
        sink.close()


def test_a_port_in_use_is_one_line(sink: WebSocket) -> None:
    port = int(sink.url.split(":")[2].split("/")[0])
    with pytest.raises(SinkError, match=f"WebSocket cannot listen on 127.0.0.1 port {port}.*--websocket"):
        WebSocket(LABELS, port=port)
