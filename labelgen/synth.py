"""A MIDI song through FluidSynth: any instruments of it, any stretch of time, one soundfont.

Contents
--------
SILENT, SoundFont
"""

import ctypes
import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import cycle
from pathlib import Path

import fluidsynth
import numpy as np
import numpy.typing as npt
import pretty_midi

from labelgen.kits import Hit, attack_of

Audio = npt.NDArray[np.float32]
DRUM_CHANNEL = 9
CHANNELS = 256  # as many as FluidSynth has: each part of a song has one of its own
KEPT_CONTROLS = (1, 7, 10, 11, 64)  # modulation, volume, pan, expression, sustain
BLOCK = 64  # FluidSynth starts notes on the edges of its internal blocks of so many samples
OTHER_NOTES = {"_LV2": {35: 36, 48: 45, 50: 47, 52: 57}}
"""Notes of General MIDI where a soundfont, known by the end of its name, has other drums or none: avldrums."""
NO_KIT = re.compile(r"orch|sfx|effect|march|metronome", re.IGNORECASE)
"""In the names of presets of the drum bank whose notes are not those of the General MIDI drum channel."""
KIT = re.compile(r"drum|kit|perc", re.IGNORECASE)
"""In the names of soundfonts, and of presets outside the drum bank, that are drum kits."""
BRUSHES, SWIRL, SLAP = range(40, 43), 40, 38
"""Programs of kits played with brushes, their note without an attack, and the one to play for it."""
SILENT = 1e-3  # peak below which a note is
LAYER = 8  # steps of velocity that are taken to play the same sample
PRE_ROLL = 1.0  # seconds rendered and thrown away, so that notes already sounding are heard

# pyfluidsynth wraps only the 16-bit writer, whose dither differs from run to run
_write_float = fluidsynth.cfunc(
    "fluid_synth_write_float",
    ctypes.c_int,
    ("synth", ctypes.c_void_p, 1),
    ("len", ctypes.c_int, 1),
    ("lout", ctypes.c_void_p, 1),
    ("loff", ctypes.c_int, 1),
    ("lincr", ctypes.c_int, 1),
    ("rout", ctypes.c_void_p, 1),
    ("roff", ctypes.c_int, 1),
    ("rincr", ctypes.c_int, 1),
)

_set_log = fluidsynth.cfunc(
    "fluid_set_log_function",
    ctypes.c_void_p,
    ("level", ctypes.c_int, 1),
    ("function", ctypes.c_void_p, 1),
    ("data", ctypes.c_void_p, 1),
)
_WARNINGS = 2
# A synthesizer without a soundfont warns of each of its channels, and every rendering begins with one.
_set_log(_WARNINGS, None, None)
_get_sfont = fluidsynth.cfunc(
    "fluid_synth_get_sfont_by_id", ctypes.c_void_p, ("synth", ctypes.c_void_p, 1), ("id", ctypes.c_int, 1)
)
_remove_sfont = fluidsynth.cfunc(
    "fluid_synth_remove_sfont", ctypes.c_int, ("synth", ctypes.c_void_p, 1), ("sfont", ctypes.c_void_p, 1)
)
_add_sfont = fluidsynth.cfunc(
    "fluid_synth_add_sfont", ctypes.c_int, ("synth", ctypes.c_void_p, 1), ("sfont", ctypes.c_void_p, 1)
)


class SoundFont:
    """One loaded soundfont; loading is slow, rendering is fast: keep it.

    The same call gives the same samples, whatever was rendered before.

    Parameters
    ----------
    path : Path
        An SF2 or SF3 file.
    sample_rate : int

    Raises
    ------
    ValueError
        If FluidSynth cannot read the file.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        self.path = path
        self.sample_rate = sample_rate
        self._synth = self._new_synth()
        self._id = self._synth.sfload(str(path))
        if self._id < 0:
            raise ValueError(f"{path}: FluidSynth cannot read this soundfont")
        self._notes = next((notes for end, notes in OTHER_NOTES.items() if path.stem.endswith(end)), {})
        self._attacks: dict[tuple[int, int, tuple[int, int]], float | None] = {}
        self.melodic = bool(self.preset_name(0, 32))
        # without a drum bank: a font of drums alone, or one with kits among its presets; steel drums are none
        drums_alone = bool(self._notes or KIT.search(path.stem))
        self.drum_presets = [
            (128, p) for p in range(128) if (name := self.preset_name(128, p)) and not NO_KIT.search(name)
        ] or [
            (0, p)
            for p in range(128)
            if (name := self.preset_name(0, p)) and (drums_alone or (KIT.search(name) and not self.melodic))
        ]

    def preset_name(self, bank: int, program: int) -> str:
        """Return the name of a preset, empty where there is none."""
        return self._synth.sfpreset_name(self._id, bank, program) or ""

    def _new_synth(self) -> fluidsynth.Synth:
        synth = fluidsynth.Synth(gain=0.4, samplerate=float(self.sample_rate), channels=CHANNELS)
        # their oscillators run on between renderings; `labelgen.effects` has rooms of its own
        synth.setting("synth.reverb.active", 0)
        synth.setting("synth.chorus.active", 0)
        return synth

    def _renew(self) -> None:
        """Move the loaded file to a new synthesizer: a used one remembers the gain of each voice's last note."""
        old, self._synth = self._synth, self._new_synth()
        loaded = _get_sfont(old.synth, self._id)
        _remove_sfont(old.synth, loaded)
        self._id = _add_sfont(self._synth.synth, loaded)
        old.delete()

    def strike(self, note: int, velocity: int, seconds: float, drum_preset: tuple[int, int]) -> Audio:
        """Return one note (and velocity, 1 to 127) of the kit at a bank and program, `seconds` long."""
        drums = pretty_midi.Instrument(0, is_drum=True)
        drums.notes.append(pretty_midi.Note(velocity, note, 0.0, seconds))
        return self.render([drums], 0.0, seconds, drum_preset)

    def heard_at(self, hit: Hit, drum_preset: tuple[int, int]) -> float | None:
        """Return when a hit is heard that the kit at a bank and program plays.

        Samples begin before their attack, those of a hi-hat's foot by up to 20 ms.

        Parameters
        ----------
        hit : Hit
            Its time is from the start of a rendering that begins with the song.
        drum_preset : (bank, program)

        Returns
        -------
        float or None
            Seconds from there, too; None if the note does not sound.
        """
        velocity = min(127, LAYER * max(1, round(127 * hit.velocity / LAYER)))
        key = (hit.note, velocity, drum_preset)
        if key not in self._attacks:
            sound = self.strike(hit.note, velocity, 0.2, drum_preset)
            sounds = np.abs(sound).max() > SILENT
            self._attacks[key] = attack_of(sound, self.sample_rate) / self.sample_rate if sounds else None
        attack = self._attacks[key]
        block = -(-round(hit.time * self.sample_rate) // BLOCK)
        return None if attack is None else block * BLOCK / self.sample_rate + attack

    def render(
        self,
        instruments: Iterable[pretty_midi.Instrument],
        start: float,
        seconds: float,
        drum_preset: tuple[int, int] | None = None,
    ) -> Audio:
        """Return mono audio of `instruments` from `start` on, `seconds` long.

        Parameters
        ----------
        instruments : iterable of pretty_midi.Instrument
        start, seconds : float
        drum_preset : (bank, program), optional
            Kit for drum instruments; the soundfont's first one if omitted.
        """
        self._renew()
        synth = self._synth
        begin = max(0.0, start - PRE_ROLL)
        end = start + seconds
        events: list[tuple[float, int, Callable[[], object]]] = []  # (time, order, call)
        melodic = cycle(c for c in range(CHANNELS) if c % 16 != DRUM_CHANNEL)
        for instrument in instruments:
            if instrument.is_drum:
                channel = DRUM_CHANNEL
                bank, program = drum_preset or self.drum_presets[0]
            else:
                channel, bank, program = next(melodic), 0, instrument.program
            if synth.program_select(channel, self._id, bank, program) != 0:
                synth.program_select(channel, self._id, bank, 0)
            for control in instrument.control_changes:
                if control.number in KEPT_CONTROLS and control.time < end:
                    change = partial(synth.cc, channel, control.number, control.value)
                    events.append((max(begin, control.time), 0, change))
            for bend in instrument.pitch_bends:
                if bend.time < end:
                    events.append((max(begin, bend.time), 0, partial(synth.pitch_bend, channel, bend.pitch)))
            for note in instrument.notes:
                if note.end > begin and note.start < end and note.velocity > 0:
                    pitch = note.pitch
                    if instrument.is_drum:
                        pitch = SLAP if pitch == SWIRL and program in BRUSHES else self._notes.get(pitch, pitch)
                    events.append((max(begin, note.start), 2, partial(synth.noteon, channel, pitch, note.velocity)))
                    events.append((min(end, note.end), 1, partial(synth.noteoff, channel, pitch)))
        events.sort(key=lambda event: event[:2])  # of what was set before the pre-roll the last holds
        total = round((end - begin) * self.sample_rate)
        stereo = np.zeros((-(-total // BLOCK) * BLOCK, 2), np.float32)  # ends on an edge: the next begins there
        done = 0
        for time, _, call in events:
            due = min(total, round((time - begin) * self.sample_rate))
            self._write(stereo[done:due])
            done = max(done, due)
            call()
        self._write(stereo[done:])
        skip = round((start - begin) * self.sample_rate)
        return stereo[skip : skip + round(seconds * self.sample_rate)].mean(axis=1)

    def _write(self, stereo: Audio) -> None:
        if len(stereo):
            at = stereo.ctypes.data_as(ctypes.c_void_p)
            _write_float(self._synth.synth, len(stereo), at, 0, 2, at, 1, 2)
