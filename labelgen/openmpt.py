"""Tracker modules played by libopenmpt, with all instruments or some of them, and the notes that they play.

Contents
--------
BLOCK, library, Note, Module
"""

import ctypes
import ctypes.util
import functools
import sys
from collections.abc import Collection, Iterator
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from labelgen.recordings import RATE

F32 = npt.NDArray[np.float32]

BLOCK = 256
"""Samples within which the row that plays is known: 6 ms."""
_INTERACTIVE = 16
"""Functions of libopenmpt's interactive interface, in the order of ``libopenmpt_ext.h``."""
_SET_INSTRUMENT_MUTE = 12
_NOTE, _INSTRUMENT = 0, 1
_HIGHEST_NOTE = 120
"""Cell values above are no notes but cuts and the like."""


@functools.cache
def library() -> ctypes.CDLL:
    """Return libopenmpt with the types of what is used.

    Raises
    ------
    ValueError
        If the system lacks it.
    """
    try:
        loaded = ctypes.CDLL(ctypes.util.find_library("openmpt") or "libopenmpt.so.0")
    except OSError:
        raise ValueError("modules need libopenmpt to be played: apt-get install libopenmpt0") from None
    pointer, integer = ctypes.c_void_p, ctypes.c_int32
    types = {
        "module_ext_create_from_memory": (pointer, ctypes.c_char_p, ctypes.c_size_t, *[pointer] * 7),
        "module_ext_destroy": (None, pointer),
        "module_ext_get_module": (pointer, pointer),
        "module_ext_get_interface": (ctypes.c_int, pointer, ctypes.c_char_p, pointer, ctypes.c_size_t),
        "module_get_duration_seconds": (ctypes.c_double, pointer),
        "module_get_num_instruments": (integer, pointer),
        "module_get_num_samples": (integer, pointer),
        "module_get_num_channels": (integer, pointer),
        "module_get_instrument_name": (pointer, pointer, integer),
        "module_get_sample_name": (pointer, pointer, integer),
        "module_get_current_pattern": (integer, pointer),
        "module_get_current_order": (integer, pointer),
        "module_get_current_row": (integer, pointer),
        "module_get_pattern_row_channel_command": (ctypes.c_uint8, pointer, *[integer] * 3, ctypes.c_int),
        "module_read_float_mono": (ctypes.c_size_t, pointer, integer, ctypes.c_size_t, pointer),
        "free_string": (None, pointer),
    }
    for name, (result, *arguments) in types.items():
        function = getattr(loaded, f"openmpt_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded


class Note(NamedTuple):
    """A note as played: begin of its row in seconds (to `BLOCK`), and its pitch in semitones."""

    time: float
    pitch: int


class Module:
    """A module, loaded; it plays once, so each pass takes a new one.

    Parameters
    ----------
    data : bytes
        The file.
    audible : collection of int, optional
        Instruments that are not mute, counted from 0 (default: all).
    longest : float
        Seconds after which it is broken off.

    Raises
    ------
    ValueError
        If libopenmpt is missing, or `data` is no module.
    """

    def __init__(self, data: bytes, audible: Collection[int] | None = None, longest: float = np.inf) -> None:
        self._api = library()
        # fmt: off
        self._handle = self._api.openmpt_module_ext_create_from_memory(
            data, len(data), self._api.openmpt_log_func_silent, *[None] * 6
        )
        # fmt: on
        if not self._handle:
            raise ValueError("not a module that libopenmpt can read")
        self._module = self._api.openmpt_module_ext_get_module(self._handle)
        instruments = self._api.openmpt_module_get_num_instruments(self._module)
        self._name_of = (
            self._api.openmpt_module_get_instrument_name if instruments else self._api.openmpt_module_get_sample_name
        )
        self.count: int = instruments or self._api.openmpt_module_get_num_samples(self._module)
        self.whole: float = self._api.openmpt_module_get_duration_seconds(self._module)
        self.seconds = min(self.whole, longest)
        if audible is not None:
            table = (ctypes.c_void_p * _INTERACTIVE)()
            self._api.openmpt_module_ext_get_interface(self._handle, b"interactive", table, ctypes.sizeof(table))
            set_mute = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int)(
                table[_SET_INSTRUMENT_MUTE] or 0
            )
            for number in range(self.count):
                set_mute(self._handle, number, number not in audible)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._api.openmpt_module_ext_destroy(self._handle)

    def names(self) -> list[str]:
        """Return what the instruments are called."""
        names = []
        for number in range(self.count):
            text = self._name_of(self._module, number)
            names.append(" ".join(ctypes.string_at(text).decode(errors="replace").split()))
            self._api.openmpt_free_string(text)
        return names

    def play(self, block: int = 1 << 16) -> Iterator[F32]:
        """Yield the song once, mono at `RATE`, in blocks."""
        left = round(self.seconds * RATE) if self.seconds < self.whole else sys.maxsize  # its end rings out
        while left > 0:
            samples = np.empty(min(block, left), np.float32)
            count = self._api.openmpt_module_read_float_mono(self._module, RATE, len(samples), samples.ctypes.data)
            if not count:
                return
            left -= count
            yield samples[:count]

    def play_notes(self) -> tuple[F32, list[list[Note]]]:
        """Play the song once; return it and the notes of each instrument."""
        notes: list[list[Note]] = [[] for _ in range(self.count)]
        current = [0] * self._api.openmpt_module_get_num_channels(self._module)
        blocks: list[F32] = []
        before = None
        for samples in self.play(BLOCK):
            pattern, order, row = (
                getattr(self._api, f"openmpt_module_get_current_{what}")(self._module)
                for what in ("pattern", "order", "row")
            )
            if before != (order, row) and (len(blocks) + 1) * BLOCK <= self.seconds * RATE:  # after it, it begins anew
                before = order, row
                for channel in range(len(current)):
                    pitch, number = (
                        self._api.openmpt_module_get_pattern_row_channel_command(
                            self._module, pattern, row, channel, what
                        )
                        for what in (_NOTE, _INSTRUMENT)
                    )
                    current[channel] = number or current[channel]  # a note without one is played by the last
                    if 0 < pitch <= _HIGHEST_NOTE and 0 < current[channel] <= self.count:
                        notes[current[channel] - 1].append(Note(len(blocks) * BLOCK / RATE, pitch))
            blocks.append(samples)
        return np.concatenate([np.empty(0, np.float32), *blocks]), notes
