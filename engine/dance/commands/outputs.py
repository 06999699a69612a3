"""Outputs and filters as options of commands that listen.

Contents
--------
add_options, from_options, Outputs
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Self

from ..control import Configurable, OscControl
from ..errors import SpecError
from ..events import Event
from ..filters import Above, Envelope, Every, Filter, Gap, Quantise, Shift, chain
from ..network import Network
from ..sinks import JsonLines, Later, Midi, Osc, Outlet, Sink, WebSocket, Wled, print_event
from ..sinks.midi import DRUM_CHANNEL, NOTE_SECONDS
from ..sinks.websocket import PORT
from ..sinks.wled import Colour
from .arguments import LOOPBACK, port, within
from .common import say

# Options that belong to an output.
_PARTS = {
    "osc": ("osc_address", "osc_release"),
    "midi": ("midi_channel", "midi_notes"),
    "wled": ("wled_leds", "wled_colours"),
}
# Filters that apply only to what is sent, and the outputs that know them.
_SENT = {"hold": ("osc", "midi", "websocket", "wled"), "decay": ("osc", "websocket", "wled")}
_SENT["delay"] = ("json", *_SENT["hold"])
_STDOUT_QUEUE = 4096  # hits that may wait for a slow reader of a pipe: many minutes
_SECONDS = within(float, 0, 3600, unit="seconds")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    _add_outputs(parser.add_argument_group("outputs", "in any combination").add_argument)
    about = "applied to all that is shown and sent; X for all drums, or as kick=X,snare=X"
    _add_filters(parser.add_argument_group("filters", about).add_argument)


def _add_outputs(add: Callable[..., object]) -> None:
    add("--json", action="store_true", help="print a line of JSON per hit on standard output")
    add(
        "--osc",
        action="append",
        type=_address,
        metavar="[HOST:]PORT",
        help="send OSC: /dance/kick, /dance/presence/kick",
    )
    add(
        "--osc-address",
        action="append",
        type=_pair,
        metavar="KICK=/ADDRESS",
        help="another OSC address for kick, presence/kick and so on; may be repeated",
    )
    add("--osc-release", type=_SECONDS, metavar="S", help="send 0 to a hit's OSC address after S seconds")
    add(
        "--midi",
        nargs="?",
        const="",
        metavar="PORT",
        help="send notes to the port with this name; without PORT to a new virtual one",
    )
    add("--midi-channel", type=int, metavar="N", help="1 to 16; default: 10, that of drums")
    add("--midi-notes", type=_notes, metavar="KICK=36", help="notes for these drums; the others keep General MIDI's")
    add(
        "--websocket",
        nargs="?",
        const=(LOOPBACK, PORT),
        type=_address,
        metavar="[HOST:]PORT",
        help=f"send JSON to pages and programs that connect; default: {PORT}, from this machine only",
    )
    add("--wled", action="append", metavar="HOST", help="flash a strip of LEDs that WLED drives")
    add("--wled-leds", type=int, metavar="N", help="how many LEDs to light; default: as many as the device says it has")
    add(
        "--wled-colours",
        type=_colours,
        metavar="KICK=FF2000",
        help="colours of the drums to light; all others stay dark",
    )
    add(
        "--osc-in",
        type=_address,
        metavar="[HOST:]PORT",
        help="accept settings over OSC: /dance/sensitivity, /dance/gate, /dance/mute, /dance/tap; "
        "from this machine only, unless HOST is given",
    )


def _add_filters(add: Callable[..., object]) -> None:
    add("--above", type=_per_drum(float), metavar="X", help="only hits with a velocity of at least X, 0..1")
    add("--gap", type=_per_drum(float), metavar="X", help="only hits at least X seconds after the last")
    add("--every", type=_per_drum(int), metavar="X", help="only the first hit and every X-th after it")
    add("--quantise", type=_per_drum(int), metavar="X", help="round velocities to X steps, 1/X to 1")
    add("--hold", type=_SECONDS, metavar="S", help="hold sent presences at full value, and notes, for S seconds")
    add("--decay", type=_SECONDS, metavar="S", help="let sent presences then fall to a third in S seconds")
    add("--offset", type=float, metavar="S", help="add S seconds to the times that are shown and sent")
    add("--delay", type=_SECONDS, metavar="S", help="send hits S seconds later")


def from_options(options: argparse.Namespace, network: Network) -> "Outputs":
    """Return the outputs that the options ask for, and print the addresses on which they listen."""
    return Outputs(options, network.spec.labels, options.labels or network.spec.enabled, network.spec.presence_seconds)


class Outputs:
    """Outlets behind the filters; a sink, and a context manager that reports at the end what was missed.

    Attributes
    ----------
    json : bool
        True if standard output is for JSON.
    """

    def __init__(self, options: argparse.Namespace, known: Sequence[str], labels: Sequence[str], decay: float) -> None:
        for name in ("above", "gap", "every", "quantise", "midi_notes", "wled_colours"):
            _check_labels(name, getattr(options, name), known)
        for output, names in _PARTS.items():
            lone = [name for name in names if getattr(options, name) is not None]
            if lone and getattr(options, output) is None:
                raise SpecError(f"{_option(lone[0])} belongs to {_option(output)}; add that")
        for name, outputs in _SENT.items():
            if getattr(options, name) is not None and all(getattr(options, each) in (None, False) for each in outputs):
                raise SpecError(f"{_option(name)} applies to what is sent; add {' or '.join(map(_option, outputs))}")
        self.json: bool = options.json
        self._offset: float | None = options.offset
        self._engine: Configurable | None = None
        self._outlets: list[Outlet] = []
        self._display: Sink | None = None
        self._control: OscControl | None = None
        every = None if options.every is None else Every(options.every)
        self._filter = self._filters(options, every)
        with ExitStack() as stack:
            self._stack = stack
            self._open(options, labels, decay if options.decay is None else options.decay, every)
            self._stack = stack.pop_all()

    def __call__(self, event: Event) -> None:
        """Show and send a hit that passes the filters."""
        told = self._filter(event)
        if told is None:
            return
        if self._display:
            self._display(told)
        for outlet in self._outlets:
            outlet(told)

    @contextmanager
    def showing(self, display: Sink | None) -> Iterator[None]:
        """Show what passes the filters there meanwhile; by default as lines on standard output if they are free."""
        with ExitStack() as stack:
            if display is None and not self.json:
                display = outlet = _to_stdout(print_event, name="standard output")
                stack.callback(_report, outlet)
                stack.enter_context(outlet)
            self._display = display
            yield

    def attach(self, engine: Configurable) -> None:
        """Let this engine be set over OSC, and take times' offset from it; it starts with the last one's settings."""
        if self._control:  # first, or what is set over OSC meanwhile would go to the last one
            self._control.control(engine)
        if self._engine:
            engine.configure(self._engine.settings)
        elif self._offset is not None:
            offset = self._offset
            engine.change(lambda settings: replace(settings, offset=offset))
        self._engine = engine

    def check(self) -> None:
        """Raise BrokenPipeError if nobody reads our standard output any more."""
        for outlet in (self._display, *self._outlets):
            if isinstance(outlet, Outlet) and isinstance(outlet.problem, BrokenPipeError):
                raise outlet.problem

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _filters(self, options: argparse.Namespace, every: Every | None) -> Filter:
        filters: list[Filter] = []
        if options.above is not None:
            filters.append(Above(options.above))
        if options.gap is not None:
            filters.append(Gap(options.gap))
        if every:
            filters.append(every)
        if options.quantise is not None:
            filters.append(Quantise(options.quantise))
        return chain(*filters, Shift(lambda: self._engine.settings.offset if self._engine else 0.0))

    def _open(self, options: argparse.Namespace, labels: Sequence[str], decay: float, every: Every | None) -> None:
        delay = options.delay or 0.0

        def envelope() -> Envelope:
            return Envelope(labels, hold=options.hold or 0.0, decay=decay)

        if options.json:
            self._add(_to_stdout(JsonLines(), delay=delay))
        for host, number in options.osc or ():
            addresses = dict(options.osc_address or ())
            release = options.osc_release
            osc = partial(Osc, labels, host, number, addresses=addresses, release=release, envelope=envelope())
            self._send(Later(osc, f"OSC to {host}:{number}", say), delay)
        if options.midi is not None:
            hold = NOTE_SECONDS if options.hold is None else options.hold
            channel = DRUM_CHANNEL if options.midi_channel is None else options.midi_channel
            midi = partial(Midi, options.midi or None, channel=channel, notes=options.midi_notes, hold=hold)
            self._send(Later(midi, f"MIDI to {options.midi}", say), delay)
        if options.websocket:
            host, number = options.websocket
            socket = WebSocket(labels, host, number, envelope=envelope())
            self._send(socket, delay)
            say(f"hits at {socket.url}")
        for host in options.wled or ():
            leds, colours = options.wled_leds, options.wled_colours
            strip = partial(Wled, labels, host, leds=leds, colours=colours, envelope=envelope())
            self._send(Later(strip, f"WLED at {host}", say), delay)
        if options.osc_in:
            host, number = options.osc_in
            self._control = OscControl(labels, host, number, on_tap=every.restart if every else None)
            self._stack.enter_context(self._control)
            if host != LOOPBACK:
                where = f"{host} port {self._control.port}"
                say(f"OSC input on {where}: everybody in this network can set sensitivity, gate and mute")

    def _send(self, sink: Sink, delay: float) -> None:
        self._add(Outlet(sink, delay=delay, on_problem=say))

    def _add(self, outlet: Outlet) -> None:
        self._outlets.append(outlet)
        self._stack.callback(_report, outlet)
        self._stack.enter_context(outlet)


def _to_stdout(sink: Sink, *, name: str | None = None, delay: float = 0.0) -> Outlet:
    def tell(line: str) -> None:
        if not _unread(outlet):
            say(line)

    outlet = Outlet(sink, name=name, queue=_STDOUT_QUEUE, delay=delay, on_problem=tell)
    return outlet


def _report(outlet: Outlet) -> None:
    line = outlet.report()
    if line and not _unread(outlet):
        say(line)


def _unread(outlet: Outlet) -> bool:
    """Whether the reader of a pipe went away, which is not a problem but the end: see `Outputs.check`."""
    return isinstance(outlet.problem, BrokenPipeError)


def _check_labels(name: str, amounts: object, known: Sequence[str]) -> None:
    if isinstance(amounts, Mapping) and (unknown := [label for label in amounts if label not in known]):
        raise SpecError(f"{_option(name)} names {', '.join(unknown)}; the model knows {', '.join(known)}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _address(text: str) -> tuple[str, int]:
    """Read PORT, HOST:PORT or [ADDRESS]:PORT."""
    host, _, number = text.rpartition(":")
    try:
        return host.strip("[]") or LOOPBACK, port(number)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a port nor like 192.168.1.20:9000") from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not like kick=/some/address")
    return name.strip().lower(), value.strip()


def _per_drum(kind: Callable[[str], float]) -> Callable[[str], float | dict[str, float]]:
    """Return a reader of one number, or of numbers for some drums."""

    def read(text: str) -> float | dict[str, float]:
        try:
            return {name: kind(value) for name, value in map(_pair, text.split(","))} if "=" in text else kind(text)
        except (ValueError, argparse.ArgumentTypeError):
            number = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r} is neither a {number} nor like kick=4,snare=2") from None

    return read


def _notes(text: str) -> dict[str, int]:
    try:
        return {name: int(value) for name, value in map(_pair, text.split(","))}
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not like kick=36,snare=38") from None


def _colours(text: str) -> dict[str, Colour]:
    colours = {}
    try:
        for name, value in map(_pair, text.split(",")):
            red, green, blue = bytes.fromhex(value)
            colours[name] = (red, green, blue)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not like kick=ff2000 (red, green, blue)") from None
    return colours
