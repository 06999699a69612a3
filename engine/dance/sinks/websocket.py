"""Hits and presences as JSON messages to whoever connects to a WebSocket, a page in the browser for example.

Contents
--------
WebSocket, PORT
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import SpecError
from ..events import Event
from ..filters import Envelope
from ..web.access import Access
from .jsonlines import fields

if TYPE_CHECKING:
    from ..web.server import Message

PORT = 8809
"""Where it listens, unless told otherwise."""

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class WebSocket:
    """Tells everyone who connects; what they send is refused.

    Messages are JSON objects: first ``{"type": "hello", "labels": ["kick", ...]}``; at each hit, at once, ``{"type":
    "hit", "label": "kick", "velocity": 0.83, "confidence": 0.97, "time": 12.345, "delay": 0.03}``; 60 times a second,
    while there is something, ``{"type": "presence", "values": {"kick": 0.4, ...}}``, the last of which is all zeros.
    A client that reads too slowly loses messages, and is told how many: ``{"type": "missed", "count": 60}``.

    Pages of this machine may connect (from files, too), pages from the address that they connect to, and programs
    that are no browsers. Anything but loopback needs a token, which is part of `url`.

    Parameters
    ----------
    labels : iterable of str
    host : str
    port : int
        0 takes a free one.
    envelope : Envelope, optional
        What presence means.

    Attributes
    ----------
    url : str
        What to connect to.

    Raises
    ------
    SinkError
        If websockets is missing, or the address or port is not available.
    """

    def __init__(
        self,
        labels: Iterable[str],
        host: str = "127.0.0.1",
        port: int = PORT,
        *,
        envelope: Envelope | None = None,
    ) -> None:
        from ..web.server import Server  # asyncio is slow to import

        labels = tuple(labels)
        access = _Listeners(host)
        self._envelope = envelope or Envelope(labels)
        content = _Content(labels, self._envelope)
        self._server = Server(content, access, port, name="the WebSocket", option="--websocket PORT")
        self.url = access.url(self._server.port, scheme="ws", path="/socket")

    def __call__(self, event: Event) -> None:
        """Tell a hit."""
        self._envelope(event)
        self._server.send({"type": "hit", **fields(event)})

    def close(self) -> None:
        """End all connections."""
        self._server.close()

    def __str__(self) -> str:
        return "WebSocket"


class _Listeners(Access):
    """Lets in whatever only listens: programs, pages of this machine, and local files, which browsers give no origin.

    Other people's pages are refused, unless they ask from within a sandboxed frame, which has no origin either: such a
    page sees drums, and nothing else.
    """

    def refusal(self, target: str, headers: Mapping[str, str], opens_socket: bool) -> str | None:
        """See `Access.refusal`; of where a socket may be opened from, more is allowed here."""
        host, origin = headers.get("Host", ""), headers.get("Origin", "null")  # programs that are no browsers send none
        if opens_socket and origin != "null" and _name(origin) not in (*_THIS_MACHINE, _name(f"//{host}")):
            return "only pages of this machine may connect"
        return super().refusal(target, headers, opens_socket=False)


def _name(address: str) -> str:
    """Return the host in an address, or the text itself where it is not an address: that equals no host."""
    try:
        return urlsplit(address).hostname or address
    except ValueError:
        return address


class _Content:
    """What the server serves."""

    def __init__(self, labels: tuple[str, ...], envelope: Envelope) -> None:
        self.page = b"<!doctype html><title>dance</title>Connect a WebSocket to /socket here: it tells every hit.\n"
        self._labels, self._envelope = labels, envelope
        self._present = False

    def greet(self) -> "list[Message]":
        """See `Content.greet`."""
        return [{"type": "hello", "labels": self._labels}]

    def beat(self) -> "list[Message]":
        """See `Content.beat`."""
        values = {label: round(value, 3) for label, value in self._envelope.values().items()}
        before, self._present = self._present, any(values.values())
        return [{"type": "presence", "values": values}] if before or self._present else []

    def answer(self, message: "Message") -> "Message | None":
        """See `Content.answer`."""
        raise SpecError("nothing can be set here; use OSC or the monitor")
