"""Live input through PortAudio: a microphone, a line input or a loopback device.

The audio callback does nothing but write to the ring, count and wake the reader. A device that stops or stalls is
noticed by the reader, who tells it as `SourceError`, or opens it again and tells how many samples are missing. A reader
that comes too late skips to the present, so that no hit is told long after it sounded.

Contents
--------
Microphone, PERIOD
"""

import contextlib
import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import portaudio
from ._ring import Ring
from .dropouts import Dropouts
from .errors import SourceError, SpecError, os_reason
from .portaudio import Device, NoDeviceError
from .sources import Read, Source, as_rates

PERIOD = 256
"""Samples per callback unless told otherwise: short enough to be soon, long enough for any sound server."""

_LATE_SECONDS = 1.0  # a reader that is further behind skips to the present
_BUFFER_SECONDS = 4  # the ring's length: more than what may wait, and than long periods
_SKIPPED_SECONDS = 10.0  # a line at most this often about what was skipped
_STALL_SECONDS = 2.0  # no callback for this long: the device is dead though PortAudio calls it active
_START_SECONDS = 5.0  # the first callback may take longer (PulseAudio waking up: 1.9 s)
_CHECK_SECONDS = 0.25  # a waiting reader looks this often whether the device is alive
_SERVERS = ("pipewire", "pulse", "default")  # inputs of sound servers, which share and convert
_BAD_RATE, _BAD_CHANNELS, _BAD_FORMAT = -9997, -9998, -9994  # PortAudio's codes


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
        To record; default: two, or as many as the device requires.
    period : int
        Samples per callback, 1 or more; less is earlier and costs more.
    reconnect : bool
        Wait for a device that cannot be had, at first and whenever it stops, stalls or is unplugged, and go on at
        the same rate; what was missed is in `Read.lost_before`. Otherwise these are errors.
    patience : float
        Seconds to wait at first; a device that is not there by then is an error. By default this constructor waits
        for ever; a program with a window passes 0 and tries again, or makes the microphone in a thread.
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
        cannot help or has lasted too long.
    SpecError
        If the period is less than a sample, or a sample rate is not a whole number of hertz.

    Notes
    -----
    Whoever reads too slowly hears nothing old: when more than a second waits (or two periods, if these are longer), all
    of it is skipped, counted in `Read.lost_before` and told, in a line every ten seconds at most.
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
        self._search = portaudio.Search()
        self._position = 0  # of the reader, among all samples that arrived
        self._missing = self._skipped = 0  # before the next samples: during an outage, and by a late reader
        self._untold, self._tell_at = 0, -math.inf  # samples skipped since the last line about it
        self._begun = False
        self.sample_rate = 0
        deadline = monotonic() + patience if reconnect else -math.inf
        while self._audio is None:
            try:
                self._connect(as_rates(sample_rate))
            except NoDeviceError as error:
                now = monotonic()
                if now >= deadline:
                    raise
                self._say(f"{error}; waiting for it")
                self._search.failed(now)
                while now < deadline and not self._search.due(now):
                    sleep(min(_CHECK_SECONDS, deadline - now))
                    now = monotonic()
        self._told, self._search = "", portaudio.Search()

    def read(self, out: NDArray[np.float32], timeout: float) -> Read:
        """Take samples; see `Source.read`."""
        deadline = monotonic() + timeout
        while not self._closed:
            waiting = self._ring.waiting  # before the gaps are asked: they know of all gaps among these
            if waiting > max(_LATE_SECONDS * self.sample_rate, 2 * self._period):
                self._skip(waiting)
                continue
            now = monotonic()
            undecided = 0.0
            before = self._dropouts.before(self._position)
            if not before:
                undecided = self._dropouts.undecided(now)
                self._missing += self._dropouts.missing(now)
            if waiting and not undecided:
                count, lost = self._ring.read(out[: min(waiting, before or waiting)])
                if count:
                    self._position += count + lost
                    self._skipped += lost
                    self._report_skipped(now)
                    if self._missing or self._told:
                        self._resume()
                    lost, self._missing, self._skipped = self._missing + self._skipped, 0, 0
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
            self._close_device()
            # No callback comes any more, so nobody else can release it.
            if self._news.locked():
                self._news.release()

    def _skip(self, count: int) -> None:
        """Drop the oldest samples that wait."""
        dropped = np.empty(count, np.float32)
        while count:
            taken, lost = self._ring.read(dropped[:count])
            count -= taken
            self._position += taken + lost
            self._skipped += taken + lost

    def _report_skipped(self, now: float) -> None:
        """Tell now and then what was skipped, but not before the first read, while a program still starts."""
        if self._begun:
            self._untold += self._skipped
        self._begun = True
        if self._untold and now >= self._tell_at:
            self._tell(f"cannot keep up: {self._untold / self.sample_rate:.1f} s skipped")
            self._untold, self._tell_at = 0, now + _SKIPPED_SECONDS

    def _connect(self, rates: Sequence[int]) -> None:
        """Open the device wanted, or one in its place."""
        audio = portaudio.start()
        try:
            found = portaudio.devices(audio)
            chosen = portaudio.choose(found, self._wanted)
            others = [device for device in found if self._wanted is None and device.name in _SERVERS]
            refusal = None
            for device in (chosen, *(other for other in others if other != chosen)):
                try:
                    stream = self._open(audio, device, rates)
                    break
                except SourceError as error:
                    if isinstance(error, NoDeviceError):
                        error.devices = found
                    refusal = refusal or error
            else:
                assert refusal is not None
                raise refusal
        except BaseException:
            with portaudio.quiet():
                audio.terminate()
            raise
        portaudio.forget_search()
        if refusal:
            self._say(f'{refusal}; hearing "{device.name}" instead')
        self.name = device.name
        if isinstance(self._wanted, int):  # numbers change when devices come and go
            self._wanted = re.sub(r" \(hw:\d+,\d+\)$", "", device.name)
        with self._lock:
            self._audio, self._stream = audio, stream
            if self._closed:
                self._close_device()

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
                self._ring, self._dropouts = Ring(_BUFFER_SECONDS * rate), Dropouts(rate, self._period)
            for channels in dict.fromkeys((few,) if self._wanted_channels else (few, 1, device.channels)):
                self.channels = channels
                self._heard = monotonic() + _START_SECONDS - _STALL_SECONDS
                try:
                    with portaudio.quiet():
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
        if getattr(last, "errno", _BAD_RATE) not in (_BAD_RATE, _BAD_CHANNELS, _BAD_FORMAT):
            raise NoDeviceError(
                f'"{device.name}" does not open (PortAudio: {os_reason(last)}): another program uses it, or it is gone'
            )
        raise SourceError(
            f'"{device.name}" does not record {few} channels at {" or ".join(map(str, rates))} Hz '
            f'(PortAudio: {os_reason(last)}); see "dance devices" for others: those of the sound server convert'
        )

    def _on_audio(self, data: bytes, frames: int, times: Mapping[str, float], status: int) -> tuple[None, int]:
        """Take a period from PortAudio's thread: nothing here may wait."""
        self._heard = monotonic()
        self._dropouts.arrived(frames, self._heard)  # before its samples, or they would be read without the gap
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
            if self._search.due(now):
                self._retry()
        elif not active:
            self._lose(f'"{self.name}" stopped: unplugged or taken away', 'see "dance devices" and start again')
        elif now - self._heard > _STALL_SECONDS:
            self._lose(f'"{self.name}" sends nothing any more', "check that it is switched on, and start again")

    def _lose(self, problem: str, advice: str) -> None:
        """Close the device, to try again soon."""
        if not self._reconnect:
            raise SourceError(f"{problem}; {advice}")
        with self._lock:
            self._close_device()
        if not self._told:
            self.outages += 1
        self._say(f"{problem}; trying again")
        self._search.failed(monotonic())

    def _retry(self) -> None:
        try:
            self._connect((self.sample_rate,))
        except SourceError as error:
            self._say(f"{error}; trying again")
            self._search.failed(monotonic())

    def _resume(self) -> None:
        """Tell that the device is back."""
        self._say(f'hearing "{self.name}" again; {self._missing / self.sample_rate:.1f} s are missing')
        self._told, self._search = "", portaudio.Search()

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._tell(text)

    def _close_device(self) -> None:
        """Close what is open."""
        audio, stream = self._audio, self._stream
        self._audio = self._stream = None
        with portaudio.quiet():
            if stream is not None:
                with contextlib.suppress(OSError):  # it is gone already
                    stream.close()
            if audio is not None:
                audio.terminate()


def _log(text: str) -> None:
    import logging  # takes as long to import as much of this package

    logging.getLogger("dance").warning(text)
