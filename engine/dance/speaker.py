"""A sound through an output of PortAudio, with the time at which each period of it was handed over.

Contents
--------
Speaker
"""

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import portaudio
from .errors import SourceError, os_reason

_STALL_SECONDS = 5.0  # an output that asks for nothing for this long is dead (PulseAudio wakes up in 1.9 s)


class Speaker:
    """Plays one sound, beginning at once; silence follows it until `close`.

    Parameters
    ----------
    sound : float32 [n]
        Mono; goes to both channels where there are two.
    sample_rate : int
        In hertz.
    device : int or str, optional
        PortAudio's index, or a name or part of one, in any case; default: the system's default output.
    period : int
        Samples that the device asks for at once.

    Attributes
    ----------
    name : str
        Of the device in use.
    periods : list of (int, float)
        First sample of each period of the sound, and the time (`time.perf_counter`) at which it was asked for.
    underflows : int
        How often the device ran dry, as PortAudio says.

    Raises
    ------
    SourceError
        If there is no such device, it refuses, or PyAudio or PortAudio is missing.
    """

    def __init__(
        self,
        sound: NDArray[np.float32],
        sample_rate: int,
        device: int | str | None = None,
        period: int = 256,
    ) -> None:
        self.periods: list[tuple[int, float]] = []
        self.underflows = 0
        self._length = len(sound)
        self._position = 0
        self._closed = False
        self._asked = perf_counter()
        self._audio = portaudio.start()
        try:
            chosen = portaudio.choose(portaudio.devices(self._audio, "output"), device, "output")
            self.name = chosen.name
            channels = min(2, chosen.channels)
            self._data = np.repeat(sound, channels).tobytes()
            self._frame_bytes = 4 * channels
            self._stream = self._open(chosen.index, channels, sample_rate, period)
        except BaseException:
            with portaudio.quiet():
                self._audio.terminate()
            raise

    @property
    def ended(self) -> bool:
        """Whether all of the sound was handed over.

        Raises
        ------
        SourceError
            If the device does not take it.
        """
        if self._position < self._length and perf_counter() - self._asked > _STALL_SECONDS:
            raise SourceError(f'"{self.name}" takes no sound: check that it is free and switched on, or name another')
        return self._position >= self._length

    def close(self) -> None:
        """Close the device; any number of times."""
        if self._closed:
            return
        self._closed = True
        with portaudio.quiet():
            self._stream.close()
            self._audio.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, index: int, channels: int, rate: int, period: int) -> Any:
        import pyaudio

        self._underflow = pyaudio.paOutputUnderflow
        self._continue = pyaudio.paContinue
        try:
            with portaudio.quiet():
                return self._audio.open(
                    rate=rate,
                    channels=channels,
                    format=pyaudio.paFloat32,
                    output=True,
                    output_device_index=index,
                    frames_per_buffer=period,
                    stream_callback=self._on_need,
                )
        except (OSError, ValueError) as error:
            raise SourceError(
                f'"{self.name}" does not play at {rate} Hz (PortAudio: {os_reason(error)}); '
                "name another output or another rate"
            ) from None

    def _on_need(self, _: None, frames: int, times: Mapping[str, float], status: int) -> tuple[bytes, int]:
        """Hand a period to PortAudio's thread: nothing here may wait."""
        self._asked = perf_counter()
        start = self._position
        if start < self._length:
            self.periods.append((start, self._asked))
            if status & self._underflow:
                self.underflows += 1
        self._position += frames
        part = self._data[start * self._frame_bytes : self._position * self._frame_bytes]
        return part.ljust(frames * self._frame_bytes, b"\0"), self._continue
