"""Sources for another process, which imports them from here; kept apart because it has to be quick.

They are told what to do through files: one that appears is a sign.

Contents
--------
Played, Duck, lingering, refuse, die
"""

import os
import threading
import time
from pathlib import Path

import numpy as np

from dance import Read, SourceError
from dance.sources import Source


class OddError(Exception):
    """An error that cannot be pickled."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(lambda: (one, two))


class Played(Source):
    """Plays the samples of a file, waits for a sign, does something.

    Parameters
    ----------
    path : path
        Of an array, float32 mono.
    sign : path, optional
        Waited for after the samples.
    then : str
        "end"; or "again" (the samples once more); or "fail", "odd", "stick" (hang for ever, deaf to `close`).
    """

    def __init__(self, path: Path, sign: Path | None = None, then: str = "end", live: bool = True) -> None:
        self.sample_rate, self.live = 44100, live
        self._samples, self._sign, self._then = np.load(path), sign, then
        self._left, self._closed = self._samples, False

    def read(self, out: np.ndarray, timeout: float) -> Read:
        if self._closed:
            return Read(0, ended=True)
        if not len(self._left):
            if self._sign and not self._sign.exists():
                time.sleep(0.001)
                return Read(0)
            self._proceed()
        part, self._left = self._left[:1000], self._left[1000:]
        out[: len(part)] = part
        return Read(len(part), ended=self._closed)

    def close(self) -> None:
        self._closed = True

    def _proceed(self) -> None:
        match self._then:
            case "end":
                self._closed = True
            case "again":
                self._left, self._then = self._samples, "end"
            case "fail":
                raise SourceError("unplugged")
            case "odd":
                raise OddError(1, 2)
            case "stick":
                while True:
                    time.sleep(1)


class Duck:
    """Offers what a source needs, and nothing else."""

    def __init__(self, path: Path) -> None:
        self._played = Played(path)
        self.sample_rate, self.live = self._played.sample_rate, True

    def read(self, out: np.ndarray, timeout: float) -> Read:
        return self._played.read(out, timeout)

    def close(self) -> None:
        self._played.close()


def lingering(path: Path) -> Source:
    """Leave a thread behind that never ends."""
    threading.Thread(target=threading.Event().wait).start()
    return Played(path)


def refuse() -> Source:
    """Fail as a device does that is not there."""
    raise SourceError('no input device "USB"')


def die() -> Source:
    """Fail as a library does that crashes."""
    os.abort()
