"""Settings over Open Sound Control: faders for sensitivity and gate, buttons for mute and tap.

It understands ``/dance/sensitivity 0.6``, ``/dance/gate 0.3``, ``/dance/mute 1`` (for all drums),
``/dance/sensitivity/kick 0.6``, ``/dance/gate/kick 0.3``, ``/dance/mute/kick 1`` (for one) and ``/dance/tap``. Nothing
else that anybody sends has an effect.

Contents
--------
Configurable, OscControl
"""

import math
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any, Protocol, Self

from .errors import SinkError, SpecError, install, os_reason
from .settings import Settings

_BUNDLE = b"#bundle\0"
_TIME_TAG = 8  # bytes; what is in the bundle is done at once
_AT_MOST_A_NUMBER = re.compile(rb"/[^\0]*\0+(,([ifdhTF]\0.*|\0+))?", re.DOTALL)
_LONGEST = 1024  # bytes of a message that is looked at
_WINDOW = 0.1  # seconds
_IN_A_WINDOW = 50  # messages looked at in that time; of more, the system keeps a few and drops the rest
_KEPT = 1 << 14  # bytes that the system keeps meanwhile
_POLL_SECONDS = 1.0  # `close` takes this long at most


class Configurable(Protocol):
    """An engine, as far as it matters here."""

    @property
    def settings(self) -> Settings:
        """What it decides by."""
        ...

    def configure(self, settings: Settings) -> None:
        """Decide by these settings."""
        ...

    def change(self, how: Callable[[Settings], Settings]) -> None:
        """Decide by what this makes of the settings; nobody else changes them meanwhile."""
        ...


class OscControl:
    """Listens for messages in a thread of its own, and sets the engine that it is given; a context manager.

    A message that is not understood or out of range is counted and changes nothing. OSC knows no password: on an
    address other than loopback, everybody in the network can do what is described here, and no more.

    Parameters
    ----------
    labels : iterable of str
        Drums that "all" means.
    host : str
        Address to listen on.
    port : int
        0 takes a free one.
    on_tap : callable, optional
        Called at ``/dance/tap``, from this thread; `Every.restart` is meant.

    Attributes
    ----------
    port : int
        The one in use.
    understood, refused : int
        Messages so far.

    Raises
    ------
    SinkError
        If python-osc is missing, or the address or port is not available.
    """

    def __init__(
        self,
        labels: Iterable[str],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        on_tap: Callable[[], object] | None = None,
    ) -> None:
        try:
            from pythonosc.osc_message import OscMessage
        except ImportError as error:
            raise SinkError(f"OSC needs python-osc: {install('osc')} ({error})") from None
        self._parse = OscMessage
        self._labels = tuple(labels)
        self._on_tap = on_tap
        self._engine: Configurable | None = None
        self.understood = self.refused = 0
        try:
            self._socket = _bound(host, port)
        except (OSError, UnicodeError) as error:
            raise SinkError(f"no OSC input on {host} port {port} ({os_reason(error)}); choose another") from None
        self.port: int = self._socket.getsockname()[1]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="dance OSC input", daemon=True)
        self._thread.start()

    def control(self, engine: Configurable) -> None:
        """Set this engine from now on; before there is one, messages are refused."""
        self._engine = engine

    def close(self) -> None:
        """End; any number of times."""
        self._closing.set()
        # A datagram to itself wakes it at once: closing a socket does not wake whoever waits in it. It may fail, as
        # when the network of this address is gone, or this is closed already.
        with suppress(OSError):
            host, *rest = self._socket.getsockname()
            here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
            self._socket.sendto(b"", (here, *rest))
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        began, count = monotonic(), 0
        while True:
            data = self._receive()
            if self._closing.is_set():
                return
            if data is None:
                continue
            now = monotonic()
            if now - began >= _WINDOW:
                began, count = now, 0
            count += 1
            if count > _IN_A_WINDOW and self._closing.wait(began + _WINDOW - now):
                return
            self._handle(data)

    def _receive(self) -> bytes | None:
        """Return the next datagram; None if none comes for a while."""
        try:
            return self._socket.recv(_LONGEST + 1)
        except TimeoutError:
            return None
        except OSError:  # some systems tell here that something sent before has not arrived, or is too long
            return b""

    def _handle(self, data: bytes) -> None:
        try:
            for each in _messages(data):
                message = self._parse(each)
                self._obey(message.address, message.params)
                self.understood += 1
        except Exception:  # not a `SpecError` alone: whatever a stranger's bytes do, the thread must live
            self.refused += 1

    def _obey(self, address: str, values: list[Any]) -> None:
        match address.split("/"):
            case ["", "dance", "tap"]:
                if self._on_tap and (not values or _number(values)):  # a button that is let go sends 0
                    self._on_tap()
            case ["", "dance", "sensitivity", *label]:
                labels, value = self._meant(label), _number(values)
                self._change(lambda settings: settings.with_sensitivity(value, labels))
            case ["", "dance", "gate", *label]:
                self._set(label, gate=_number(values))
            case ["", "dance", "mute", *label]:
                self._set(label, mute=_number(values) >= 0.5)
            case _:
                raise SpecError("no such address")

    def _meant(self, label: list[str]) -> tuple[str, ...]:
        if not label:
            return self._labels
        if len(label) > 1 or label[0] not in self._labels:
            raise SpecError("no such drum")
        return (label[0],)

    def _set(self, label: list[str], **changes: float) -> None:
        def changed(settings: Settings) -> Settings:
            for each in self._meant(label):
                settings = settings.with_label(each, **changes)
            return settings

        self._change(changed)

    def _change(self, how: Callable[[Settings], Settings]) -> None:
        if not self._engine:
            raise SpecError("nothing is heard yet")
        self._engine.change(how)


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket for datagrams to this address."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with ExitStack() as stack:
        made = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KEPT)
        made.settimeout(_POLL_SECONDS)
        made.bind(address)
        stack.pop_all()
    return made


def _messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a datagram, which may be a bundle of bundles, if they carry at most one number."""
    # Not python-osc's parser of bundles: one with a negative size keeps it busy forever.
    if len(data) > _LONGEST:
        raise SpecError("too long")
    if not data.startswith(_BUNDLE):
        if len(data) % 4 or not _AT_MOST_A_NUMBER.fullmatch(data):
            raise SpecError("no message")
        yield data
        return
    start = len(_BUNDLE) + _TIME_TAG
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "big")
        yield from _messages(data[start + 4 : end])
        start = end


def _number(values: list[Any]) -> float:
    if len(values) != 1 or not isinstance(values[0], int | float) or not math.isfinite(values[0]):
        raise SpecError("one number is needed")
    return float(values[0])
