"""Settings over OSC: real UDP, friendly and hostile."""

import socket
import struct
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder
from stage import Script, detector, drums, until

from dance import Engine, Settings, SinkError
from dance.control import OscControl

LABELS = ("kick", "snare")


class Desk:
    """An engine's settings, and how often they were changed."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.changes = 0

    def change(self, how: Callable[[Settings], Settings]) -> None:
        self.settings = how(self.settings)
        self.changes += 1


class Remote:
    """A controller, what it controls, and the controlled."""

    def __init__(self) -> None:
        self.taps = 0
        self.desk = Desk()
        self.control = OscControl(LABELS, on_tap=self._tap)
        self.control.control(self.desk)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def _tap(self) -> None:
        self.taps += 1

    def send(self, data: bytes) -> None:
        """Send a datagram, and wait until it was looked at."""
        before = self.seen
        self._socket.sendto(data, ("127.0.0.1", self.control.port))
        until(lambda: self.seen > before)

    def flood(self, data: bytes, times: int) -> None:
        """Send without waiting."""
        for _ in range(times):
            self._socket.sendto(data, ("127.0.0.1", self.control.port))

    @property
    def seen(self) -> int:
        return self.control.understood + self.control.refused

    def close(self) -> None:
        self.control.close()
        self._socket.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Remote]:
    remote = Remote()
    yield remote
    remote.close()


@pytest.fixture
def remote() -> Iterator[Remote]:
    remote = Remote()
    yield remote
    remote.close()


def message(address: str, *values: object) -> bytes:
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    return builder.build().dgram


def test_sensitivity_of_one_and_of_all(remote: Remote) -> None:
    remote.send(message("/dance/sensitivity/kick", 0.75))
    assert remote.desk.settings.for_label("kick").sensitivity == 0.75
    assert remote.desk.settings.for_label("snare").sensitivity == 0.5
    remote.send(message("/dance/sensitivity", 0.25))
    assert [remote.desk.settings.for_label(label).sensitivity for label in LABELS] == [0.25, 0.25]
    remote.send(message("/dance/sensitivity", 1))  # some send whole numbers
    assert remote.desk.settings.for_label("kick").sensitivity == 1


def test_gate_of_one_and_of_all(remote: Remote) -> None:
    remote.send(message("/dance/gate/kick", 0.75))
    assert [remote.desk.settings.for_label(label).gate for label in LABELS] == [0.75, 0.0]
    remote.send(message("/dance/gate", 0.25))
    assert [remote.desk.settings.for_label(label).gate for label in LABELS] == [0.25, 0.25]


def test_mute_of_one_and_of_all(remote: Remote) -> None:
    def muted() -> list[bool]:
        return [remote.desk.settings.for_label(label).mute for label in LABELS]

    for address, value, expected in (
        ("/dance/mute/snare", 1, [False, True]),
        ("/dance/mute", 1.0, [True, True]),
        ("/dance/mute/kick", False, [False, True]),
        ("/dance/mute", 0, [False, False]),
    ):
        remote.send(message(address, value))
        assert muted() == expected


def test_tap_counts_when_pressed(remote: Remote) -> None:
    for values in ((), (1.0,), (0.0,), (True,)):
        remote.send(message("/dance/tap", *values))
    assert remote.taps == 3


def test_a_bundle_of_bundles_is_done(remote: Remote) -> None:
    inner = OscBundleBuilder(IMMEDIATELY)
    for label in LABELS:
        builder = OscMessageBuilder(f"/dance/sensitivity/{label}")
        builder.add_arg(0.125)
        inner.add_content(builder.build())
    outer = OscBundleBuilder(IMMEDIATELY)
    outer.add_content(inner.build())
    remote.send(outer.build().dgram)
    until(lambda: remote.control.understood == 2)
    assert [remote.desk.settings.for_label(label).sensitivity for label in LABELS] == [0.125, 0.125]


BUNDLE = b"#bundle\0" + bytes(7) + b"\1"
HOSTILE = {
    "nothing": b"",
    "garbage": b"\xff" * 50,
    "no such address": message("/dance/format", 1),
    "no such drum": message("/dance/mute/cowbell", 1),
    "too deep": message("/dance/mute/kick/x", 1),
    "out of range": message("/dance/sensitivity", 7.0),
    "a gate out of range": message("/dance/gate/kick", -0.1),
    "not a number": message("/dance/sensitivity", float("nan")),
    "infinite": message("/dance/mute", float("inf")),
    "a word": message("/dance/sensitivity", "high"),
    "two": message("/dance/sensitivity", 0.1, 0.2),
    "none": message("/dance/sensitivity"),
    "cut off": message("/dance/sensitivity", 0.1)[:-2],
    "too long": message("/dance/sensitivity", 0.1) + bytes(2000),
    "a strange type": b"/dance/mute\0,?" + b"?" * 900 + b"\0\0\0",
    "not UTF-8": b"/dance/\xff\xfe\xfd\0\0,f\0\0" + bytes(4),
    "a bundle of negative size": BUNDLE + struct.pack(">i", -4),
    "a bundle of no size": BUNDLE + bytes(4),
    "a deep bundle": b"".join(BUNDLE + struct.pack(">i", 1000 - 20 * depth) for depth in range(1, 50)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_understood_changes_nothing_and_is_counted(
    shared: Remote, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    refused, changes = shared.control.refused, shared.desk.changes
    shared.send(HOSTILE[name])
    assert (shared.control.refused, shared.desk.changes) == (refused + 1, changes)
    shared.send(message("/dance/sensitivity", 0.5))
    assert shared.desk.changes == changes + 1
    assert capfd.readouterr() == ("", "")


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: BUNDLE + tail))
def test_no_datagram_ends_it(shared: Remote, data: bytes) -> None:
    taps = shared.taps
    shared.flood(data, 1)
    shared.flood(message("/dance/tap"), 1)
    until(lambda: shared.taps == taps + 1)


def test_a_flood_is_looked_at_in_part_only(remote: Remote) -> None:
    began = monotonic()
    remote.flood(message("/dance/sensitivity", 0.5), 20_000)
    assert remote.seen <= 510 * (monotonic() - began) + 102
    until(lambda: remote.desk.changes > 50)  # it goes on


def test_a_flood_does_not_stop_the_engine(remote: Remote) -> None:
    engine = Engine(Script(drums(5.0)), detector(), lambda event: None)
    remote.control.control(engine)
    with engine:
        while not engine.wait(0):
            remote.flood(message("/dance/sensitivity/kick", 0.5), 100)
    assert engine.stats.seconds == 5.0
    assert engine.stats.events > 0


def test_before_there_is_an_engine_messages_are_refused() -> None:
    remote = Remote()
    fresh = OscControl(LABELS)
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(message("/dance/mute", 1), ("127.0.0.1", fresh.port))
    until(lambda: fresh.refused)
    fresh.close()
    remote.close()


def test_it_listens_on_this_machine_only_unless_told_otherwise() -> None:
    with OscControl(LABELS) as control:
        assert control._socket.getsockname()[0] == "127.0.0.1"
    with OscControl(LABELS, "0.0.0.0") as control:
        assert control._socket.getsockname()[0] == "0.0.0.0"


def test_a_port_in_use_is_one_line() -> None:
    with (
        OscControl(LABELS) as control,
        pytest.raises(SinkError, match=f"no OSC input on 127.0.0.1 port {control.port}"),
    ):
        OscControl(LABELS, port=control.port)


def test_it_ends_any_number_of_times() -> None:
    control = OscControl(LABELS)
    for _ in range(2):
        control.close()
    assert not control._thread.is_alive()


class Watched(socket.socket):
    """A socket that is noted, and cannot send."""

    made: ClassVar[list["Watched"]] = []

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)
        self.made.append(self)

    def sendto(self, *arguments: object) -> int:
        raise OSError(101, "Network is unreachable")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Watched]]:
    monkeypatch.setattr(socket, "socket", Watched)
    yield Watched.made
    Watched.made.clear()


def test_an_address_that_is_refused_leaves_no_socket(watched: list[Watched]) -> None:
    with OscControl(LABELS) as control, pytest.raises(SinkError):
        OscControl(LABELS, port=control.port)
    assert [made.fileno() for made in watched] == [-1, -1]


def test_it_ends_though_it_cannot_wake_itself(watched: list[Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dance.control._POLL_SECONDS", 0.01)
    control = OscControl(LABELS)
    sleep(0.05)
    control.close()
    assert not control._thread.is_alive()
    assert (control.refused, watched[0].fileno()) == (0, -1)  # waiting in vain is no message
