"""OSC, over real UDP."""

import socket
from collections.abc import Iterator

import pytest
from wires import Ear, hit

from dance import SinkError
from dance.errors import AbsentError
from dance.filters import Envelope
from dance.sinks import Osc, Outlet

LABELS = ("kick", "snare")


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as ear:
        yield ear


def test_a_hit_is_one_message_with_the_velocity(ear: Ear) -> None:
    with Outlet(Osc(LABELS, port=ear.port, rate=0)) as outlet:
        outlet(hit("snare", 0.75))
        outlet(hit("kick", 0.5))
        assert [ear.osc(), ear.osc()] == [("/dance/snare", 0.75), ("/dance/kick", 0.5)]
    assert (outlet.told, outlet.missed) == (2, 0)


def test_presence_streams_until_nothing_is_left(ear: Ear) -> None:
    osc = Osc(LABELS, port=ear.port, envelope=Envelope(LABELS, decay=0.2))
    with Outlet(osc) as outlet:
        outlet(hit("kick", 1.0))
        assert ear.osc() == ("/dance/kick", 1.0)
        stream = []
        while not stream or stream[-1][1]:
            stream.append(ear.osc())
        addresses, values = zip(*stream, strict=True)
        assert set(addresses) == {"/dance/presence/kick"}
        assert list(values) == sorted(values, reverse=True)
        assert len(values) > 1
        outlet(hit("snare", 0.5))  # and only now there is something to send again
        assert ear.osc() == ("/dance/snare", 0.5)


def test_the_end_leaves_nothing_present_and_nothing_pressed(ear: Ear) -> None:
    osc = Osc(LABELS, port=ear.port, release=3600, envelope=Envelope(LABELS, hold=3600))
    with Outlet(osc) as outlet:
        outlet(hit("kick", 1.0))
        assert [ear.osc(), ear.osc()] == [("/dance/kick", 1.0), ("/dance/presence/kick", 1.0)]
    assert [ear.osc(), ear.osc()] == [("/dance/kick", 0.0), ("/dance/presence/kick", 0.0)]


def test_addresses_of_the_users_own_and_release(ear: Ear) -> None:
    clip = "/composition/layers/1/clips/1/connect"
    with Outlet(Osc(LABELS, port=ear.port, rate=0, addresses={"kick": clip}, release=0.01)) as outlet:
        outlet(hit("kick", 1.0))
        assert [ear.osc(), ear.osc()] == [(clip, 1.0), (clip, 0.0)]


def test_a_button_that_is_down_is_let_go_before_it_is_pressed_again(ear: Ear) -> None:
    with Outlet(Osc(LABELS, port=ear.port, rate=0, release=3600)) as outlet:
        outlet(hit("kick", 1.0))
        outlet(hit("kick", 0.5))
        assert [ear.osc() for _ in range(3)] == [("/dance/kick", 1.0), ("/dance/kick", 0.0), ("/dance/kick", 0.5)]


def test_what_cannot_be_let_go_is_let_go_later(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    osc = Osc(LABELS, port=ear.port, rate=0, release=0.0)
    osc(hit("kick", 1.0))
    assert ear.osc() == ("/dance/kick", 1.0)

    def refuse(address: str, value: float) -> None:
        raise OSError("no route")

    monkeypatch.setattr(osc._client, "send_message", refuse)
    with pytest.raises(OSError, match="no route"):
        osc.pulse()
    monkeypatch.undo()
    osc.close()
    assert ear.osc() == ("/dance/kick", 0.0)


def test_nobody_there_stops_nothing(ear: Ear) -> None:
    gone = Ear()
    gone.close()
    with Outlet(Osc(LABELS, port=gone.port)) as outlet, Outlet(Osc(LABELS, port=ear.port, rate=0)) as other:
        for _ in range(3):
            outlet(hit())
            other(hit())
        assert [ear.osc() for _ in range(3)] == [("/dance/kick", 0.5)] * 3


def test_other_drums_are_passed_over(ear: Ear) -> None:
    envelope = Envelope(LABELS, hold=3600)
    with Outlet(Osc(["snare"], port=ear.port, envelope=envelope)) as outlet:
        envelope(hit("kick", 1.0))
        outlet(hit("kick", 1.0))
        outlet(hit("snare", 0.5))
        assert [ear.osc(), ear.osc()] == [("/dance/snare", 0.5), ("/dance/presence/snare", 0.5)]
    assert (outlet.told, outlet.problem) == (2, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"host": "no such host."}, "no host"),
        ({"port": 0}, "a port from 1 to 65535, not 0"),
        ({"port": 65536}, "a port from 1 to 65535, not 65536"),
        ({"addresses": {"kik": "/x"}}, "kik.*there are kick, snare, presence/kick"),
        ({"addresses": {"kick": "x"}}, "not an OSC address"),
        ({"addresses": {"kick": "/x y"}}, "not an OSC address"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(SinkError, match=words):
        Osc(LABELS, **arguments)


def test_a_name_is_looked_up_once_and_may_be_known_later(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    known, asked, real = {}, [], socket.getaddrinfo

    def getaddrinfo(host: str, *rest: object, **more: object) -> object:
        if host.endswith(".local"):
            asked.append(host)
            if host not in known:
                raise socket.gaierror(-2, "Name or service not known")
        return real(known.get(host, host), *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(AbsentError, match=r"no host resolume.local for OSC \(Name or service not known\)"):
        Osc(LABELS, "resolume.local", ear.port)
    known["resolume.local"] = "127.0.0.1"
    with Outlet(Osc(LABELS, "resolume.local", ear.port, rate=0)) as outlet:
        assert outlet.name == f"OSC to resolume.local:{ear.port}"
        for velocity in (0.5, 0.75):
            outlet(hit("kick", velocity))
            assert ear.osc() == ("/dance/kick", velocity)
    assert len(asked) == 2


@pytest.mark.parametrize("host", ["a..b", "no such host.", ""])
def test_what_can_be_no_host_is_not_waited_for(host: str) -> None:
    with pytest.raises(SinkError, match="no host") as caught:
        Osc(LABELS, host)
    assert not isinstance(caught.value, AbsentError)


def test_an_address_of_a_link_keeps_its_link(monkeypatch: pytest.MonkeyPatch) -> None:
    from dance.sinks import osc

    place = (socket.AF_INET6, ("fe80::1", 7000, 0, 1))
    monkeypatch.setattr(osc, "look_up", lambda host, port, protocol: place)
    sink = Osc(("kick",), "fe80::1%lo", 7000)
    assert sink._client._address == "fe80::1%1"
    sink.close()
