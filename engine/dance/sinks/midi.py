"""Hits as MIDI notes with velocity, to a new virtual port or to an existing one.

Contents
--------
Midi, DRUM_CHANNEL, NOTES, NOTE_SECONDS, as_midi_velocity
"""

from collections.abc import Mapping
from contextlib import ExitStack
from time import monotonic
from typing import Any

from ..errors import AbsentError, SinkError, install
from ..events import Event

NOTES = {"kick": 36, "snare": 38, "hihat": 42, "tom": 45, "cymbal": 49}
"""General MIDI: bass drum 1, acoustic snare, closed hi-hat, low tom, crash cymbal 1."""

DRUM_CHANNEL = 10
NOTE_SECONDS = 0.1


class Midi:
    """Plays a note at each hit; use it in an `Outlet`, which ends the notes.

    Parameters
    ----------
    port : str, optional
        Part of the name of an output. By default a virtual port `name` is made, to which other programs connect
        (Linux and macOS; Windows has none: install loopMIDI and name its port).
    name : str
    channel : int
        1..16; 10 is the drums' in General MIDI.
    notes : mapping from label to int or None, optional
        Notes that differ from `NOTES`; the others stay. None silences a drum, as a label without any note is silent.
    hold : float
        Seconds until the note ends. Another hit before that ends it first.
    output : mido port, optional
        An open port of mido to play on instead.

    Raises
    ------
    AbsentError
        If there is no such port now.
    SinkError
        If mido, python-rtmidi or the system's MIDI is missing, or there is no such channel or note.
    """

    def __init__(
        self,
        port: str | None = None,
        *,
        name: str = "dance",
        channel: int = DRUM_CHANNEL,
        notes: Mapping[str, int | None] | None = None,
        hold: float = NOTE_SECONDS,
        output: Any = None,
    ) -> None:
        try:
            import mido
        except ImportError as error:
            raise SinkError(f"MIDI needs mido: {install('midi')} ({error})") from None
        self._notes: dict[str, int | None] = {**NOTES, **(notes or {})}
        if not 1 <= channel <= 16 or not all(note is None or 0 <= note <= 127 for note in self._notes.values()):
            raise SinkError("MIDI has channels 1 to 16 and notes 0 to 127")
        self._message, self._channel, self._hold = mido.Message, channel - 1, hold
        self._output = output or _open(mido, port, name)
        self._sounding: dict[int, float] = {}  # note, and when to end it

    def __call__(self, event: Event) -> None:
        """Begin a note."""
        note = self._notes.get(event.label)
        if note is None:
            return
        if note in self._sounding:
            self._end(note)
        self._send("note_on", note, as_midi_velocity(event.velocity))
        self._sounding[note] = monotonic() + self._hold

    def pulse(self) -> float | None:
        """End the notes that are due; see `Outlet`."""
        now = monotonic()
        for note in [note for note, due in self._sounding.items() if due <= now]:
            self._end(note)
        return max(min(self._sounding.values()) - now, 0.0) if self._sounding else None

    def close(self) -> None:
        """End all notes, and close the port."""
        with ExitStack() as everything:  # though some of it fails
            everything.callback(self._output.close)
            for note in reversed(self._sounding):
                everything.callback(self._end, note)

    def __str__(self) -> str:
        return f"MIDI to {self._output.name}"

    def _end(self, note: int) -> None:
        self._send("note_off", note, 0)
        del self._sounding[note]

    def _send(self, kind: str, note: int, velocity: int) -> None:
        if self._output.closed:  # as mido's network ports do by themselves when the other side goes
            raise SinkError("the port is closed")
        self._output.send(self._message(kind, channel=self._channel, note=note, velocity=velocity))


def as_midi_velocity(velocity: float) -> int:
    """Return a velocity 0..1 as MIDI has it, 1..127: 0 would end a note."""
    return min(max(round(127 * velocity), 1), 127)


def _open(mido: Any, port: str | None, name: str) -> Any:
    try:
        if port is None:
            return mido.open_output(name, virtual=True, client_name=name)
        names = mido.get_output_names()
        for each in names:
            if port.lower() in each.lower():
                return mido.open_output(each)
    except ImportError as error:
        raise SinkError(f"MIDI ports need python-rtmidi: {install('midi')} ({error})") from None
    except (OSError, NotImplementedError) as error:
        raise SinkError(
            f"no MIDI here ({error}): on Linux load snd-seq (modprobe snd-seq), on Windows name a port"
        ) from None
    raise AbsentError(f"no MIDI output has {port!r} in its name; available: {', '.join(names) or 'none'}")
