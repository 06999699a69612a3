"""MIDI songs without drums, by rule: what is plucked, strummed, slapped and struck and yet is no drum.

Strummed and palm-muted guitars, fingerpicking, slap bass, piano, organ and brass stabs, harps, mallets,
alone or as small bands, at any tempo; sections differ. Feed the result to ``labelgen/midi.py --drumless``,
which adds what soundfonts lack: the pick and the amplifier (``labelgen/guitars.py``).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pretty_midi

from labelgen.songs import add_song_options, write_songs

TEMPO = (60.0, 190.0)
SECTION = 4  # bars, after which players change what they do
LEAD_IN = 0.5  # seconds

STANDARD = (40, 45, 50, 55, 59, 64)  # a guitar's open strings
TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7), "seventh": (0, 4, 7, 10), "minor seventh": (0, 3, 7, 10)}
PROGRESSIONS = (  # semitones over the key, kind of chord
    ((0, "major"), (7, "major"), (9, "minor"), (5, "major")),
    ((0, "major"), (5, "major"), (0, "major"), (7, "seventh")),
    ((0, "minor"), (8, "major"), (3, "major"), (10, "major")),
    ((0, "minor seventh"), (5, "seventh")),
    ((0, "seventh"), (5, "seventh"), (0, "seventh"), (7, "seventh")),
    ((2, "minor seventh"), (7, "seventh"), (0, "major"), (0, "major")),
    ((0, "major"), (10, "major"), (5, "major"), (0, "major")),
    ((0, "minor"),),
)
# a sign for each step, eight eighths or sixteen sixteenths: D a down-stroke, U an up-stroke, x a muted stroke
STRUMS = ("D-DU-UDU", "D-D-D-D-", "DUDUDUDU", "D-DUD-DU", "D-xU-UxU", "D-x-D-xU", "D--D--D-", "D---D-DUD-DUD-DU",
          "DxUxDxUxxUxUDxxU", "--D---D---D---D-", "DUxUDUxUDUxUDUxU", "xxDUxxDxUxDUxxxU")  # fmt: skip
MUTES = ("xxxxxxxx", "DxxxDxxx", "xxxDxxxD", "x-xxx-xxx-xxx-xx", "DxxDxxDxDxxDxxDx", "D-xxx-xxD-xxx-xx",
         "D---D---", "xxxxxxxxxxxxxxxx")  # fmt: skip
SLAPS = ("D--U--DU", "D-xUD-xU", "D--xU-xDD-xUx-DU", "DxxUDxxUDxDUxxUx", "D--D-UxD--D-U-xU")
STABS = ("D-D-D-D-", "-D-D-D-D", "D--D--D-", "D-----D---D-----", "--D--D----D--D--", "D-DD-DD-", "D---D---D---D-D-")

GUITARS = (24, 25, 25, 25, 26, 27)
PIANOS, ORGANS, BRASS = (0, 1, 2, 3, 4, 5), (16, 17, 18, 19), (61, 62, 63, 56, 57, 65, 66)
MALLETS = (8, 9, 10, 11, 12, 13, 14, 108)
PLUCKED_SYNTHS = (38, 39, 80, 81, 84, 87, 88, 96, 98, 99)
BASSES = (32, 33, 34, 34, 35)


@dataclass(frozen=True)
class Frame:
    """What the players of a song agree on.

    Attributes
    ----------
    step : float
        Seconds of a sixteenth.
    beats : int
        Of a bar, four steps each.
    bars : int
    key : int
        Pitch class.
    chords : tuple of (semitones over the key, kind)
        One for each bar, from the beginning again when they are over.
    swing : float
        Delay of every second sixteenth, seconds.
    loose : float
        Standard deviation of a player's timing, seconds.
    """

    step: float
    beats: int
    bars: int
    key: int
    chords: tuple[tuple[int, str], ...]
    swing: float
    loose: float

    def root(self, bar: int) -> int:
        """Return the pitch class of the root of a bar's chord."""
        return (self.key + self.chords[bar % len(self.chords)][0]) % 12

    def pitches(self, bar: int) -> tuple[int, ...]:
        """Return the pitch classes of a bar's chord, root first."""
        return tuple((self.root(bar) + tone) % 12 for tone in TRIADS[self.chords[bar % len(self.chords)][1]])

    def time(self, bar: int, step: int) -> float:
        """Return the seconds at which a step of a bar begins."""
        return LEAD_IN + (bar * self.beats * 4 + step) * self.step + (self.swing if step % 2 else 0.0)


@dataclass(frozen=True)
class Stroke:
    """One gesture of a player: ``D`` down, ``U`` up, ``x`` muted; `room` seconds pass until the next."""

    sign: str
    bar: int
    step: int
    time: float
    room: float
    velocity: float


class Player:
    """One instrument of a song, with its own touch; `play` adds notes.

    Parameters
    ----------
    program : int
        General MIDI.
    frame : Frame
    rng : np.random.Generator
    """

    def __init__(self, program: int, frame: Frame, rng: np.random.Generator) -> None:
        self.part = pretty_midi.Instrument(program)
        self.frame, self.rng = frame, rng
        self.loud = float(rng.uniform(60, 105))
        self.backbeat = float(rng.choice([0.0, 0.15, 0.35]))  # accent on 2 and 4

    def play(self, pitch: int, time: float, length: float, velocity: float) -> None:
        """Add a note; lengths and velocities are brought into range."""
        time = max(0.0, time)
        level = int(np.clip(velocity, 1, 127))
        self.part.notes.append(pretty_midi.Note(level, int(np.clip(pitch, 0, 127)), time, time + max(0.02, length)))

    def finished(self) -> pretty_midi.Instrument:
        """Return the part; a note ends where its pitch is played again, since MIDI knows no two of them."""
        last: dict[int, pretty_midi.Note] = {}
        for note in sorted(self.part.notes, key=lambda note: note.start):
            if note.pitch in last:
                last[note.pitch].end = min(last[note.pitch].end, note.start)
            last[note.pitch] = note
        self.part.notes = [note for note in self.part.notes if note.end > note.start]
        return self.part

    def strokes(self, patterns: Sequence[str]) -> list[Stroke]:
        """Draw a pattern for each section and return the song's strokes, each with its time and accent."""
        frame, rng = self.frame, self.rng
        usual = [str(rng.choice(patterns)) for _ in range(2)]
        result: list[Stroke] = []
        for bar in range(frame.bars):
            if bar % SECTION == 0:
                pattern = usual[int(rng.random() < 0.3)]
                dynamic = 0.0 if bar and rng.random() < 0.08 else float(rng.choice([0.7, 0.85, 1.0]))
            width = 2 if len(pattern) == 8 else 1
            for step in range(0, frame.beats * 4, width):
                sign = pattern[step // width % len(pattern)]
                if sign == "-" or dynamic == 0 or rng.random() < 0.04:
                    continue
                accent = 1.0 + (self.backbeat if step % 8 == 4 else 0.0) - (0.15 if step % 4 else 0.0)
                accent -= 0.12 if sign == "U" else 0.0
                time = frame.time(bar, step) + rng.normal(0, frame.loose)
                level = self.loud * dynamic * accent * rng.uniform(0.88, 1.1)
                result.append(Stroke(sign, bar, step, time, width * frame.step, level))
        after = [*(stroke.time for stroke in result[1:]), frame.time(frame.bars, 0)]
        return [replace(s, room=max(s.room, end - s.time)) for s, end in zip(result, after, strict=False)]


def strum(frame: Frame, rng: np.random.Generator) -> list[Player]:
    """Strummed guitar: every stroke runs over the strings in 10 to 40 ms."""
    player = Player(int(rng.choice(GUITARS)), frame, rng)
    capo, spread = int(rng.integers(0, 5)), float(rng.uniform(0.01, 0.04))
    ringing = float(rng.choice([0.4, 0.95, 0.95, 2.0]))
    for stroke in player.strokes(STRUMS):
        shape = fingering(frame.pitches(stroke.bar), frame.root(stroke.bar), capo)
        down = stroke.sign == "D" or (stroke.sign == "x" and rng.random() < 0.5)
        shape = shape if down else shape[: -1 - int(rng.integers(2, 5)) : -1]
        if stroke.sign == "D" and rng.random() < 0.25:  # bass strings alone
            shape = shape[: int(rng.integers(2, 4))]
        length = rng.uniform(0.025, 0.06) if stroke.sign == "x" else stroke.room * ringing
        total = spread * rng.uniform(0.7, 1.4) * (1.0 if down else 0.7)
        for number, pitch in enumerate(shape):
            late = total * number / max(1, len(shape) - 1)
            player.play(pitch, stroke.time + late, length, stroke.velocity * rng.uniform(0.85, 1.05))
    return [player]


def fingering(pitches: Sequence[int], root: int, capo: int) -> list[int]:
    """Return four to six notes of a guitar chord, low to high: on each string the lowest fret that belongs to it."""
    shape = []
    for string in STANDARD:
        pitch = next(p for p in range(string + capo, string + capo + 12) if p % 12 in pitches)
        if shape or pitch % 12 == root or string >= STANDARD[2]:
            shape.append(pitch)
    return shape


def power_chords(frame: Frame, rng: np.random.Generator) -> list[Player]:
    """Palm-muted chugs and open power chords of a driven guitar; the mutes are short, or a sound of their own."""
    open_, muted = Player(int(rng.choice([29, 30])), frame, rng), Player(28, frame, rng)
    damped = muted if rng.random() < 0.5 else open_
    drop, low = int(rng.integers(-4, 3)), 40
    for stroke in open_.strokes(MUTES):
        root = low + drop + (frame.root(stroke.bar) - low - drop) % 12
        chord = (root, root + 7, root + 12)
        if stroke.sign == "x":
            for pitch in chord[: int(rng.integers(1, 3))]:
                damped.play(pitch, stroke.time, min(stroke.room, rng.uniform(0.03, 0.09)), stroke.velocity * 1.1)
        else:
            for number, pitch in enumerate(chord):
                open_.play(pitch, stroke.time + number * rng.uniform(0.001, 0.006), stroke.room * 0.95, stroke.velocity)
    return [open_, muted]


def fingerpick(frame: Frame, rng: np.random.Generator) -> list[Player]:
    """Fingerpicked guitar: the thumb alternates on the bass strings, the fingers answer."""
    player = Player(int(rng.choice([24, 24, 25, 25, 26])), frame, rng)
    capo, pinch = int(rng.integers(0, 6)), float(rng.uniform(0.2, 0.9))
    order = [int(x) for x in rng.integers(0, 4, 16)]
    grid = int(rng.choice([1, 2, 2]))
    for stroke in player.strokes(("DDDDDDDD",) if grid == 2 else ("DDDDDDDDDDDDDDDD",)):
        shape = fingering(frame.pitches(stroke.bar), frame.root(stroke.bar), capo)
        ring = frame.step * rng.uniform(4, 10)
        if stroke.step % 4 == 0:
            player.play(shape[stroke.step // 4 % 2], stroke.time, ring, stroke.velocity)
            if rng.random() < pinch * 0.4:
                player.play(shape[-1], stroke.time + rng.normal(0, 0.004), ring, stroke.velocity * 0.9)
        elif rng.random() < pinch:
            player.play(shape[-1 - order[stroke.step] % min(4, len(shape))], stroke.time, ring, stroke.velocity * 0.85)
    return [player]


def slap(frame: Frame, rng: np.random.Generator) -> list[Player]:
    """Slap bass: thumbed roots, popped octaves, dead notes."""
    player = Player(int(rng.choice([36, 37])), frame, rng)
    for stroke in player.strokes(SLAPS):
        root = 28 + (frame.root(stroke.bar) - 28) % 12
        short = stroke.sign == "x"
        pitch = root + {"D": 0, "U": 12, "x": int(rng.choice([0, 7]))}[stroke.sign]
        length = rng.uniform(0.02, 0.05) if short else stroke.room * rng.uniform(0.3, 0.9)
        player.play(pitch, stroke.time, length, stroke.velocity * (0.75 if short else 1.15))
    return [player]


def bass_line(frame: Frame, rng: np.random.Generator) -> list[Player]:
    """Bass, picked or plucked: roots, fifths and steps between them."""
    player = Player(int(rng.choice(BASSES)), frame, rng)
    short = float(rng.uniform(0.3, 1.0))
    for stroke in player.strokes((*STABS, "DDDDDDDD", "D-D-D-D-", "DDDDDDDDDDDDDDDD")):
        root = 28 + (frame.root(stroke.bar) - 28) % 12
        pitch = root + int(rng.choice([0, 0, 0, 0, 7, 12, 10, 2]))
        player.play(pitch, stroke.time, stroke.room * short, stroke.velocity)
    return [player]


def stabs(programs: Sequence[int], low: int, short: tuple[float, float]) -> Callable[..., list[Player]]:
    """Return a player of chords: pianos, organs, brass; `low` is the lowest note, `short` the length in steps."""

    def comp(frame: Frame, rng: np.random.Generator) -> list[Player]:
        player = Player(int(rng.choice(programs)), frame, rng)
        length = frame.step * rng.uniform(*short)
        bass = rng.random() < 0.4 and programs is PIANOS
        for stroke in player.strokes((*STABS, "D-DU-UDU", "DDDDDDDD")):
            for number, tone in enumerate(frame.pitches(stroke.bar)):
                pitch = low + (tone - low) % 12 + (12 if number == 0 and rng.random() < 0.3 else 0)
                late = abs(rng.normal(0, 0.004))
                player.play(pitch, stroke.time + late, min(length, stroke.room), stroke.velocity)
            if bass and stroke.step % 8 == 0:
                player.play(36 + (frame.root(stroke.bar) - 36) % 12, stroke.time, 4 * frame.step, stroke.velocity)
        return [player]

    return comp


def runs(programs: Sequence[int], low: int, octaves: int) -> Callable[..., list[Player]]:
    """Return a player of broken chords and runs: harps, mallets, banjos, plucked synths."""

    def break_chords(frame: Frame, rng: np.random.Generator) -> list[Player]:
        player = Player(int(rng.choice(programs)), frame, rng)
        rising, doubled = bool(rng.random() < 0.5), float(rng.choice([0.0, 0.0, 0.3]))
        length = frame.step * rng.choice([0.5, 1.5, 4])
        patterns = ("DDDDDDDD", "DDDDDDDDDDDDDDDD", "D-DD-DDDD-DD-DDD", "D--D--D-", "D-D-D-DD")
        place = 0
        for stroke in player.strokes(patterns):
            ladder = [p for p in range(low, low + 12 * octaves) if p % 12 in frame.pitches(stroke.bar)]
            place += int(rng.choice([1, 1, 1, 2, -1])) * (1 if rising else -1)
            player.play(ladder[place % len(ladder)], stroke.time, length, stroke.velocity)
            if rng.random() < doubled:
                player.play(ladder[(place + 2) % len(ladder)], stroke.time, length, stroke.velocity)
            if rng.random() < 0.01:  # a glissando
                for number, pitch in enumerate(ladder):
                    player.play(pitch, stroke.time + 0.03 * number, length, stroke.velocity * 0.8)
        return [player]

    return break_chords


piano, organ, brass = stabs(PIANOS, 55, (0.7, 6)), stabs(ORGANS, 55, (0.5, 3)), stabs(BRASS, 55, (0.4, 2))
clavinet, pizzicato = stabs((7, 6), 52, (0.3, 1.2)), stabs((45,), 48, (0.5, 1))
mallets, harp, banjo = runs(MALLETS, 60, 3), runs((46, 15), 43, 4), runs((105, 105, 106, 107, 104), 50, 2)
synths = runs(PLUCKED_SYNTHS, 48, 2)

STYLES: dict[str, tuple[Callable[..., list[Player]], ...]] = {
    "strummed guitar": (strum,),
    "power chords": (power_chords,),
    "fingerpicking": (fingerpick,),
    "slap bass": (slap,),
    "two guitars": (strum, strum),
    "piano": (piano,),
    "clavinet": (clavinet,),
    "guitar and bass": (strum, bass_line),
    "organ": (organ,),
    "metal": (power_chords, power_chords, bass_line),
    "brass": (brass,),
    "pizzicato": (pizzicato,),
    "strumming over keys": (strum, piano),
    "mallets": (mallets,),
    "harp": (harp,),
    "synths": (synths, synths),
    "banjo": (banjo,),
    "string band": (strum, banjo, bass_line),
    "funk": (strum, slap, clavinet),
    "picked bass": (bass_line,),
    "horns and keys": (brass, organ, bass_line),
    "folk": (strum, fingerpick),
    "rock": (power_chords, strum, bass_line),
    "chamber": (pizzicato, harp, mallets),
}
"""For each style the players; strummed and muted guitars return most often, since they are mistaken most."""


def draw_frame(seconds: float, rng: np.random.Generator) -> Frame:
    """Draw tempo, key, chords and feel of a song of about `seconds`."""
    step = 60 / float(rng.uniform(*TEMPO)) / 4
    beats = int(rng.choice([4, 4, 4, 3]))
    return Frame(
        step=step,
        beats=beats,
        bars=max(2, round(seconds / (beats * 4 * step))),
        key=int(rng.integers(12)),
        chords=PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))],
        swing=float(rng.choice([0.0, 0.0, 0.2, 0.5])) * step * float(rng.random()),
        loose=float(rng.choice([0.0, 0.004, 0.008, 0.014])),
    )


def compose(
    players: Sequence[Callable[..., list[Player]]], seconds: float, rng: np.random.Generator
) -> pretty_midi.PrettyMIDI:
    """Compose one song for these players, about `seconds` long and without drums."""
    frame = draw_frame(seconds, rng)
    midi = pretty_midi.PrettyMIDI(initial_tempo=15 / frame.step)
    for play_part in players:
        midi.instruments += [player.finished() for player in play_part(frame, rng) if player.part.notes]
    return midi


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python labelgen/solos.py --songs 150 --out data/midi/solos\n"
        "  python labelgen/midi.py data/midi/solos --drumless --stems --out data/chunks/solos\n"
        "styles: " + ", ".join(STYLES),
    )
    add_song_options(result, Path("data/midi/solos"), 40.0)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return write_songs(parser().parse_args(argv), STYLES, compose)


if __name__ == "__main__":
    sys.exit(main())
