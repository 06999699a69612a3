"""Live input through PortAudio: a microphone, a line input or a loopback device.

PyAudio is imported only here, when it is needed. The audio callback does nothing but write to the ring, count
and wake the reader; a device that stops or stalls is noticed by the reader and told as `SourceError`.

Contents
--------
Device, list_devices, Microphone
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._ring import Ring
from .errors import SourceError
from .sources import Read, Source, wanted

_BUFFER_SECONDS = 4  # the ring's length: how long the engine may be late before samples are lost
_STALL_SECONDS = 2.0  # no callback for this long: the device is dead though PortAudio calls it active
_START_SECONDS = 5.0  # the first callback may take longer (PulseAudio waking up: 1.9 s)
_CHECK_SECONDS = 0.25  # a waiting reader looks this often whether the device is alive


@dataclass(frozen=True, slots=True)
class Device:
    """An input that PortAudio offers.

    Attributes
    ----------
    index : int
        PortAudio's number, which may change when devices come and go.
    name : str
    channels : int
        Most channels that it records.
    sample_rate : int
        Its default rate in hertz.
    default : bool
        Taken when no device is named.
    """

    index: int
    name: str
    channels: int
    sample_rate: int
    default: bool


def list_devices() -> list[Device]:
    """Return all inputs.

    Raises
    ------
    SourceError
        If PyAudio or PortAudio is missing.
    """
    audio = _open_portaudio()
    try:
        return _devices(audio)
    finally:
        with _quiet():
            audio.terminate()


class Microphone(Source):
    """A live input, averaged to mono.

    Parameters
    ----------
    device : int or str, optional
        PortAudio's index, or a name or part of one, in any case; default: the system's default input.
    sample_rate : int or sequence of int, optional
        Wanted rate in hertz, or several to choose from (a model's, default `RATES`): the device's own default
        if it is among them, else the first that the device accepts.
    channels : int, optional
        To record; default: two, or one where the device has no more.
    period : int
        Samples per callback; less is earlier and costs more.

    Attributes
    ----------
    name : str
        Of the device in use.
    channels : int
    overflows : int
        How often PortAudio said that the device itself lost input; how much, it does not say.

    Raises
    ------
    SourceError
        If there is no such device, it refuses, or PyAudio or PortAudio is missing.
    """

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int | Sequence[int] | None = None,
        channels: int | None = None,
        period: int = 256,
    ) -> None:
        self.live = True
        self.overflows = 0
        self._lock = threading.Lock()  # PortAudio must not be asked about a stream while it is being closed
        self._closed = False
        # Released by the callback when there is news, acquired by the reader: unlike `threading.Event` it
        # never makes the callback wait.
        self._news = threading.Lock()
        self._news.acquire()
        self._audio = _open_portaudio()
        try:
            chosen = _choose(_devices(self._audio), device)
            self.name = chosen.name
            self.channels = channels or min(2, chosen.channels)
            self.sample_rate, self._stream = self._open(chosen, wanted(sample_rate), period)
        except BaseException:
            with _quiet():
                self._audio.terminate()
            raise

    def read(self, out: NDArray[np.float32], timeout: float) -> Read:
        """Take samples; see `Source.read`."""
        deadline = monotonic() + timeout
        while not self._closed:
            count, lost = self._ring.read(out)
            if count:
                return Read(count, lost)
            remaining = deadline - monotonic()
            if remaining <= 0:
                return Read(0)
            if not self._news.acquire(timeout=min(remaining, _CHECK_SECONDS)):
                self._check()
        return Read(0, ended=True)

    def close(self) -> None:
        """Close the device; see `Source.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with _quiet():
                self._stream.close()
                self._audio.terminate()
            # No callback comes any more, so nobody else can release it.
            if self._news.locked():
                self._news.release()

    def _open(self, device: Device, rates: Sequence[int], period: int) -> tuple[int, Any]:
        """Return the first rate that the device accepts and the stream, running."""
        import pyaudio

        self._overflow = pyaudio.paInputOverflow
        self._continue = (None, pyaudio.paContinue)
        refusal: Exception | None = None
        for rate in sorted(rates, key=lambda rate: rate != device.sample_rate):
            self._ring = Ring(_BUFFER_SECONDS * rate)
            self._heard = monotonic() + _START_SECONDS - _STALL_SECONDS
            try:
                with _quiet():
                    return rate, self._audio.open(
                        rate=rate,
                        channels=self.channels,
                        format=pyaudio.paFloat32,
                        input=True,
                        input_device_index=device.index,
                        frames_per_buffer=period,
                        stream_callback=self._on_audio,
                    )
            except (OSError, ValueError) as error:
                refusal = error
        reason = getattr(refusal, "strerror", None) or refusal
        raise SourceError(
            f'"{device.name}" does not record {self.channels} channels at {" or ".join(map(str, rates))} Hz '
            f'(PortAudio: {reason}); see "dance devices" for others'
        )

    def _on_audio(self, data: bytes, frames: int, times: Mapping[str, float], status: int) -> tuple[None, int]:
        """Take a period from PortAudio's thread: nothing here may wait."""
        self._ring.write_interleaved(data, self.channels)
        self._heard = monotonic()
        if status & self._overflow:
            self.overflows += 1
        if self._news.locked():
            self._news.release()
        return self._continue

    def _check(self) -> None:
        """Raise if the device is dead."""
        with self._lock:
            if self._closed:
                return
            active = self._stream.is_active()
        if not active:
            raise SourceError(f'"{self.name}" stopped: unplugged or taken away; see "dance devices" and start again')
        if monotonic() - self._heard > _STALL_SECONDS:
            raise SourceError(f'"{self.name}" sends nothing any more: check that it is switched on, and start again')


def _open_portaudio() -> Any:
    """Return a new `pyaudio.PyAudio`."""
    try:
        import pyaudio
    except ImportError as error:
        raise SourceError(
            "live input needs PortAudio and PyAudio: sudo apt-get install portaudio19-dev, then "
            f'pip install "dance[mic]" ({error})'
        ) from None
    try:
        with _quiet():
            return pyaudio.PyAudio()
    except OSError as error:
        raise SourceError(f"PortAudio does not start ({error}); check the sound system") from None


def _devices(audio: Any) -> list[Device]:
    try:
        default = audio.get_default_input_device_info()["index"]
    except OSError:
        default = -1
    every = map(audio.get_device_info_by_index, range(audio.get_device_count()))
    return [
        Device(
            index=info["index"],
            name=info["name"],
            channels=info["maxInputChannels"],
            sample_rate=round(info["defaultSampleRate"]),
            default=info["index"] == default,
        )
        for info in every
        if info["maxInputChannels"] > 0
    ]


def _choose(devices: Sequence[Device], wanted: int | str | None) -> Device:
    """Return the device named; of several that share the part of a name, an exact match or else the first."""
    if not devices:
        raise SourceError(
            "no input device: plug one in, or start the sound server, and see if `dance devices` lists it"
        )
    if wanted is None:
        return next((device for device in devices if device.default), devices[0])
    if isinstance(wanted, int):
        found = [device for device in devices if device.index == wanted]
    else:
        part = wanted.casefold()
        found = [device for device in devices if part in device.name.casefold()]
        found.sort(key=lambda device: device.name.casefold() != part)
    if not found:
        names = ", ".join(f"{device.index} {device.name}" for device in devices)
        raise SourceError(f'no input device "{wanted}"; there are: {names}')
    return found[0]


_quiet_lock = threading.Lock()  # two that divert the same descriptor at once would never restore it


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop what ALSA and JACK write to standard error while searching; real errors are exceptions."""
    with _quiet_lock:
        kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(null)
