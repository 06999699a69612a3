"""The monitor in the browser as an option of commands that listen.

Contents
--------
add_options, from_options, in_turn
"""

import argparse
import math
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from ..errors import SourceError, SpecError
from ..portaudio import Device, NoDeviceError, Search
from ..web import PORT, SETTINGS
from .arguments import LOOPBACK, port
from .common import say

if TYPE_CHECKING:
    from ..web.monitor import Monitor

_WAIT_SECONDS = 1.0  # between looks at whether a device that is not there is worth another search


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the monitor."""
    add = parser.add_argument
    add(
        "--web",
        nargs="?",
        type=port,
        const=PORT,
        metavar="PORT",
        help=f"a page in the browser that shows and sets everything; port, default: {PORT}",
    )
    add(
        "--host",
        metavar="ADDRESS",
        help="with --web: address to listen on; 0.0.0.0 lets a phone in the same network open the page",
    )
    add(
        "--token",
        metavar="WORD",
        help="with --web and --host: the page's token, 8 characters or more; default: a new one at every start",
    )


def from_options(
    options: argparse.Namespace, devices: Callable[[], Sequence[Device]] | None = None
) -> "Monitor | None":
    """Return the monitor that the options ask for, if any, and print its address."""
    if options.web is None:
        if options.host or options.token:
            raise SpecError("--host and --token are for the page in the browser; add --web")
        return None
    from ..web.monitor import Monitor

    host = options.host or LOOPBACK
    monitor = Monitor(host, options.web, token=options.token, save_to=options.settings or SETTINGS, devices=devices)
    say(f"open {monitor.url} in a browser")
    return monitor


def in_turn(
    hear: Callable[[int | str | None], None],
    device: int | str | None,
    monitor: "Monitor | None",
    *,
    patience: float = 0.0,
) -> None:
    """Hear `device`, then whatever is chosen in the page; after one that fails, go back to the one before it.

    Where there is none before it, wait for a device that is not there, `patience` seconds at most; the page says so,
    and another device may be chosen there.

    Raises
    ------
    SourceError
        If a device fails, there is none before it, and waiting would not help.
    """
    former, told, deadline, search = device, "", math.inf, Search()
    while True:
        try:
            hear(device)
        except SourceError as error:
            if monitor is None:
                raise
            if device != former:
                say(error)
                monitor.tell(error)
                device = former
                continue
            now = monotonic()
            if not told:  # the waiting begins
                deadline, search = now + patience, Search()
            if now >= deadline or not isinstance(error, NoDeviceError):
                raise
            problem = f"{error}; waiting for it"
            if problem != told:
                say(problem)
                told = problem
            search.failed(now)
            choice = None
            while not choice and now < deadline and not search.due(now):
                choice = monitor.wait(problem, min(deadline - now, _WAIT_SECONDS), error.devices)
                now = monotonic()
            device = choice or former
        else:
            choice = monitor.take_choice() if monitor else None
            if choice is None:
                return
            former, device, told = device, choice, ""
