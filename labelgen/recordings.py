"""The recordings that labels are made of, read a piece at a time: mono, or in stretches of two channels that overlap.

Contents
--------
RATE, STRETCH, MARGIN, SHORTEST, LAST, LARGEST, Song, find_songs, finite, full_scale, gain_of, Recording, stretches,
spans
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from labelgen.chunks import SILENT
from labelgen.files import MUSIC, cause, find_files, unreadable

F32 = npt.NDArray[np.float32]

RATE = 44100
"""Hertz at which recordings are analysed and their chunks are written; others are resampled."""
STRETCH = 300.0
"""Seconds that are separated and labelled at once."""
MARGIN = 4.0
"""Seconds that a stretch sees of its neighbours."""
SHORTEST = 1.0
"""Seconds of audio below which there is nothing to learn from."""
LAST = 0.02
"""Seconds before a chunk's end in which no hit is labelled: it could not be heard."""
LARGEST = 4 << 30
"""Bytes; more is no song."""
CHANNELS = 32  # more is not a recording of music
_BLOCK = 1 << 19  # frames decoded at once


@dataclass(frozen=True)
class Song:
    """One recording."""

    path: Path
    key: str
    source: str


def find_songs(inputs: Sequence[Path]) -> Iterator[tuple[str, Song]]:
    """Yield the recordings of `inputs` (files or folders) as units."""
    sources = [(Path(os.path.abspath(root)), root.resolve().name) for root in inputs]  # noqa: PTH100 (links stay links)
    for key, path in find_files(inputs, MUSIC):
        yield key, Song(path, key, next(name for root, name in sources if path.is_relative_to(root)))


def finite(samples: F32) -> F32:
    """Return samples with silence where they are no numbers: files of floats may hold anything."""
    return np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)


def full_scale(samples: F32) -> F32:
    """Return samples at one level, whatever they came at: the floor of log-mel features is an absolute one."""
    peak = np.abs(samples).max(initial=0)
    return samples / peak if peak > 0 else samples


def gain_of(path: Path) -> float:
    """Return the factor that keeps the samples of a recording within full scale; 1 for those that are.

    Raises
    ------
    ValueError
        If nothing can be heard of its channels together.
    """
    peak = heard = 0.0
    with sf.SoundFile(os.fsencode(path)) as file:
        for block in map(finite, file.blocks(_BLOCK, dtype="float32", always_2d=True)):
            peak = max(peak, float(np.abs(block).max()))
            heard = max(heard, float(np.abs(block.mean(axis=1)).max()))
            if heard > SILENT and file.subtype not in ("FLOAT", "DOUBLE"):
                return 1.0
    gain = 1 / max(1.0, peak)
    if gain * heard < SILENT:
        raise ValueError("silent, or its channels cancel")
    return gain


class Recording:
    """An audio file as mono samples at `RATE`, read in order or from anywhere, never whole.

    Parameters
    ----------
    path : Path
    part : bool
        Whether it is a track of several, which may be silent and keeps its level, whatever that is.

    Attributes
    ----------
    seconds : float

    Raises
    ------
    ValueError
        If it is no audio, has none, or more than `CHANNELS` channels; or if it is silent and no part.
    """

    def __init__(self, path: Path, part: bool = False) -> None:
        try:
            with sf.SoundFile(os.fsencode(path)) as file:
                self.rate, self.channels, frames = file.samplerate, file.channels, file.frames
        except (sf.LibsndfileError, OSError) as error:
            raise ValueError(unreadable(path, error)) from None
        if frames <= 0:
            raise ValueError("the recording holds no samples")
        if self.channels > CHANNELS:
            raise ValueError(f"{self.channels} channels: not a recording of music")
        self.path, self.seconds = path, frames / self.rate
        try:
            self._gain = 1.0 if part else gain_of(path)
        except sf.LibsndfileError as error:
            raise ValueError(f"damaged audio ({cause(error)})") from None

    def blocks(self, start: float = 0.0, stop: float | None = None) -> Iterator[F32]:
        """Yield the samples between two moments in seconds, block by block; channels averaged."""
        first = round(start * self.rate)
        left = round(min(stop if stop is not None else self.seconds, self.seconds) * self.rate) - first
        resampler = soxr.ResampleStream(self.rate, RATE, 1, dtype="float32") if self.rate != RATE else None
        try:
            with sf.SoundFile(os.fsencode(self.path)) as file:
                file.seek(first)
                while left > 0:
                    read = file.read(min(left, _BLOCK), dtype="float32", always_2d=True)
                    block = self._gain * finite(read).mean(axis=1)
                    left = left - len(block) if len(block) else 0
                    if resampler:
                        block = resampler.resample_chunk(block, last=left <= 0)
                    if len(block):
                        yield block
        except sf.LibsndfileError as error:
            raise ValueError(f"damaged audio ({cause(error)})") from None

    def read(self, start: float, stop: float) -> F32:
        """Return the samples between two moments in seconds."""
        return np.concatenate([np.empty(0, np.float32), *self.blocks(start, stop)])


def stretches(path: Path, longest: float) -> Iterator[tuple[float, int, F32]]:
    """Yield a recording in stretches that overlap by `MARGIN` on either side.

    Yields
    ------
    float, int, float32 [n, 2]
        Where the stretch starts, in seconds; samples of margin in front of that; its audio at `RATE`.

    Raises
    ------
    ValueError
        If it is no audio, has none, is silent, or is longer than `longest` seconds.
    """
    try:
        with sf.SoundFile(os.fsencode(path)) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if not file.frames:
                raise ValueError("the recording holds no samples")
            if file.channels > CHANNELS:
                raise ValueError(f"{file.channels} channels: not a recording of music")
            if seconds > longest:
                raise ValueError(f"{seconds / 60:.0f} minutes long; at most {longest / 60:g} are accepted (--longest)")
            gain = gain_of(path)
            start = 0.0
            while start < seconds:
                first = max(0.0, start - MARGIN)
                file.seek(round(first * rate))
                audio = file.read(
                    round((start + STRETCH + MARGIN) * rate) - round(first * rate), dtype="float32", always_2d=True
                )
                if not len(audio):
                    return
                audio = gain * finite(audio)
                # a model of two channels: one is doubled, more than two are averaged
                if audio.shape[1] != 2:
                    audio = np.repeat(audio.mean(axis=1, keepdims=True), 2, axis=1)
                if rate != RATE:
                    audio = soxr.resample(audio, rate, RATE)
                yield start, round((start - first) * RATE), np.ascontiguousarray(audio, np.float32)
                start += STRETCH
    except (sf.LibsndfileError, OSError) as error:
        raise ValueError(unreadable(path, error)) from None


def spans(count: int, margin: int, seconds: float) -> Iterator[tuple[int, int]]:
    """Yield where the chunks of a stretch begin and end, in samples.

    Parameters
    ----------
    count, margin : int
        Samples of the stretch with its margins, and of the margin in front, as `stretches` yields them.
    seconds : float
        Longest chunk.
    """
    end = min(count, margin + round(STRETCH * RATE))
    length = round(seconds * RATE)
    for first in range(margin, end, length):
        last = min(first + length, end)
        if last - first < SHORTEST * RATE:
            return
        yield first, last
