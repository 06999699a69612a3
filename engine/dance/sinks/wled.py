"""Light on a strip that WLED drives, over its real-time UDP protocol.

Contents
--------
Wled, Colour, LED_COLOURS, PORT
"""

import json
import socket
from collections.abc import Iterable, Mapping
from time import monotonic

from ..errors import AbsentError, SinkError
from ..events import Event
from ..filters import Envelope
from .hosts import look_up

Colour = tuple[int, int, int]

LED_COLOURS: dict[str, Colour] = {
    "kick": (255, 24, 0),
    "snare": (255, 200, 120),
    "hihat": (0, 60, 90),
    "tom": (120, 0, 255),
    "cymbal": (60, 120, 20),
}
"""Red, green and blue of each drum at full presence."""

PORT = 21324
"""WLED's own, unless changed in its sync settings."""

_DNRGB = 4
_LEDS_A_PACKET = 489
_MOST_LEDS = 1 << 16  # that its protocol can number
_RATE = 40.0  # pictures a second
_TIMEOUT = 2  # seconds without a packet, after which WLED returns to its own effects
_REPEAT = 1.0  # seconds after which an unchanged picture is sent again, before that happens
_QUESTION_SECONDS = 3.0
_LONGEST_ANSWER = 1 << 16


class Wled:
    """Lights the whole strip in the colours of the drums, as bright as they are present; use it in an `Outlet`.

    A hit is sent at once, the decay 40 times a second; colours of drums that sound together add up. Two seconds after
    the end, WLED returns to its own effects. Protocol: DNRGB of WLED's "UDP realtime".

    Parameters
    ----------
    labels : iterable of str
    host : str
        Name or address of the WLED device; looked up once.
    leds : int, optional
        How many to light; by default the device is asked.
    colours : mapping from label to (red, green, blue), optional
        0..255; replaces `LED_COLOURS` as a whole: drums that are missing stay dark.
    port : int
    envelope : Envelope, optional
        What presence means.

    Raises
    ------
    AbsentError
        If nobody knows the host now, or it does not answer.
    SinkError
        If it cannot be a host, is not a WLED device, or has more LEDs than the protocol can number.
    """

    def __init__(
        self,
        labels: Iterable[str],
        host: str,
        *,
        leds: int | None = None,
        colours: Mapping[str, Colour] | None = None,
        port: int = PORT,
        envelope: Envelope | None = None,
    ) -> None:
        labels = tuple(labels)
        if leds is not None:  # before the look-up: waiting for a host does not help against a wrong number
            _check(leds)
        family, self._target = look_up(host, port, "WLED")
        self._leds = _check(_ask(host)) if leds is None else leds
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._host = host
        self._colours = LED_COLOURS if colours is None else colours
        self._envelope = envelope or Envelope(labels)
        self._shown: Colour | None = None
        self._frame = self._again = 0.0

    def __call__(self, event: Event) -> None:
        """Light up."""
        self._envelope(event)
        self._frame = 0.0  # now
        self.pulse()

    def pulse(self) -> float | None:
        """Send the picture that is due; see `Outlet`."""
        now = monotonic()
        if self._frame <= now:
            self._frame = now + 1 / _RATE
            colour = self._colour()
            if colour != self._shown or self._again <= now:
                self._again = now + _REPEAT
                self._shown = None  # who knows, should it fail: the next hit is sent whatever its colour
                self._send(colour)
                self._shown = colour
        return max((self._frame if any(self._shown or ()) else self._again) - now, 0.0)

    def close(self) -> None:
        """End; WLED returns to its own effects by itself."""
        self._socket.close()

    def __str__(self) -> str:
        return f"WLED at {self._host}"

    def _colour(self) -> Colour:
        red = green = blue = 0.0
        for label, value in self._envelope.values().items():
            part = self._colours.get(label, (0, 0, 0))
            red, green, blue = red + value * part[0], green + value * part[1], blue + value * part[2]
        return min(round(red), 255), min(round(green), 255), min(round(blue), 255)

    def _send(self, colour: Colour) -> None:
        for start in range(0, self._leds, _LEDS_A_PACKET):
            count = min(self._leds - start, _LEDS_A_PACKET)
            head = bytes((_DNRGB, _TIMEOUT)) + start.to_bytes(2, "big")
            self._socket.sendto(head + bytes(colour) * count, self._target)


def _check(leds: int) -> int:
    if not 1 <= leds <= _MOST_LEDS:
        raise SinkError(f"WLED needs 1 to {_MOST_LEDS} LEDs, not {leds}; say how many to light")
    return leds


def _ask(host: str, port: int = 80) -> int:
    """Return how many LEDs a WLED device says that it has."""
    import http.client  # slow to import, as the next, and asked once at most
    import urllib.request

    # Without proxies: the device is in this network.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    name = f"[{host}]" if ":" in host else host
    try:
        with direct.open(f"http://{name}:{port}/json/info", timeout=_QUESTION_SECONDS) as answer:
            return int(json.loads(answer.read(_LONGEST_ANSWER))["leds"]["count"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", None) or error
        # No answer, or that it is busy (5xx), may be the start of a device; any other answer is another device's.
        kind = AbsentError if isinstance(error, OSError) and getattr(error, "code", 500) >= 500 else SinkError
        raise kind(
            f"{host} does not say how many LEDs it has ({reason}); if it is WLED, say how many to light"
        ) from None
