"""What the benchmarks share: the demo song, a reader of recordings, how they run programs, and how they end.

Contents
--------
ROOT, SONG, RATE, Main, CannotMeasureError, mono, recordings, run, guard
"""

import functools
import inspect
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf

from dance.errors import DanceError, one_line
from dance.sources import SoundFile
from labelgen.files import RECORDINGS

Main = Callable[[Sequence[str] | None], int]

ROOT = Path(__file__).resolve().parents[1]
SONG = ROOT / "data" / "demo" / "song.ogg"
RATE = 44100


class CannotMeasureError(DanceError):
    """A program that measures is missing or failed, or there is no baseline; the message says what to do or why."""


def mono(path: Path, rate: int, least: float = 0.0) -> npt.NDArray[np.float32]:
    """Read a recording as mono at a sample rate, as the engine does.

    Raises
    ------
    SourceError
        If it cannot be read.
    ValueError
        If it is shorter than `least` seconds.
    """
    with SoundFile(path, sample_rate=rate) as source:
        if source.seconds < least:
            raise ValueError(f"{path}: shorter than {least:g} s; choose another")
        samples = np.empty(math.ceil(source.seconds * rate) + 1, np.float32)  # a resampler may round up
        return samples[: source.read(samples, timeout=0).count]


def recordings(folder: Path) -> list[Path]:
    """Return the recordings in a folder, at any depth.

    Raises
    ------
    ValueError
        If there are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in RECORDINGS)
    if not found:
        raise ValueError(f"no recordings in {folder}")
    return found


def run(*command: str, needed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the checkout, with these environment variables besides ours; return what it printed.

    Raises
    ------
    CannotMeasureError
        If it is missing or fails; the message is why, as pytest says it, or its last line, and what is `needed`.
    """
    hint = f"; needed: {needed}" if needed else ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})
    except FileNotFoundError:
        raise CannotMeasureError(f"{command[0]} is missing{hint}") from None
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        why = next((line[1:].strip() for line in lines if line.startswith("E  ")), lines[-1])
        raise CannotMeasureError(f"{Path(command[0]).name} failed ({why}){hint}")
    return done


def guard(main: Main) -> Main:
    """Let a script's `main` end in one line and exit code 2 where the user can fix it, and in 130 after Ctrl-C."""
    name = Path(inspect.getfile(main)).stem

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except (DanceError, OSError, ValueError, sf.LibsndfileError) as error:
            print(f"{name}: {one_line(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130

    return guarded
