"""Live input through PortAudio: a microphone, a line input or a loopback device.

PyAudio is imported only here, when it is needed. The audio callback does nothing but write to the ring, count
and wake the reader. A device that stops or stalls is noticed by the reader, who tells it as `SourceError`, or opens
it again and tells how many samples are missing.

Contents
--------
Device, list_devices, Microphone, PERIOD
"""

import contextlib
import math
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._ring import Ring
from .errors import SourceError, SpecError, install
from .gaps import Gaps
from .sources import Read, Source, wanted

PERIOD = 256
"""Samples per callback unless told otherwise: short enough to be soon, long enough for any sound server."""

_BUFFER_SECONDS = 4  # the ring's length: how long the engine may be late before samples are lost
_STALL_SECONDS = 2.0  # no callback for this long: the device is dead though PortAudio calls it active
_START_SECONDS = 5.0  # the first callback may take longer (PulseAudio waking up: 1.9 s)
_CHECK_SECONDS = 0.25  # a waiting reader looks this often whether the device is alive
_PAUSE_SECONDS = (0.5, 2.0)  # between attempts to open a device: at first, and at most after doubling
_SERVERS = ("pipewire", "pulse", "default")  # inputs of sound servers, which share and convert
_BAD_RATE, _BAD_CHANNELS, _BAD_FORMAT = -9997, -9998, -9994  # PortAudio's codes


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
        PortAudio's index, or a name or part of one, in any case; default: the system's default input, or the sound
        server's if that one refuses.
    sample_rate : int or sequence of int, optional
        Wanted rate in hertz, or several to choose from (a model's, default `RATES`): the device's own default
        if it is among them, else the first that the device accepts.
    channels : int, optional
        To record; default: two, or what the device insists on.
    period : int
        Samples per callback, 1 or more; less is earlier and costs more.
    reconnect : bool
        Wait for a device that cannot be had, at first and whenever it stops, stalls or is unplugged, and go on at
        the same rate; what was missed is in `Read.lost_before`. Otherwise these are errors.
    patience : float
        Seconds that it waits at first; a device that is not there by then is an error. Default: for ever.
    tell : callable, optional
        Called with a line about each change, where the microphone is made or read; default: a warning of the
        logger ``dance``.

    Attributes
    ----------
    name : str
        Of the device in use.
    channels : int
    overflows : int
        How often PortAudio said that the device itself lost input; how much, it does not say.
    outages : int
        How often the device was lost and waited for.

    Raises
    ------
    SourceError
        If there is no such device, it refuses, or PyAudio or PortAudio is missing; with `reconnect` only if waiting
        cannot mend it or has lasted too long.
    SpecError
        If the period is less than a sample.
    """

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int | Sequence[int] | None = None,
        channels: int | None = None,
        period: int = PERIOD,
        *,
        reconnect: bool = False,
        patience: float = math.inf,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        if period < 1:
            raise SpecError(f"a period has 1 sample or more, not {period}")
        self.live = True
        self.overflows = self.outages = 0
        self._wanted, self._wanted_channels, self._period = device, channels, period
        self._reconnect, self._tell = reconnect, tell or _log
        self._told = ""
        self._lock = threading.Lock()  # PortAudio must not be asked about a stream while it is being closed
        self._closed = False
        # Released by the callback when there is news, acquired by the reader: unlike `threading.Event` it
        # never makes the callback wait.
        self._news = threading.Lock()
        self._news.acquire()
        self._audio: Any = None  # None: the device is waited for
        self._stream: Any = None
        self._pause, self._retry_at = _PAUSE_SECONDS[0], 0.0
        self._missing = 0
        self.sample_rate = 0
        deadline = monotonic() + patience if reconnect else -math.inf
        while self._audio is None:
            try:
                self._connect(wanted(sample_rate))
            except AbsentError as error:
                left = deadline - monotonic()
                if left <= 0:
                    raise
                self._say(f"{error}; waiting for it")
                sleep(min(left, self._back_off()))
        self._told, self._pause = "", _PAUSE_SECONDS[0]

    def read(self, out: NDArray[np.float32], timeout: float) -> Read:
        """Take samples; see `Source.read`."""
        deadline = monotonic() + timeout
        while not self._closed:
            now = monotonic()
            undecided = self._gaps.undecided(now)
            if not undecided:
                self._missing += self._gaps.missing(now)
                count, lost = self._ring.read(out)
                if count:
                    if self._missing or self._told:
                        self._resume()
                    lost, self._missing = lost + self._missing, 0
                    return Read(count, lost)
            if now >= deadline:
                return Read(0)
            if not self._news.acquire(timeout=min(deadline - now, undecided or _CHECK_SECONDS)):
                self._check()
        return Read(0, ended=True)

    def close(self) -> None:
        """Close the device; see `Source.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._let_go()
            # No callback comes any more, so nobody else can release it.
            if self._news.locked():
                self._news.release()

    def _connect(self, rates: Sequence[int]) -> None:
        """Open the device wanted, or one in its place."""
        audio = _open_portaudio()
        try:
            devices = _devices(audio)
            chosen = _choose(devices, self._wanted)
            others = [device for device in devices if self._wanted is None and device.name in _SERVERS]
            refusal = None
            for device in (chosen, *(other for other in others if other != chosen)):
                try:
                    stream = self._open(audio, device, rates)
                    break
                except SourceError as error:
                    refusal = refusal or error
            else:
                assert refusal is not None
                raise refusal
        except BaseException:
            with _quiet():
                audio.terminate()
            raise
        _forget_search()
        if refusal:
            self._say(f'{refusal}; hearing "{device.name}" instead')
        self.name = device.name
        if isinstance(self._wanted, int):  # numbers change when devices come and go
            self._wanted = re.sub(r" \(hw:\d+,\d+\)$", "", device.name)
        with self._lock:
            self._audio, self._stream = audio, stream
            if self._closed:
                self._let_go()

    def _open(self, audio: Any, device: Device, rates: Sequence[int]) -> Any:
        """Return the stream, running, at the first rate and number of channels that the device accepts."""
        import pyaudio

        self._overflow = pyaudio.paInputOverflow
        self._continue = (None, pyaudio.paContinue)
        few = self._wanted_channels or min(2, device.channels)
        refusals: list[OSError | ValueError] = []
        for rate in sorted(rates, key=lambda rate: rate != device.sample_rate):
            if rate != self.sample_rate:
                self.sample_rate = rate
                self._ring, self._gaps = Ring(_BUFFER_SECONDS * rate), Gaps(rate, self._period)
            for channels in dict.fromkeys((few,) if self._wanted_channels else (few, 1, device.channels)):
                self.channels = channels
                self._heard = monotonic() + _START_SECONDS - _STALL_SECONDS
                try:
                    with _quiet():
                        return audio.open(
                            rate=rate,
                            channels=channels,
                            format=pyaudio.paFloat32,
                            input=True,
                            input_device_index=device.index,
                            frames_per_buffer=self._period,
                            stream_callback=self._on_audio,
                        )
                except (OSError, ValueError) as error:
                    refusals.append(error)
                    if getattr(error, "errno", None) != _BAD_CHANNELS:
                        break
        last = refusals[-1]
        reason = getattr(last, "strerror", None) or last
        if getattr(last, "errno", _BAD_RATE) not in (_BAD_RATE, _BAD_CHANNELS, _BAD_FORMAT):
            raise AbsentError(f'"{device.name}" does not open (PortAudio: {reason}): taken by another program, or gone')
        raise SourceError(
            f'"{device.name}" does not record {few} channels at {" or ".join(map(str, rates))} Hz '
            f'(PortAudio: {reason}); see "dance devices" for others: those of the sound server convert'
        )

    def _on_audio(self, data: bytes, frames: int, times: Mapping[str, float], status: int) -> tuple[None, int]:
        """Take a period from PortAudio's thread: nothing here may wait."""
        self._heard = monotonic()
        self._gaps.arrived(frames, self._heard)  # before its samples, or they would be read without the gap
        self._ring.write_interleaved(data, self.channels)
        if status & self._overflow:
            self.overflows += 1
        if self._news.locked():
            self._news.release()
        return self._continue

    def _check(self) -> None:
        """See whether the device is alive, and if not, raise or try to get it back."""
        with self._lock:
            if self._closed:
                return
            waiting = self._stream is None
            active = waiting or self._stream.is_active()
        now = monotonic()
        if waiting:
            if now >= self._retry_at:
                self._retry()
        elif not active:
            self._lose(f'"{self.name}" stopped: unplugged or taken away', 'see "dance devices" and start again')
        elif now - self._heard > _STALL_SECONDS:
            self._lose(f'"{self.name}" sends nothing any more', "check that it is switched on, and start again")

    def _lose(self, problem: str, advice: str) -> None:
        """Let go of the device, to try again soon."""
        if not self._reconnect:
            raise SourceError(f"{problem}; {advice}")
        with self._lock:
            self._let_go()
        if not self._told:
            self.outages += 1
        self._say(f"{problem}; trying again")
        self._retry_at = monotonic() + self._back_off()

    def _retry(self) -> None:
        try:
            self._connect((self.sample_rate,))
        except SourceError as error:
            self._say(f"{error}; trying again")
            self._retry_at = monotonic() + self._back_off()

    def _resume(self) -> None:
        """Tell that the device is back."""
        self._say(f'hearing "{self.name}" again; {self._missing / self.sample_rate:.1f} s are missing')
        self._told, self._pause = "", _PAUSE_SECONDS[0]

    def _back_off(self) -> float:
        """Return how long to pause, longer each time."""
        pause = self._pause
        self._pause = min(2 * pause, _PAUSE_SECONDS[1])
        return pause

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._tell(text)

    def _let_go(self) -> None:
        """Close what is open."""
        audio, stream = self._audio, self._stream
        self._audio = self._stream = None
        with _quiet():
            if stream is not None:
                with contextlib.suppress(OSError):  # it is gone already
                    stream.close()
            if audio is not None:
                audio.terminate()


class AbsentError(SourceError):
    """A device that is not there now; waiting may bring it."""


def _open_portaudio() -> Any:
    """Return a new `pyaudio.PyAudio`."""
    try:
        import pyaudio
    except ImportError as error:
        raise SourceError(
            "live input needs PortAudio and PyAudio: sudo apt-get install portaudio19-dev, then "
            f"{install('mic')} ({error})"
        ) from None
    try:
        with _quiet():
            return pyaudio.PyAudio()
    except OSError as error:
        raise AbsentError(f"PortAudio does not start ({error}); check the sound system") from None


def _forget_search() -> None:
    """Let go of what looking for devices has loaded, which PortAudio keeps to its end.

    It opens whatever ALSA's configuration names. Where that names an encoder (Debian's libasound2-plugins do), all
    of FFmpeg comes with it: 11 MB, and none of it is used. ALSA lets go of what no open device needs, and
    reads its configuration again when it is next asked.
    """
    import ctypes  # NumPy has loaded it already

    with _quiet(), contextlib.suppress(OSError, AttributeError):  # another system has no ALSA, or ours is not loaded
        ctypes.CDLL("libasound.so.2", mode=os.RTLD_NOLOAD).snd_config_update_free_global()


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
        raise AbsentError(
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
        raise AbsentError(f'no input device "{wanted}"; there are: {names}')
    return found[0]


def _log(text: str) -> None:
    import logging  # takes as long to import as much of this package

    logging.getLogger("dance").warning(text)


_quiet_lock = threading.Lock()  # two that divert the same descriptor at once would never restore it


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop what ALSA and JACK write to standard error while searching; real errors are exceptions."""
    with _quiet_lock:
        try:
            kept = os.dup(2)
        except OSError:  # a program that closed it, as servers do
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(null)
