"""Standard MIDI files, type 1: a track with the tempo, a track with the drums on channel 10.

Contents
--------
write, TICKS_PER_BEAT, BEATS_PER_MINUTE
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import SpecError
from ..files import replacing
from ..sinks.midi import DRUM_CHANNEL, NOTE_SECONDS, NOTES, as_midi_velocity
from .heard import Heard

BEATS_PER_MINUTE = 120
TICKS_PER_BEAT = 1920
"""3840 ticks a second: a time is off by 0.13 ms at most. More would exceed the precision of the times, and readers
take a large tick for damage (pretty_midi above ten million: here after 43 minutes)."""


def write(paths: Sequence[Path], heard: Heard) -> None:
    """Write the hits as General MIDI notes, velocity 1..127.

    Raises
    ------
    SpecError
        If a label has no note.
    """
    import mido

    unknown = ", ".join({event.label for event in heard.events} - NOTES.keys())
    if unknown:
        raise SpecError(f"MIDI has no note for {unknown}; leave it out with --labels")
    ticks = TICKS_PER_BEAT * BEATS_PER_MINUTE / 60
    hold = round(NOTE_SECONDS * ticks)
    notes: list[tuple[int, int, int]] = []  # tick, note, velocity; 0 ends
    following: dict[int, int] = {}  # when a note comes next: one that still sounds ends there
    for event in reversed(heard.by_time):
        tick, note = round(event.time * ticks), NOTES[event.label]
        end = min(tick + hold, following.get(note, tick + hold))
        following[note] = tick
        notes += [(tick, note, as_midi_velocity(event.velocity)), (end, note, 0)]
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT, charset="utf-8")
    end = max(round(heard.seconds * ticks), *(tick for tick, _, _ in notes), 0)
    tempo = [
        mido.MetaMessage("track_name", name=heard.title),
        mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(BEATS_PER_MINUTE)),
        mido.MetaMessage("time_signature", numerator=4, denominator=4),
    ]
    file.tracks.append(mido.MidiTrack([*tempo, mido.MetaMessage("end_of_track", time=end)]))
    track, now = mido.MidiTrack([mido.MetaMessage("track_name", name="drums")]), 0
    for tick, note, velocity in sorted(notes, key=lambda each: (each[0], each[2] > 0)):
        kind = "note_on" if velocity else "note_off"
        track.append(mido.Message(kind, channel=DRUM_CHANNEL - 1, note=note, velocity=velocity, time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=end - now))
    file.tracks.append(track)
    (path,) = paths
    with replacing(path) as temporary:
        file.save(temporary)
