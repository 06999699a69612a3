"""What the benchmarks share: the demo song, a reader of recordings, and how they end.

Contents
--------
ROOT, SONG, RATE, CannotCountError, mono, recordings, guard
"""

import functools
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf

from dance.errors import DanceError, line
from dance.sources import SoundFile
from labelgen.files import RECORDINGS

Main = Callable[[Sequence[str] | None], int]

ROOT = Path(__file__).resolve().parents[1]
SONG = ROOT / "data" / "demo" / "song.ogg"
RATE = 44100


class CannotCountError(DanceError):
    """A tool that counts is missing, failed, or there is no baseline; the message says what to do."""


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


def guard(main: Main) -> Main:
    """Let a script's `main` end in one line and exit code 2 where the user can mend it, and in 130 after Ctrl-C."""
    name = Path(inspect.getfile(main)).stem

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except (DanceError, OSError, ValueError, sf.LibsndfileError) as error:
            print(f"{name}: {line(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130

    return guarded
