"""PortAudio and the devices that it offers: what inputs and outputs share.

PyAudio is imported only when it is needed.

Contents
--------
Device, Kind, list_devices, NoDeviceError
    What there is to hear.
start, devices, choose, forget_search, quiet
    How a device is found.
Search
    When it is worth looking again.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import SourceError, install

_PAUSE_SECONDS = (0.5, 60.0)  # between searches for a device: at first, and at most after doubling
_BLIND_SECONDS = 2.0  # at most where nothing but a search tells whether something changed

Kind = Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class Device:
    """An input or output that PortAudio offers.

    Attributes
    ----------
    index : int
        PortAudio's number, which may change when devices come and go.
    name : str
    channels : int
        Most channels that it records or plays.
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


class NoDeviceError(SourceError):
    """A device that is not there now; waiting may bring it.

    Attributes
    ----------
    devices : sequence of Device or None
        What is there instead, where that is known.
    """

    def __init__(self, text: str, devices: Sequence[Device] | None = None) -> None:
        super().__init__(text)
        self.devices = devices


def list_devices() -> list[Device]:
    """Return all inputs.

    Raises
    ------
    SourceError
        If PyAudio or PortAudio is missing.
    """
    audio = start()
    try:
        return devices(audio)
    finally:
        with quiet():
            audio.terminate()


def start() -> Any:
    """Return a new `pyaudio.PyAudio`, which has looked for devices; end it by its `terminate`.

    Raises
    ------
    SourceError
        If PyAudio or PortAudio is missing.
    """
    try:
        import pyaudio
    except ImportError as error:
        raise SourceError(
            "live input needs PortAudio and PyAudio: sudo apt-get install portaudio19-dev, then "
            f"{install('mic')} ({error})"
        ) from None
    try:
        with quiet():
            return pyaudio.PyAudio()
    except OSError as error:
        raise NoDeviceError(f"PortAudio does not start ({error}); check the sound system", ()) from None


def devices(audio: Any, kind: Kind = "input") -> list[Device]:
    """Return the inputs or outputs that a `pyaudio.PyAudio` has found."""
    try:
        default = getattr(audio, f"get_default_{kind}_device_info")()["index"]
    except OSError:
        default = -1
    channels = f"max{kind.capitalize()}Channels"
    every = map(audio.get_device_info_by_index, range(audio.get_device_count()))
    return [
        Device(
            index=info["index"],
            name=_text(info["name"]),
            channels=info[channels],
            sample_rate=round(info["defaultSampleRate"]),
            default=info["index"] == default,
        )
        for info in every
        if info[channels] > 0
    ]


def choose(found: Sequence[Device], wanted: int | str | None, kind: Kind = "input") -> Device:
    """Return the device named; of several that share the part of a name, an exact match or else the first.

    Raises
    ------
    NoDeviceError
        If there is none.
    """
    if not found:
        raise NoDeviceError(
            f"no {kind} device: plug one in, or start the sound server (PipeWire, PulseAudio, JACK)", found
        )
    if wanted is None:
        return next((device for device in found if device.default), found[0])
    if isinstance(wanted, int):
        matches = [device for device in found if device.index == wanted]
    else:
        part = wanted.casefold()
        matches = [device for device in found if part in device.name.casefold()]
        matches.sort(key=lambda device: device.name.casefold() != part)
    if not matches:
        names = ", ".join(f"{device.index} {device.name}" for device in found)
        raise NoDeviceError(f'no {kind} device "{wanted}"; there are: {names}', found)
    return matches[0]


def forget_search() -> None:
    """Let go of what looking for devices has loaded, which PortAudio keeps to its end.

    It opens whatever ALSA's configuration names. Where that names an encoder (Debian's libasound2-plugins do), all
    of FFmpeg comes with it: 11 MB, and none of it is used. ALSA lets go of what no open device needs, and
    reads its configuration again when it is next asked.
    """
    import ctypes  # NumPy has loaded it already

    with quiet(), contextlib.suppress(OSError, AttributeError):  # another system has no ALSA, or ours is not loaded
        ctypes.CDLL("libasound.so.2", mode=os.RTLD_NOLOAD).snd_config_update_free_global()


_quiet_lock = threading.Lock()  # two that divert the same descriptor at once would never restore it


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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


class Search:
    """When to look for a device again: soon after the sound system changed, ever more seldom while it does not.

    PortAudio finds new devices only when it starts anew. Where that loads FFmpeg (see `forget_search`), each time
    costs 12 kB that FFmpeg never gives back. All times in seconds of one clock.
    """

    def __init__(self) -> None:
        self._traces = _traces()
        self._pause, self._due = _PAUSE_SECONDS[0], 0.0

    def failed(self, now: float) -> None:
        """Note that there was nothing to be had."""
        self._due = now + self._pause
        self._pause = min(2 * self._pause, _PAUSE_SECONDS[1] if self._traces is not None else _BLIND_SECONDS)

    def due(self, now: float) -> bool:
        """Return whether to look again; ask every second or more often."""
        traces = _traces()
        if traces != self._traces:  # not at once: what was plugged in takes a moment until it can be opened
            self._traces, self._pause = traces, _PAUSE_SECONDS[0]
            self._due = min(self._due, now + self._pause)
        return now >= self._due


def _traces() -> dict[str, object] | None:
    """Return what changes with ALSA's inputs, whether they are in use, and sound servers; None where nothing tells."""
    if sys.platform != "linux":
        return None
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    pulse = os.environ.get("PULSE_RUNTIME_PATH") or f"{runtime}/pulse"
    server = os.environ.get("PULSE_SERVER", "").removeprefix("unix:") or f"{pulse}/native"
    traces: dict[str, object] = {}
    for path in (server, f"{runtime}/pipewire-0", "/run/pulse/native"):
        with contextlib.suppress(OSError, ValueError):
            traces[path] = Path(path).stat().st_mtime_ns
    with contextlib.suppress(OSError):  # a card that goes meanwhile
        for info in Path("/proc/asound").glob("card*/pcm*c/info"):
            traces[str(info)] = info.read_bytes()
    return traces


def _text(name: str | bytes) -> str:
    """Return a device's name, which PyAudio leaves as bytes where it is no text."""
    return name if isinstance(name, str) else name.decode(errors="replace")
