"""Where samples come from: what every source offers, and the source that reads a file.

Samples are float32, mono, full scale 1, on the source's own clock; positions and losses count samples.

Contents
--------
Read, Source, RATES, SoundFile, as_rates, printable
"""

import os
import stat
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .errors import SourceError, SpecError, install, os_reason

RATES = (44100, 48000)
"""Rates in hertz that music is recorded at; a model's own list is ``detector.spec.sample_rates``."""

_PERIOD = 256  # samples that a file in real time hands out at once, like a sound card
_BLOCK = 1 << 14  # frames decoded at once
_UNTOLD = (1 << 63) - 1  # frames of a FLAC file that was written through a pipe, as libsndfile has it


@dataclass(frozen=True, slots=True)
class Read:
    """What one `Source.read` brought.

    Attributes
    ----------
    count : int
        Samples put into the buffer.
    lost_before : int
        Samples of the stream that are missing right before these.
    ended : bool
        Nothing comes after these.
    """

    count: int
    lost_before: int = 0
    ended: bool = False


class Source(Protocol):
    """A stream of samples; inherit to get the context manager, or just offer the same methods.

    Attributes
    ----------
    sample_rate : int
        In hertz, constant.
    live : bool
        True: samples come by the clock, and who is late loses them. False: they wait.
    """

    sample_rate: int
    live: bool = True

    def read(self, out: NDArray[np.float32], timeout: float) -> Read:
        """Take what is there, at most ``len(out)`` samples; wait up to `timeout` seconds for the first.

        Nothing within that time is ``Read(0)``; a closed source says that it has ended.

        Raises
        ------
        SourceError
            If the device or file fails.
        """
        ...

    def close(self) -> None:
        """Release everything and wake a waiting reader; from any thread, any number of times."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SoundFile(Source):
    """An audio file, any that libsndfile reads, averaged to mono.

    Parameters
    ----------
    path : path-like
    sample_rate : int or sequence of int, optional
        Wanted rate in hertz, or several (a model's, default `RATES`): a file at one of these is read as it
        is, any other is resampled to the first.
    realtime : bool
        Hand samples out by the clock, as a sound card would: never early, without drift.

    Attributes
    ----------
    name : str
        Fit to be printed.
    seconds : float
        Length that the file's header states; one that was written through a pipe may not, and is decoded to know it.

    Raises
    ------
    SourceError
        If the file cannot be read, is no audio or holds none.
    SpecError
        If a sample rate is not a whole number of hertz.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int | Sequence[int] | None = None,
        realtime: bool = False,
    ) -> None:
        try:
            import soundfile
        except (ImportError, OSError) as error:
            raise SourceError(f"reading files needs soundfile: {install('files')} ({error})") from None
        rates = as_rates(sample_rate)
        self.name = printable(os.fspath(path))
        _check_regular(path, self.name)
        try:
            self._file = soundfile.SoundFile(_openable(path))
        except TypeError:  # what it says of formats without a header
            raise SourceError(
                f"{self.name}: raw samples, which do not tell their rate; send them to `dance listen --stdin`"
            ) from None
        except (soundfile.LibsndfileError, OSError) as error:
            raise SourceError(f"{self.name}: not readable as audio ({_reason(error)})") from None
        self._failure = soundfile.LibsndfileError
        own, frames = self._file.samplerate, self._file.frames
        if frames == _UNTOLD:
            frames = _counted(soundfile, path)
            _never_seek(self._file)
        if not frames:
            self._file.close()
            raise SourceError(f"{self.name}: holds no samples")
        self.sample_rate = own if own in rates else rates[0]
        self.live = realtime
        self.seconds = frames / own
        self._resampler = None
        if self.sample_rate != own:
            try:
                import soxr
            except ImportError as error:
                raise SourceError(f"resampling needs soxr: {install('files')} ({error})") from None
            self._resampler = soxr.ResampleStream(own, self.sample_rate, 1, dtype="float32")
        self._decoded = np.empty((_BLOCK, self._file.channels), np.float32)
        self._pending = np.empty(0, np.float32)
        self._exhausted = False
        self._position = 0
        self._began: float | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()  # so that closing waits for the decoder

    def read(self, out: NDArray[np.float32], timeout: float) -> Read:
        """Take samples; see `Source.read`."""
        room = len(out)
        if self.live:
            room = min(room, self._due(timeout))
        with self._lock:
            if self._closed.is_set():
                return Read(0, ended=True)
            count = 0
            while count < room and (len(self._pending) or self._decode()):
                part = self._pending[: room - count]
                out[count : count + len(part)] = part
                self._pending = self._pending[len(part) :]
                count += len(part)
        self._position += count
        return Read(count, ended=count < room)

    def close(self) -> None:
        """Close the file; see `Source.close`."""
        self._closed.set()
        with self._lock:
            self._file.close()

    def _due(self, timeout: float) -> int:
        """Return how many samples the clock has made due, at least a period, or 0 after waiting in vain."""
        if self._began is None:
            self._began = monotonic()
        goal = self._began + (self._position + _PERIOD) / self.sample_rate
        wait = min(goal - monotonic(), timeout)
        if wait > 0:
            self._closed.wait(wait)
        now = monotonic()
        if now < goal:
            return 0
        return max(_PERIOD, int((now - self._began) * self.sample_rate) - self._position)

    def _decode(self) -> bool:
        """Put the next block into `_pending`; False at the end of the file."""
        while not len(self._pending) and not self._exhausted:
            try:
                block = self._file.read(out=self._decoded)
            except self._failure as error:
                at = self._position / self.sample_rate
                raise SourceError(f"{self.name}: damaged after {at:.1f} s ({_reason(error)})") from None
            self._exhausted = len(block) < _BLOCK
            if self._resampler is not None:  # which would spread what is no number over its neighbours
                np.nan_to_num(block, copy=False, posinf=0, neginf=0)
            self._pending = block.mean(axis=1)
            if self._resampler is not None:
                self._pending = self._resampler.resample_chunk(self._pending, last=self._exhausted)
        return len(self._pending) > 0


def _counted(soundfile: Any, path: str | os.PathLike[str]) -> int:
    """Return the frames of a file whose header does not tell, as far as it is whole."""
    frames = 0
    with suppress(soundfile.LibsndfileError), soundfile.SoundFile(_openable(path)) as file:
        _never_seek(file)
        block = np.empty((_BLOCK, file.channels), np.float32)
        while read := len(file.read(out=block)):
            frames += read
    return frames


def _never_seek(file: Any) -> None:
    """Keep soundfile from seeking after each read, which libsndfile refuses at an end that no header told."""
    file.seekable = lambda: False


def as_rates(sample_rate: int | Sequence[int] | None) -> Sequence[int]:
    """Return the rates that an argument names, one, several or none.

    Raises
    ------
    SpecError
        If one is not a whole number of hertz above 0.
    """
    if sample_rate is None:
        return RATES
    rates: tuple[object, ...] = tuple(sample_rate) if isinstance(sample_rate, Iterable) else (sample_rate,)
    numbers = [float(rate) for rate in rates if isinstance(rate, Real)]
    if not rates or len(numbers) < len(rates) or not all(rate > 0 and rate.is_integer() for rate in numbers):
        raise SpecError(f"a sample rate is a whole number of hertz, such as 44100, not {sample_rate!r}")
    return tuple(map(int, numbers))


def printable(name: str) -> str:
    """Return a file's name with escapes for bytes that are no text, which nothing can print or store."""
    return name.encode(errors="backslashreplace").decode()


def _check_regular(path: str | os.PathLike[str], name: str) -> None:
    """Refuse what is no file, and say what it is."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, ValueError):  # a name that no file can have, too
        pipe = "; for a pipe use `dance listen --stdin`" if name == "-" else ""
        raise SourceError(f"{name}: no such file{pipe}") from None
    except OSError as error:
        raise SourceError(f"{name}: {os_reason(error)}") from None
    if stat.S_ISDIR(mode):
        raise SourceError(f"{name}: is a folder; name the files in it")
    if not stat.S_ISREG(mode):
        raise SourceError(f"{name}: not a regular file; for a pipe use `dance listen --stdin`")


def _openable(path: str | os.PathLike[str]) -> str | bytes:
    """Return a path as libsndfile takes it: Windows wants text, and elsewhere names are bytes, text or not."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def _reason(error: Exception) -> str:
    """Return libsndfile's own words, without the file name that comes before them."""
    return str(error).rpartition(": ")[2].rstrip(".")
