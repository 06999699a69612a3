"""Hits and presences as Open Sound Control messages over UDP, one number each.

Contents
--------
Osc, PRESENCE
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from time import monotonic

from ..errors import SinkError, install
from ..events import Event
from ..filters import Envelope
from .hosts import look_up

PRESENCE = "presence/"
"""What stands before a drum's name when its presence is meant."""

_LAST_PORT = 65535


class Osc:
    """Sends ``/dance/kick 0.8`` at a hit, and ``/dance/presence/kick`` while there is something; use it in an `Outlet`.

    Each message carries one float, 0..1. A hit is one message, sent at once. Presences are sent `rate` times a second
    when they have changed, so that silence costs nothing; the last one is 0. Other drums than `labels` are passed over.

    UDP does not tell whether anybody listens: hits to a program that is not there are lost, and it is served
    from the moment it is.

    Parameters
    ----------
    labels : iterable of str
    host : str
        Name or address; looked up once.
    port : int
    addresses : mapping from str to str, optional
        OSC addresses in place of the usual ones, as in ``{"kick": "/composition/layers/1/clips/1/connect",
        "presence/kick": "/composition/layers/1/video/opacity"}``.
    release : float, optional
        Send a hit's address a 0 after this many seconds, or before the next hit if that comes sooner, for programs that
        want a button to be let go.
    rate : float
        Presences a second; 0 sends none.
    envelope : Envelope, optional
        What presence means.

    Raises
    ------
    AbsentError
        If the host is not known now.
    SinkError
        If python-osc is missing, or the host, the port or an address is not valid.
    """

    def __init__(
        self,
        labels: Iterable[str],
        host: str = "127.0.0.1",
        port: int = 9000,
        *,
        addresses: Mapping[str, str] | None = None,
        release: float | None = None,
        rate: float = 60.0,
        envelope: Envelope | None = None,
    ) -> None:
        try:
            from pythonosc.udp_client import SimpleUDPClient
        except ImportError as error:
            raise SinkError(f"OSC needs python-osc: {install('osc')} ({error})") from None
        if not 0 < port <= _LAST_PORT:
            raise SinkError(f"OSC is sent to a port from 1 to {_LAST_PORT}, not {port}")
        labels = tuple(labels)
        keys = (*labels, *(PRESENCE + label for label in labels))
        self._addresses = {key: f"/dance/{key}" for key in keys}
        for key, address in (addresses or {}).items():
            if key not in self._addresses:
                raise SinkError(f"{key!r} has no OSC address; there are {', '.join(keys)}")
            if not address.startswith("/") or any(character in " #*,?[]{}" for character in address):
                raise SinkError(
                    f"{address!r} is not an OSC address, which begins with / and has no spaces or #*,?[]{{}}"
                )
            self._addresses[key] = address
        family, address = look_up(host, port, "OSC")
        # The client would look up a name at each message. Of addresses of a link alone the fourth part says which link.
        number = f"{address[0]}%{address[3]}" if len(address) > 2 and address[3] else address[0]
        self._client = SimpleUDPClient(number, port, family=family)
        self._where = f"{host}:{port}"
        self._release, self._rate = release, rate
        self._envelope = envelope or Envelope(labels)
        self._sent = dict.fromkeys(labels, 0.0)
        self._pressed: dict[str, float] = {}  # label, and when to let go
        self._frame = 0.0

    def __call__(self, event: Event) -> None:
        """Send a hit."""
        if event.label not in self._sent:
            return
        self._envelope(event)
        if event.label in self._pressed:  # a button that is still down cannot be pressed
            self._let_go(event.label)
        self._client.send_message(self._addresses[event.label], event.velocity)
        if self._release is not None:
            self._pressed[event.label] = monotonic() + self._release

    def pulse(self) -> float | None:
        """Send the presences and releases that are due; see `Outlet`."""
        now = monotonic()
        for label in [label for label, due in self._pressed.items() if due <= now]:
            self._let_go(label)
        due = list(self._pressed.values())
        if self._rate:
            if self._frame <= now:
                self._frame = now + 1 / self._rate
                self._stream()
            if any(self._sent.values()) or any(self._envelope.values().values()):
                due.append(self._frame)
        return max(min(due) - now, 0.0) if due else None

    def close(self) -> None:
        """Let go of what is pressed, say that nothing is present any more, and end."""
        with ExitStack() as everything:  # though some of it fails
            everything.callback(self._client.close)
            for label in [label for label, value in self._sent.items() if value]:
                everything.callback(self._client.send_message, self._addresses[PRESENCE + label], 0.0)
            for label in list(self._pressed):
                everything.callback(self._let_go, label)

    def __str__(self) -> str:
        return f"OSC to {self._where}"

    def _let_go(self, label: str) -> None:
        self._client.send_message(self._addresses[label], 0.0)
        del self._pressed[label]

    def _stream(self) -> None:
        for label, value in self._envelope.values().items():
            if value != self._sent.get(label, value):
                self._client.send_message(self._addresses[PRESENCE + label], value)
                self._sent[label] = value
