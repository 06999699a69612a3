"""Reading MIDI files: songs as they come, the drums in them, and what no song is.

Contents
--------
read_midi, performance, check_tempo
"""

import warnings
from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path

import mido
import pretty_midi

from labelgen.files import regular_file
from labelgen.kits import Hit
from labelgen.recordings import SHORTEST

ROLAND_TD = {22: 42, 26: 46, 58: 43}
"""Rims of a Roland TD kit (Groove MIDI Dataset) as General MIDI notes."""
# What no song exceeds; the first bounds the time and memory that reading a hostile file can take.
LARGEST = 1_000_000  # bytes; songs have up to 0.2 million
MOST_NOTES = 100_000
LONGEST = 3 * 3600.0  # seconds
DENSEST = 50.0  # drum hits a second, on average


def read_midi(path: Path) -> pretty_midi.PrettyMIDI:
    """Read a MIDI file; raise ValueError with the reason if it is none, or no song's."""
    regular_file(path, LARGEST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = mido.MidiFile(path)
            notes = sum(message.type == "note_on" and message.velocity > 0 for track in raw.tracks for message in track)
            apart = raw.type == 2 and len(raw.tracks) > 1
            if notes <= MOST_NOTES and not apart:
                for track in raw.tracks:
                    _lengthen(track)
                raw.tracks[:1] = [mido.merge_tracks([*raw.tracks[:1], *map(_tempo_of, raw.tracks[1:])])]
                return pretty_midi.PrettyMIDI(mido_object=raw)
    except OSError as error:
        if error.errno:
            raise
        raise ValueError(f"not a readable MIDI file ({error or 'it ends too early'})") from None
    except Exception as error:  # the parser raises whatever the bytes provoke
        raise ValueError(f"not a readable MIDI file ({type(error).__name__}: {error})") from None
    if apart:
        raise ValueError("MIDI format 2, whose tracks have no order; export it as format 1")
    raise ValueError(f"{notes} notes; at most {MOST_NOTES} are read")


def _tempo_of(track: mido.MidiTrack) -> mido.MidiTrack:
    """Return a track with nothing but the tempo of `track`: pretty_midi looks for it in the first track alone."""
    tempo, last, tick = mido.MidiTrack(), 0, 0
    for message in track:
        tick += message.time
        if message.type == "set_tempo":
            tempo.append(message.copy(time=tick - last))
            last = tick
    return tempo


def _lengthen(track: mido.MidiTrack) -> None:
    """Give notes an end after their beginning, if only by a tick: pretty_midi would drop those without."""
    tick = 0
    sounding: dict[tuple[int, int], set[int]] = {}  # the ticks in which they began
    brief: dict[tuple[int, int, int], tuple[mido.Message, mido.Message | None]] = {}  # the end, and what follows it
    for message, following in zip_longest(track, track[1:]):
        tick += message.time
        if message.type not in ("note_on", "note_off"):
            continue
        began = sounding.setdefault((message.channel, message.note), set())
        if message.type == "note_on" and message.velocity:
            began.add(tick)
            brief.pop((message.channel, message.note, tick), None)  # struck twice at once is struck once
        elif began == {tick}:
            brief[message.channel, message.note, tick] = message, following
            began.clear()
        else:  # ends what began earlier
            began &= {tick}
    for end, following in brief.values():
        end.time += 1
        if following is not None:
            following.time -= 1  # times are those since the message before
    last = len(track) - (bool(track) and track[-1].type == "end_of_track")
    track[last:last] = [
        mido.Message("note_off", channel=channel, note=note, time=1)  # as drum machines do without
        for (channel, note), began in sounding.items()
        if began
    ]


def performance(midi: pretty_midi.PrettyMIDI, known: Collection[int | str] = ()) -> list[Hit]:
    """Return the notes of all drum tracks, by time.

    Files that hold nothing but drums and use a Roland pad's rims are read with that pad's note numbers, but for notes
    whose meaning is `known`.
    """
    drums = [i for i in midi.instruments if i.is_drum and i.notes]
    notes = [n for i in drums for n in i.notes if n.velocity > 0]
    alone = len(drums) == sum(bool(i.notes) for i in midi.instruments)
    table = ROLAND_TD if alone and any(n.pitch in (22, 26) for n in notes) else {}
    table = {rim: note for rim, note in table.items() if rim not in known}
    return sorted(Hit(n.start, table.get(n.pitch, n.pitch), n.velocity / 127) for n in notes)


def check_tempo(hits: Sequence[Hit], end: float) -> None:
    """Raise ValueError if drums at these times, in a song that ends at `end`, cannot be music."""
    if end > LONGEST:
        raise ValueError(f"it lasts {end / 3600:.1f} hours, at most {LONGEST / 3600:g} are read: is the tempo right?")
    pace = len(hits) / max(SHORTEST, hits[-1].time - hits[0].time) if hits else 0.0
    if pace > DENSEST:
        raise ValueError(f"{pace:.0f} drum hits a second: is the tempo right?")
