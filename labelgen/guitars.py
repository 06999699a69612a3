"""What a soundfont's guitars lack: the noise of the pick on the strings, squeaks of the fretting hand, an amplifier.

Both are what drum detectors stumble over. Audio is mono float32; every choice comes from the generator that is
passed in.

Contents
--------
play, strokes, pick_noise, amplify
"""

from collections.abc import Sequence

import numpy as np
import pretty_midi
from pedalboard import Distortion, HighpassFilter, LowpassFilter, PeakFilter, Pedalboard

from labelgen.by_rule import Audio, banded, peak_1
from labelgen.synth import SoundFont

PICKED = frozenset((*range(24, 32), 34, 36, 37, 104, 105, 106, 107))  # guitars, picked and slapped basses, banjos ...
DRIVEN = frozenset((29, 30))
MUTED = 28
STROKE = 0.05  # seconds: notes closer than this to the one before belong to the same stroke
SHORT = 0.1  # seconds: shorter notes are muted, and hardly more than their noise


def play(
    font: SoundFont,
    parts: Sequence[pretty_midi.Instrument],
    start: float,
    seconds: float,
    rng: np.random.Generator,
) -> Audio:
    """Render `parts` as `SoundFont.render` does, picked ones with the noise of their picks, driven ones through an amp.

    Muted guitars share the amplifier of a driven one, as one guitarist plays both.
    """
    driven = {p for p in (*DRIVEN, MUTED) if any(part.program in DRIVEN for part in parts)}
    total = np.zeros(round(seconds * font.sample_rate), np.float32)
    for amplified in (False, True):
        group = [part for part in parts if (part.program in driven) == amplified]
        if not group:
            continue
        sound = np.zeros_like(total)
        dry = font.render(group, start, seconds)[: len(sound)]
        sound[: len(dry)] = dry
        for part in group:
            if part.program in PICKED:
                sound += pick_noise(strokes(part, start, seconds), seconds, font.sample_rate, peak_of(dry), rng)
        total += amplify(sound, font.sample_rate, rng) if amplified and rng.random() < 0.8 else sound
    return total


def peak_of(audio: Audio) -> float:
    """Return the largest amplitude."""
    return float(np.abs(audio).max(initial=0.0))


def strokes(part: pretty_midi.Instrument, start: float, seconds: float) -> list[list[pretty_midi.Note]]:
    """Return the notes that begin in a stretch of time, moved to its beginning, those of one stroke together."""
    result: list[list[pretty_midi.Note]] = []
    for note in sorted(part.notes, key=lambda note: note.start):
        if not start <= note.start < start + seconds:
            continue
        note = pretty_midi.Note(note.velocity, note.pitch, note.start - start, note.end - start)
        if result and note.start - result[-1][-1].start < STROKE:
            result[-1].append(note)
        else:
            result.append([note])
    return result


def pick_noise(
    played: Sequence[Sequence[pretty_midi.Note]],
    seconds: float,
    sample_rate: int,
    peak: float,
    rng: np.random.Generator,
) -> Audio:
    """Return the noise of a pick that plays these strokes, and of the hand that changes frets.

    Parameters
    ----------
    played : sequence of strokes
        As from `strokes`.
    seconds : float
        Length of the result.
    sample_rate : int
    peak : float
        Amplitude of the guitar; the pick is 8 to 34 dB below, muted strokes up to 8 dB louder than others.
    rng : np.random.Generator
    """
    audio = np.zeros(round(seconds * sample_rate), np.float32)
    level = peak * 10 ** (rng.uniform(-34, -8) / 20)
    louder = 10 ** (rng.uniform(0, 8) / 20)
    low = float(rng.uniform(800, 4000))
    high = float(rng.uniform(1.5 * low, 14000))
    length = float(rng.uniform(0.002, 0.012))
    clicks = [burst(length * rng.uniform(0.7, 1.4), low, high, sample_rate, rng) for _ in range(8)]
    squeaks = float(rng.choice([0.0, 0.0, 0.03, 0.1]))

    def put(sound: Audio, time: float, gain: float) -> None:
        begin = max(0, round(time * sample_rate))
        sound = sound[: len(audio) - begin]
        audio[begin : begin + len(sound)] += np.float32(gain) * sound

    for stroke in played:
        for note in stroke:
            muted = louder if note.end - note.start < SHORT else 1.0
            gain = level * muted * (note.velocity / 127) ** 1.5 * rng.uniform(0.6, 1.2)
            put(clicks[int(rng.integers(len(clicks)))], note.start - 0.001, gain)
        if rng.random() < squeaks:
            put(squeak(sample_rate, rng), stroke[0].start - rng.uniform(0.08, 0.2), level * rng.uniform(0.2, 0.8))
    return audio


def burst(decay: float, low: float, high: float, sample_rate: int, rng: np.random.Generator) -> Audio:
    """Return noise between `low` and `high` hertz that decays in `decay` seconds; its peak is 1."""
    time = np.arange(round(6 * decay * sample_rate)) / sample_rate
    noise = rng.normal(0, 1, len(time)) * np.exp(-time / decay)
    return peak_1(banded(noise, sample_rate, low, high))


def squeak(sample_rate: int, rng: np.random.Generator) -> Audio:
    """Return a finger's squeak on a wound string: a narrow band of noise that rises and falls, its peak 1."""
    count = round(rng.uniform(0.06, 0.18) * sample_rate)
    centre = float(rng.uniform(900, 3500))
    noise = rng.normal(0, 1, count)
    return peak_1(banded(noise, sample_rate, 0.9 * centre, 1.1 * centre) * np.hanning(count))


def amplify(audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
    """Return a guitar through a driven amplifier and its loudspeaker, as loud as it was."""
    peak = peak_of(audio)
    if peak < 1e-6:
        return audio
    board = Pedalboard(
        [
            HighpassFilter(float(rng.uniform(70, 200))),
            Distortion(float(rng.uniform(6, 36))),
            PeakFilter(float(rng.uniform(400, 2500)), float(rng.normal(0, 4)), 0.7),
            LowpassFilter(float(rng.uniform(3500, 7000))),
            LowpassFilter(float(rng.uniform(4500, 9000))),
        ]
    )
    driven = np.asarray(board(audio / np.float32(peak), sample_rate), np.float32)
    return driven * np.float32(peak / max(1e-6, peak_of(driven)))
