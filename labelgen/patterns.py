"""MIDI songs from pattern generators, for styles that drummers' recordings lack: machine music.

Each song has drums, a bass that knows the kick, chords and a lead at one tempo; sections differ, so
that drums also pause. Feed the result to ``labelgen/midi.py``.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pretty_midi

from labelgen.songs import add_song_options, write_songs

KICK, SNARE, CLAP, CLOSED, OPEN, RIDE, CRASH, TOM_LOW, TOM_HIGH, SHAKER, COWBELL, CONGA = (
    36, 38, 39, 42, 46, 51, 49, 45, 50, 70, 56, 63)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """A style of machine music.

    Attributes
    ----------
    tempo : (float, float)
        Range in beats a minute.
    steps : dict of int to str
        For each drum note sixteen digits: the chance, in ninths, of a hit on each sixteenth of a bar.
    bass : str
        ``kick`` (on the kick), ``off`` (between kicks), ``walk`` (on its own).
    swing : float
        Largest delay of every second sixteenth, as a share of a sixteenth.
    """

    tempo: tuple[float, float]
    steps: dict[int, str]
    bass: str
    swing: float = 0.0


STYLES = {
    "house": Style(
        (118, 130),
        {KICK: "9000900090009001", CLAP: "0000900000009000", CLOSED: "3131313131313131", OPEN: "0080008000800080",
         SHAKER: "4545454545454545", CONGA: "0010020001000202"},
        "off", 0.2),
    "techno": Style(
        (124, 145),
        {KICK: "9000900090009000", CLAP: "0000300000003000", CLOSED: "5272527252725272", OPEN: "0070007000700070",
         RIDE: "2020202020202020", TOM_LOW: "0001010000010100"},
        "off"),
    "trance": Style(
        (132, 142),
        {KICK: "9000900090009000", SNARE: "0000800000008001", CLOSED: "4141414141414141", OPEN: "0090009000900090"},
        "off"),
    "electro": Style(
        (105, 130),
        {KICK: "9003001290020010", SNARE: "0000900000009000", CLAP: "0000400000004000", CLOSED: "8484848484848484",
         OPEN: "0010001000100030", COWBELL: "0010020010010200"},
        "kick"),
    "trap": Style(
        (65, 80),
        {KICK: "9001002300500100", SNARE: "0000000090000000", CLAP: "0000000060000000", CLOSED: "9696969696969696",
         OPEN: "0000001000000020"},
        "kick"),
    "hiphop": Style(
        (78, 100),
        {KICK: "9001003092010000", SNARE: "0000900100009001", CLOSED: "9090929090909290", OPEN: "0000001000000030"},
        "kick", 0.5),
    "drum and bass": Style(
        (165, 178),
        {KICK: "9000001000900000", SNARE: "0000900101009002", CLOSED: "8282828282828282", RIDE: "3030303030303030"},
        "walk"),
    "break-beat": Style(
        (110, 150),
        {KICK: "9090001001900100", SNARE: "0000900304009004", CLOSED: "9090909090909090", OPEN: "0000000000300000",
         CRASH: "1000000000000000"},
        "walk", 0.3),
    "disco": Style(
        (108, 126),
        {KICK: "9000900090009000", SNARE: "0000900000009001", CLOSED: "7070707070707070", OPEN: "0080008000800080",
         CONGA: "0030020300300202"},
        "walk"),
    "synth-pop": Style(
        (95, 135),
        {KICK: "9000200390002000", SNARE: "0000900000009000", CLAP: "0000300000003000", CLOSED: "8080808080808080",
         TOM_LOW: "0000000000000111", TOM_HIGH: "0000000000011000"},
        "kick"),
    "rock": Style(
        (90, 170),
        {KICK: "9000002090300020", SNARE: "0000900000009000", CLOSED: "9090909090909090", CRASH: "1000000000000000",
         OPEN: "0000000000000020"},
        "kick", 0.1),
    "reggaeton": Style(
        (85, 100),
        {KICK: "9000900090009000", SNARE: "0009009000090090", CLOSED: "5050505050505050"},
        "kick"),
}  # fmt: skip

BASSES = (33, 34, 35, 36, 38, 39, 87)
CHORDS = (0, 4, 5, 16, 25, 27, 29, 30, 48, 50, 52, 53, 61, 62, 63, 81, 88, 89, 90, 91, 94)
LEADS = (11, 26, 30, 53, 54, 56, 65, 73, 80, 81, 82, 85, 86, 98, 105)
SCALES = ((0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 9, 10))
PROGRESSIONS = ((0, 5, 2, 6), (0, 3, 4, 3), (0, 0, 3, 4), (0, 4, 5, 3), (0, 0, 0, 0), (1, 4, 0, 0))


def compose(style: Style, seconds: float, rng: np.random.Generator) -> pretty_midi.PrettyMIDI:
    """Compose one song in `style`, about `seconds` long."""
    tempo = float(rng.uniform(*style.tempo))
    step = 60 / tempo / 4
    swing = float(rng.uniform(0, style.swing)) * step
    tight = float(rng.choice([0.0, 0.0, 0.004, 0.008]))
    bars = max(4, round(seconds / (16 * step)))
    midi = pretty_midi.PrettyMIDI(initial_tempo=tempo)
    drums = pretty_midi.Instrument(0, is_drum=True)
    bass = pretty_midi.Instrument(int(rng.choice(BASSES)))
    chords = pretty_midi.Instrument(int(rng.choice(CHORDS)))
    lead = pretty_midi.Instrument(int(rng.choice(LEADS)))
    midi.instruments += [drums, bass, chords, lead]
    loud = {note: float(rng.uniform(70, 120)) for note in style.steps}
    # one drawn pattern is repeated with small changes, as sequencers are played
    kept = {note: rng.random(16) < chances(text) for note, text in style.steps.items()}
    scale = SCALES[int(rng.integers(len(SCALES)))]
    root = int(rng.integers(28, 40))
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    stab = rng.random(16) < rng.choice([0.12, 0.25, 0.4])
    melody = rng.random(16) < 0.3
    sections = {note: rng.random(bars // 4 + 1) < 0.9 for note in style.steps}

    def add(part: pretty_midi.Instrument, pitch: int, at: float, length: float, velocity: float) -> None:
        level = int(np.clip(velocity, 1, 127))
        part.notes.append(pretty_midi.Note(level, pitch, max(0.0, at), max(0.0, at) + length))

    for bar in range(bars):
        degree = progression[bar % len(progression)]
        fill = bar % 8 == 7 and rng.random() < 0.7
        for sixteenth in range(16):
            time = (bar * 16 + sixteenth) * step + (swing if sixteenth % 2 else 0.0) + 0.5
            accent = 1.0 if sixteenth % 4 == 0 else 0.85 if sixteenth % 2 == 0 else 0.7
            for note, text in style.steps.items():
                fresh = rng.random() < chances(text)[sixteenth]
                hit = fresh if rng.random() < 0.15 else kept[note][sixteenth]
                if not hit or not sections[note][bar // 4] or (fill and sixteenth >= 12 and note != KICK):
                    continue
                at = time + rng.normal(0, tight)
                soft = 1.0 if note in (KICK, CLAP) else accent
                add(drums, note, at, 0.1, loud[note] * soft * rng.uniform(0.85, 1.1))
                if note == CLOSED and style.tempo[1] <= 80 and rng.random() < 0.12:  # trap's hat rolls
                    for k in range(1, int(rng.choice([2, 3, 4]))):
                        add(drums, note, at + k * step / 4, 0.05, loud[note] * 0.7)
            if fill and sixteenth >= 12:
                note = int(rng.choice([SNARE, SNARE, TOM_LOW, TOM_HIGH]))
                add(drums, note, time, 0.1, 80 + 10 * (sixteenth - 12))
            kick = kept[KICK][sixteenth]
            plays = {"kick": kick, "off": sixteenth % 4 == 2, "walk": sixteenth % 2 == 0}[style.bass]
            if plays and rng.random() < 0.85:
                octave = 12 * int(style.bass == "off" and rng.random() < 0.3)
                add(
                    bass,
                    root + scale[degree] + octave,
                    time,
                    step * rng.uniform(0.8, 3),
                    rng.uniform(80, 115),
                )
            if stab[sixteenth] or sixteenth == 0:
                for third in (0, 2, 4):
                    place = degree + third
                    pitch = root + 24 + scale[place % 7] + 12 * (place // 7)
                    add(chords, pitch, time, step * (1.5 if stab[sixteenth] else 12), rng.uniform(55, 95))
            if melody[sixteenth] and bar % 8 >= 4:
                pitch = root + 36 + scale[int(rng.integers(7))]
                add(lead, pitch, time, step * rng.uniform(1, 4), rng.uniform(60, 110))
        if bar % 8 == 0 and rng.random() < 0.5:
            add(drums, CRASH, bar * 16 * step + 0.5, 0.1, rng.uniform(80, 115))
    return midi


def chances(text: str) -> np.ndarray:
    """Return sixteen probabilities from sixteen digits."""
    return np.array([int(c) for c in text]) / 9


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python labelgen/patterns.py --songs 200 --out data/midi/patterns\n"
        "styles: " + ", ".join(STYLES),
    )
    add_song_options(result, Path("data/midi/patterns"), 60.0)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return write_songs(parser().parse_args(argv), STYLES, compose)


if __name__ == "__main__":
    sys.exit(main())
