"""What the tests of outputs share: hits, and an ear on a UDP port.

Contents
--------
hit, Ear
"""

import socket
from typing import Self

from pythonosc.osc_message import OscMessage

from dance import Event

RATE = 44100


def hit(label: str = "kick", velocity: float = 0.5, time: float = 0.0) -> Event:
    """Return a hit that is reported 400 samples after its attack."""
    sample = round(time * RATE)
    return Event(label, velocity, 0.9, sample, sample + 400, RATE)


class Ear:
    """A UDP port of this machine."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(30)
        self.port = self._socket.getsockname()[1]

    def packet(self) -> bytes:
        """Wait for the next datagram."""
        return self._socket.recv(1 << 16)

    def osc(self) -> tuple[str, object]:
        """Wait for the next OSC message; return address and its only value."""
        message = OscMessage(self.packet())
        (value,) = message.params
        return message.address, value

    def close(self) -> None:
        """End."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
