"""Where events go: each sink is a callable that takes one `Event`.

A sink that is slow, or may fail, belongs behind an `Outlet`. Libraries that a sink needs are imported when one is
made.

Contents
--------
Sink, Outlet, Later, JsonLines, Midi, Osc, WebSocket, Wled, print_event
"""

from .jsonlines import JsonLines
from .later import Later
from .lines import print_event
from .midi import Midi
from .osc import Osc
from .outlet import Outlet, Sink
from .websocket import WebSocket
from .wled import Wled

__all__ = ["JsonLines", "Later", "Midi", "Osc", "Outlet", "Sink", "WebSocket", "Wled", "print_event"]
