"""Raw samples through a pipe, which another program decodes, records or computes.

Contents
--------
RawInput, FORMATS
"""

import contextlib
import os
import select
import sys
import threading
from typing import IO

import numpy as np
from numpy.typing import NDArray

from .errors import SourceError, SpecError
from .sources import RATES, Read, Source, as_rates

FORMATS = {"f32le": ("<f4", 1.0), "s16le": ("<i2", 1 / 32768)}
"""Type of a sample, and what makes its full scale 1; the names are those of ffmpeg and PulseAudio."""

_PIPE_BYTES = 1 << 20  # asked of the system: the engine may be seconds late before the writer has to wait
_AUDIBLE, _LOUDEST = 1e-4, 1e3  # from 80 dB below to 60 dB above full scale; others are bytes of another format


class RawInput(Source):
    """Raw mono samples from standard input or another pipe, as ``ffmpeg -f f32le -ac 1 -`` writes them.

    Nothing is lost here: while nobody reads, the pipe fills and its writer waits. A writer that cannot wait, a
    recorder for instance, loses samples then, and only it could say so. For Linux and macOS.

    Parameters
    ----------
    form : str
        One of `FORMATS`.
    sample_rate : int
        In hertz; raw samples do not tell.
    stream : file object, optional
        Opened for reading bytes, with a file descriptor; closed with the source. Default: standard input.

    Attributes
    ----------
    name : str

    Raises
    ------
    SourceError
        If the stream is a terminal or closed; later, if it holds a WAV file, or, where f32le is expected, what cannot
        be samples. As s16le, any bytes are. Always where systems cannot wait for pipes, as Windows.
    SpecError
        If there is no such format or rate.
    """

    def __init__(self, form: str = "f32le", sample_rate: int = RATES[0], stream: IO[bytes] | None = None) -> None:
        if form not in FORMATS:
            raise SpecError(f"no raw format {form!r}; there are {', '.join(FORMATS)}")
        (self.sample_rate,), self.live = as_rates(sample_rate), False
        self.name = str(getattr(stream, "name", "pipe")) if stream else "standard input"
        self._form = form
        self._type, self._scale = np.dtype(FORMATS[form][0]), FORMATS[form][1]
        self._stream = stream
        if not hasattr(select, "poll"):
            raise SourceError("raw samples through a pipe can be heard on Linux and macOS only")
        if stream is None and _is_child():
            raise SourceError(
                "standard input does not reach the process of a ProcessEngine; use Engine, or open a named pipe there"
            )
        closed = stream is None and sys.stdin is None  # by whoever started us
        if not closed:
            self._input = (stream or sys.stdin.buffer).fileno()
        if closed or os.isatty(self._input):
            raise SourceError(
                f"{self.name} is {'closed' if closed else 'a terminal'}: send samples there, as in "
                f"`ffmpeg -i song.mp3 -f {form} -ac 1 -ar {sample_rate} - | dance listen --stdin {form}`"
            )
        with contextlib.suppress(ImportError, AttributeError, OSError):  # a file, or not Linux: it works without
            import fcntl

            fcntl.fcntl(self._input, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._rest = b""  # of a sample that came in two parts
        self._unchecked = sample_rate  # the first second is looked at: a mishap later on must not end a show
        self._woken, waker = os.pipe()
        self._poll = select.poll()  # not `select`, which knows the first 1024 descriptors of a program only
        for descriptor in (self._input, self._woken):
            self._poll.register(descriptor, select.POLLIN)
        self._waker = os.fdopen(waker, "wb", buffering=0)
        self._lock = threading.Lock()  # so that closing waits for the reader
        self._closed = False

    def read(self, out: NDArray[np.float32], timeout: float) -> Read:
        """Take samples; see `Source.read`."""
        with self._lock:
            if self._closed:
                return Read(0, ended=True)
            ready = [descriptor for descriptor, _ in self._poll.poll(1000 * timeout)]
            if self._woken in ready:
                return Read(0, ended=True)
            if not ready or not len(out):
                return Read(0)
            data = os.read(self._input, len(out) * self._type.itemsize - len(self._rest))
        if not data:
            return Read(0, ended=True)
        data = self._rest + data
        count = len(data) // self._type.itemsize
        self._rest = data[count * self._type.itemsize :]
        out[:count] = np.frombuffer(data, self._type, count)
        if self._scale != 1:
            out[:count] *= self._scale
        if self._unchecked > 0:
            self._check(data, out[:count])
        return Read(count)

    def close(self) -> None:
        """Close the stream, unless it is standard input; see `Source.close`."""
        with contextlib.suppress(ValueError):  # closed before
            self._waker.write(b"x")
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waker.close()
                os.close(self._woken)
                if self._stream:
                    self._stream.close()

    def _check(self, data: bytes, samples: NDArray[np.float32]) -> None:
        """Refuse what cannot be samples of this format, judged by the first second that can be heard."""
        if data.startswith(b"RIFF"):
            raise SourceError(
                f"{self.name} is a WAV file, not raw samples: tell its writer, as in ffmpeg -f {self._form}"
            )
        peak = float(np.abs(samples).max(initial=0))
        if not peak < _LOUDEST:  # also what is no number
            raise SourceError(f"{self.name} does not hold {self._form} samples: name the format that its writer uses")
        if peak > _AUDIBLE:
            self._unchecked -= len(samples)


def _is_child() -> bool:
    """Return whether this process was made by `multiprocessing`, which gives it nothing to read."""
    module = sys.modules.get("multiprocessing.process")  # whoever was made by it has loaded it
    return module is not None and module.parent_process() is not None
