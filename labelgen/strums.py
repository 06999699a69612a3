"""Chunks of strummed guitar, put together from recordings of single strums, one file each.

Soundfonts hold single notes; the scratch of a pick over all strings, which drum detectors take for a hi-hat, is
in none of them. Strums are grouped by what their names say: the words up and down are the direction, numbers the
take, and the rest is the chord. Patterns and feel are those of `labelgen.solos`; a muted stroke is a strum that dies
at once. Sometimes two guitars play together, and every guitar has another microphone.
"""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pedalboard import HighShelfFilter, LowShelfFilter, Pedalboard
from scipy.signal import butter, sosfilt

from dance.commands.arguments import natural, positive
from labelgen.chunks import Chunk, ChunkWriter, chunk_name
from labelgen.files import RECORDINGS, find_files, missing
from labelgen.kits import read_one_shot
from labelgen.recordings import RATE
from labelgen.solos import STRUMS, Frame, Player, Stroke, draw_frame
from labelgen.work import add_work_options, chunk_seconds, run_command, sample_rate

Audio = npt.NDArray[np.float32]
Chord = Mapping[str, tuple[Path, ...]]
"""Recordings of one chord for each sign of `labelgen.solos.Stroke`."""

TRANSPOSED = 4  # semitones at most, either way
DAMPED = 0.012  # seconds in which the strings' last chord fades under the next stroke
MUTED = (0.008, 0.04)  # seconds in which a muted stroke falls by 1 / e
STEEL = 25  # General MIDI


@dataclass(frozen=True)
class Piece:
    """One chunk to make."""

    number: int
    seed: int
    seconds: float
    sample_rate: int
    chords: tuple[Chord, ...]
    source: str
    licence: str
    out: Path


def chords_of(paths: Sequence[Path]) -> list[Chord]:
    """Return the chords in a folder of strums, sorted by name; a stroke of no known direction serves for both."""
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        words = [word for word in re.split(r"[^a-z]+", re.sub(r"[0-9_.-]+", " ", path.stem.lower())) if word]
        ways = {"D": "down" in words, "U": "up" in words}
        for sign in (sign for sign, told in ways.items() if told or not any(ways.values())):
            found[" ".join(word for word in words if word not in ("up", "down"))][sign].append(path)
    return [
        {sign: tuple(sorted(takes.get(sign) or takes["U" if sign == "D" else "D"])) for sign in "DU"}
        for _, takes in sorted(found.items())
    ]


@lru_cache(maxsize=64)  # of one guitar: the next has another tuning
def _recording(path: Path, sample_rate: int) -> Audio:
    return read_one_shot(path, sample_rate)


def play(
    strokes: Sequence[Stroke], chords: Sequence[Chord], seconds: float, rate: int, rng: np.random.Generator
) -> Audio:
    """Play strokes on one guitar, each bar with the next chord; every stroke damps the one before.

    Parameters
    ----------
    strokes : sequence of Stroke
    chords : sequence of Chord
        From the beginning again when they are over.
    seconds : float
    rate : int
        Samples a second.
    rng : np.random.Generator

    Returns
    -------
    float32 [samples]
    """
    audio = np.zeros(round(seconds * rate), np.float32)
    tuning = 2 ** (rng.uniform(-TRANSPOSED, TRANSPOSED) / 12)
    darkness, wrist = rng.uniform(0.2, 1.0), rng.uniform(*MUTED)
    for stroke in strokes:
        start = max(0, round(stroke.time * rate))
        if start >= len(audio):
            break
        chord = chords[stroke.bar % len(chords)]
        takes = chord["U" if stroke.sign == "U" or (stroke.sign == "x" and rng.random() < 0.5) else "D"]
        sound = _recording(takes[int(rng.integers(len(takes)))], round(rate / tuning))
        force = min(1.0, stroke.velocity / 110)
        if stroke.sign == "x":
            sound = sound[: round(0.4 * rate)]
            sound = sound * np.exp(-np.arange(len(sound)) / (wrist * rng.uniform(0.7, 1.4) * rate)).astype(np.float32)
        cutoff = min(0.45 * rate, 18000 * force**darkness)  # a soft stroke is darker
        sound = sosfilt(butter(1, cutoff, fs=rate, output="sos"), sound).astype(np.float32)
        fade = round(DAMPED * rate)
        audio[start : start + fade] *= np.linspace(1, 0, fade, dtype=np.float32)[: len(audio) - start]
        audio[start + fade :] = 0
        sound = sound[: len(audio) - start]
        audio[start : start + len(sound)] += np.float32(force**2) * sound
    return audio


def heard_close(audio: Audio, rate: int, rng: np.random.Generator) -> Audio:
    """Return it as some microphone before some guitar hears it: boomy or thin, dull or sharp."""
    lows = LowShelfFilter(rng.uniform(150, 350), rng.uniform(-6, 16))
    highs = HighShelfFilter(rng.uniform(2500, 7000), rng.uniform(-10, 8))
    return Pedalboard([lows, highs])(audio, rate)


def make(piece: Piece) -> list[Chunk]:
    """Write one chunk."""
    rng = np.random.default_rng([piece.seed, piece.number])
    frame: Frame = draw_frame(piece.seconds, rng)
    chords = [piece.chords[int(k)] for k in rng.integers(0, len(piece.chords), len(frame.chords))]
    audio = np.zeros(round(piece.seconds * piece.sample_rate), np.float32)
    for _ in range(1 + int(rng.random() < 0.25)):
        strokes = Player(STEEL, frame, rng).strokes(STRUMS)
        audio += play(strokes, chords, piece.seconds, piece.sample_rate, rng)
    key = f"strums-{piece.number}"
    return ChunkWriter(piece.out, piece.sample_rate).write_drumless(
        chunk_name(key, "00"),
        heard_close(audio, piece.sample_rate, rng),
        unit=key,
        source=piece.source,
        song=key,
        licence=piece.licence,
        method="strums",
        seed=piece.seed,
    )


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python labelgen/strums.py GuitarStrums/ --licence CC-BY-3.0 --out data/chunks/strums",
    )
    add = result.add_argument
    add("input", type=Path, nargs="+", metavar="INPUT", help="single strums, or folders of them at any depth")
    add("--count", type=positive(int), default=120, help="chunks (default: %(default)s)")
    add("--licence", default="", help="terms of the recordings, kept with every chunk")
    add("--seconds", type=chunk_seconds, default=30.0, help="length of each chunk (default: %(default)s)")
    add("--sample-rate", type=sample_rate, default=RATE, help="hertz (default: %(default)s)")
    add("--seed", type=natural, default=0, help="decides every random choice (default: %(default)s)")
    add("--out", type=Path, default=Path("data/chunks/strums"), help="folder of the set (default: %(default)s)")
    add_work_options(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    if wrong := missing(args.input):
        print(f"labelgen: {wrong}", file=sys.stderr)
        return 2
    chords = tuple(chords_of([path for _, path in find_files(args.input, RECORDINGS)]))
    if not chords:
        inputs = ", ".join(map(str, args.input))
        print(f"labelgen: no recordings ({' '.join(RECORDINGS)}) in {inputs}", file=sys.stderr)
        return 2
    source = ", ".join(sorted({path.absolute().name for path in args.input}))
    jobs = [
        (
            f"strums-{number}",
            Piece(number, args.seed, args.seconds, args.sample_rate, chords, source, args.licence, args.out.absolute()),
        )
        for number in range(args.count)
    ]
    return run_command(args, make, jobs, inputs=args.input)


if __name__ == "__main__":
    sys.exit(main())
