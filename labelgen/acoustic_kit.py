"""Acoustic kits that nobody recorded: skins, wires and metal made by rule.

Of real drum kits there are recordings of a few dozen on clear terms; every new one is heard worse than those that were
learned from. Here each kit has skins, shells, wires, cymbals, sticks, microphones and a room of its own. A skin rings
in the modes of a circular membrane, falls in pitch as its tension eases, and ends sooner the more it is damped
(Fletcher & Rossing, "The Physics of Musical Instruments", 1998, chapters 18 and 20); wires answer a skin with noise a
moment later, and those of the snare drum answer kicks and toms as well; metal is a dense spectrum of lines whose highs
come late and go first.

Contents
--------
make_acoustic
"""

from itertools import pairwise

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import oaconvolve

from labelgen.by_rule import Audio, Wave, between, filtered, finished
from labelgen.kits import TOM_SEMITONES

MODES = np.array([1.0, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.501, 3.6, 4.06, 4.15, 4.6])  # of a membrane
VARIATIONS = 3  # hits of one drum to choose from: no two are alike
TOMS = tuple(TOM_SEMITONES)
BANDS_HZ = np.array([60, 250, 600, 1200, 2400, 4800, 8000, 12000, 18000])  # that metal decays in, each by itself
CONGAS, BONGOS, COWBELL = (62, 63, 64), (60, 61), 56


def make_acoustic(sample_rate: int, rng: np.random.Generator) -> dict[str, list[Audio]]:
    """Return sounds for `labelgen.kits.Kit.sounds`, of peak 1 and beginning with their attack.

    Toms have an entry for each General MIDI note as well (``tom/41``), and so have congas, bongos and a cowbell
    (``perc/62``).

    Parameters
    ----------
    sample_rate : int
    rng : numpy.random.Generator
    """
    kit = _Kit(sample_rate, rng)
    makers = {
        "kick": kit.kick(),
        "snare": kit.snare(),
        "clap": kit.clap(),
        "hat_closed": kit.metal((0.012, 0.1), stick=(0.1, 0.6), lowest=(500, 6000)),
        "hat_pedal": kit.metal((0.02, 0.09), stick=(0.0, 0.1), swell=(0.0005, 0.006), lowest=(400, 5000)),
        "hat_open": kit.metal((0.08, 0.5), stick=(0.1, 0.5), lowest=(400, 5000)),
        "crash": kit.metal((0.35, 1.4), stick=(0.05, 0.4), swell=(0.001, 0.02)),
        "cymbal": kit.metal((0.15, 0.7), stick=(0.02, 0.4), swell=(0.001, 0.015)),
        "ride": kit.metal((0.4, 1.6), stick=(0.3, 2.0), bell=True),
    }
    lowest, step = between(rng, 60, 110), between(rng, 1.08, 1.25)
    makers |= {f"tom/{note}": kit.tom(lowest * step**number) for number, note in enumerate(TOMS)}
    makers["tom"] = makers[f"tom/{TOMS[int(rng.integers(len(TOMS)))]}"]
    pitch = between(rng, 150, 280)
    makers |= {f"perc/{note}": kit.hand_drum(pitch * 1.3**-number) for number, note in enumerate(CONGAS)}
    makers |= {f"perc/{note}": kit.hand_drum(2 * pitch * 1.3**-number) for number, note in enumerate(BONGOS)}
    makers[f"perc/{COWBELL}"] = kit.cowbell()
    return makers


class _Kit:
    """The room and the microphones that the drums of one kit share, and how each drum is made."""

    def __init__(self, sample_rate: int, rng: np.random.Generator) -> None:
        self.rate, self.rng = sample_rate, rng
        self.wires_hz = between(rng, 900, 3500), between(rng, 5000, 14000)
        self.wires_seconds = between(rng, 0.02, 0.12)
        self.sympathy_db = rng.uniform(-50, -12)
        tail = self._time(between(rng, 0.08, 0.6))
        room = rng.normal(0, 1, len(tail)) * np.exp(-4 * tail / tail[-1])
        room = filtered(room, "lowpass", between(rng, 2500, 12000), sample_rate)
        room *= 10 ** (rng.uniform(-40, -12) / 20) / np.sqrt(np.sum(room**2))
        room[: int(rng.uniform(0.001, 0.01) * sample_rate)] = 0
        room[0] = 1
        self.room = room

    def _time(self, seconds: float) -> Wave:
        return np.arange(int(seconds * self.rate)) / self.rate

    def _noise(self, t: Wave, low: float, high: float) -> Wave:
        wave = filtered(self.rng.normal(0, 1, len(t)), "bandpass", (low, high), self.rate, 1)
        return np.asarray(wave / wave.std())

    def _heard(self, wave: Wave) -> Audio:
        """Return a drum as the kit's microphones have it."""
        wave = oaconvolve(wave, self.room)[: len(wave)]
        return finished(wave, len(wave) // 5)

    def _skin(self, t: Wave, pitch: float, decay: float, damping: float, place: Wave, bend: float) -> Wave:
        """Return the modes of a membrane whose lowest has `pitch` Hz at rest and `decay` seconds to fall to 1/e."""
        tension = 1 + bend * np.exp(-t / 0.03)
        phase = 2 * np.pi * np.cumsum(tension) / self.rate
        wave = np.zeros_like(t)
        for ratio, level in zip(MODES, place, strict=True):
            frequency = pitch * ratio * self.rng.uniform(0.995, 1.005)
            wave += level * np.sin(frequency * phase) * np.exp(-t / (decay / ratio**damping))
        return wave

    def _stick(self, t: Wave, hertz: float, seconds: float) -> Wave:
        click = filtered(self.rng.normal(0, 1, len(t)) * np.exp(-t / seconds), "lowpass", hertz, self.rate)
        return np.asarray(click / np.abs(click).max())

    def _wires(self, t: Wave, late: float) -> Wave:
        shape = np.where(t >= late, np.exp(-(t - late) / self.wires_seconds), 0)
        return 0.4 * self._noise(t, *self.wires_hz) * shape

    def _place(self, steepness: float) -> Wave:
        """Return how much each mode sounds where this drum is struck."""
        levels = self.rng.uniform(0.1, 1, len(MODES)) * MODES**-steepness
        return np.asarray(levels / levels.max())

    def kick(self) -> list[Audio]:
        """Make a kick: a low skin, damped, a beater, the wires of the snare drum."""
        rng = self.rng
        pitch, decay, bend = between(rng, 38, 78), between(rng, 0.03, 0.25), between(rng, 0.05, 1.2)
        place, damping = self._place(rng.uniform(1, 3)), rng.uniform(0.3, 1.2)
        hardness, beater, click = between(rng, 800, 9000), between(rng, 0.001, 0.006), between(rng, 0.03, 1.2)
        t = self._time(min(0.8, 6 * decay + 0.1))
        hits = []
        for _ in range(VARIATIONS):
            force = rng.uniform(0.6, 1.2)
            wave = self._skin(t, pitch, decay, damping, place, bend * force)
            wave += click * force * self._stick(t, hardness * force, beater)
            wave += 10 ** ((self.sympathy_db - 6) / 20) * self._wires(t, 0.008)
            hits.append(self._heard(wave))
        return hits

    def snare(self) -> list[Audio]:
        """Make a snare: a skin, damped or ringing, its wires tight or loose, sometimes struck with the rim."""
        rng = self.rng
        pitch, decay = between(rng, 120, 320), between(rng, 0.015, 0.12)
        place, damping = self._place(rng.uniform(0.3, 1.5)), rng.uniform(0, 1)
        hardness, tight = between(rng, 3000, 14000), 10 ** (rng.uniform(-12, 10) / 20)
        ring = between(rng, 0.05, 1.5) if rng.random() < 0.3 else 0.0
        ringing, shell = between(rng, 500, 1800), between(rng, 0.01, 0.06)
        late = rng.uniform(0, 0.003)
        t = self._time(0.6)
        hits = []
        for _ in range(VARIATIONS):
            force = rng.uniform(0.6, 1.2)
            wave = self._skin(t, pitch, decay, damping, place, 0.06 * force)
            wave += between(rng, 0.1, 0.8) * force * self._stick(t, hardness * force, 0.002)
            wave += ring * np.sin(2 * np.pi * ringing * t) * np.exp(-t / shell)
            wave += tight * force**0.5 * self._wires(t, late)
            hits.append(self._heard(wave))
        return hits

    def tom(self, pitch: float) -> list[Audio]:
        """Make a tom: a skin that rings, a stick, and the snare drum's wires answering."""
        rng = self.rng
        decay, bend = between(rng, 0.06, 0.45), between(rng, 0.01, 0.25)
        place, damping = self._place(rng.uniform(0.8, 2.5)), rng.uniform(0.3, 1.2)
        hardness, click = between(rng, 1200, 9000), between(rng, 0.03, 0.6)
        t = self._time(min(1.0, 5 * decay + 0.1))
        hits = []
        for _ in range(VARIATIONS):
            force = rng.uniform(0.5, 1.2)
            wave = self._skin(t, pitch, decay, damping, place, bend * force)
            wave += click * force * self._stick(t, hardness * force, 0.003)
            wave += 10 ** (self.sympathy_db / 20) * self._wires(t, rng.uniform(0.002, 0.01))
            hits.append(self._heard(wave))
        return hits

    def hand_drum(self, pitch: float) -> list[Audio]:
        """Make a conga or bongo: a tight skin struck by a hand, open, muted or slapped."""
        rng = self.rng
        open_decay, place = between(rng, 0.05, 0.2), self._place(rng.uniform(0.8, 2))
        stroke, hand = float(rng.choice([1.0, 0.15, 0.4])), between(rng, 1500, 9000)
        t = self._time(0.6)
        return [
            self._heard(
                self._skin(t, pitch, open_decay * stroke, rng.uniform(0.5, 1.2), place, 0.02)
                + between(rng, 0.05, 0.4) / stroke**0.5 * self._stick(t, hand, 0.004)
            )
            for _ in range(VARIATIONS)
        ]

    def cowbell(self) -> list[Audio]:
        """Make a cowbell: two plates out of tune, and a stick."""
        rng = self.rng
        pitch, ratio, decay = between(rng, 350, 900), rng.uniform(1.35, 1.6), between(rng, 0.03, 0.25)
        t = self._time(0.5)
        hits = []
        for _ in range(VARIATIONS):
            wave = self._stick(t, 9000, 0.002)
            for overtone in (1, ratio, 2.4 * ratio, 3.7):
                wave += np.sin(2 * np.pi * pitch * overtone * t) * np.exp(-t * overtone**0.5 / decay) / overtone
            hits.append(self._heard(wave))
        return hits

    def clap(self) -> list[Audio]:
        """Make claps of some hands that do not quite meet."""
        rng = self.rng
        low, high, spread = between(rng, 200, 1200), between(rng, 1500, 6000), between(rng, 0.002, 0.02)
        hands, fall = int(rng.integers(1, 7)), between(rng, 0.005, 0.06)
        t = self._time(0.4)
        hits = []
        for _ in range(VARIATIONS):
            starts = np.append(0, rng.exponential(spread, hands - 1))
            shape = np.sum([rng.uniform(0.4, 1) * (t >= s) * np.exp(-np.abs(t - s) / fall) for s in starts], axis=0)
            hits.append(self._heard(shape * self._noise(t, low, high)))
        return hits

    def metal(
        self,
        seconds: tuple[float, float],
        stick: tuple[float, float],
        swell: tuple[float, float] = (0.0002, 0.002),
        lowest: tuple[float, float] = (200, 2500),
        bell: bool = False,
    ) -> list[Audio]:
        """Make a hat or cymbal: lines close together, each band decaying by itself, and the tip of a stick.

        Parameters
        ----------
        seconds : tuple of float
            Between which its decay lies.
        stick : tuple of float
            How loud the stick is beside it.
        swell : tuple of float
            Seconds in which its highs come.
        lowest : tuple of float
            Hertz from which its lines sound.
        bell : bool
            Some lines are louder and last: it can be told by its tone.
        """
        rng = self.rng
        decay, rise = between(rng, *seconds), between(rng, *swell)
        first, lean = between(rng, *lowest), rng.uniform(-0.9, 0.6)
        sparse = rng.uniform(0.3, 1.2)  # spread of the lines' levels, in nepers
        tip_hz, tip_seconds, tip = between(rng, 5000, 16000), between(rng, 0.0008, 0.006), rng.uniform(*stick)
        fall = rng.uniform(-0.5, 0.5)  # by how much the highs outlast the lows
        t = np.arange(next_fast_len(int(min(1.5, 4 * decay + 0.05) * self.rate), real=True)) / self.rate
        hertz = rfftfreq(len(t), 1 / self.rate)
        level = np.exp(rng.normal(0, sparse, len(hertz))) / (1 + (first / np.maximum(hertz, 1)) ** 4)
        level *= np.maximum(hertz / 5000, 0.02) ** lean / (1 + (hertz / between(rng, 7000, 20000)) ** 4)
        tones = [(between(rng, 500, 5000), between(rng, 0.1, 0.6), rng.uniform(0.1, 1)) for _ in range(3 * bell)]
        hits = []
        for _ in range(VARIATIONS):
            lines = rfft(rng.normal(0, 1, len(t))) * level
            wave = np.zeros_like(t)
            for low, high in pairwise(BANDS_HZ):
                band = irfft(lines * ((hertz >= low) & (hertz < high)), len(t))
                own = decay * (high / 6000) ** fall * rng.uniform(0.8, 1.25)
                wave += band * np.exp(-t / own) * (1 - 0.9 * np.exp(-t / (rise * (high / 6000))))
            wave /= np.abs(wave).max()
            for pitch, ringing, loud in tones:
                wave += loud * np.sin(2 * np.pi * pitch * t) * np.exp(-t / ringing)
            loud = tip * rng.uniform(0.7, 1.3)
            wave += loud * filtered(self._stick(t, tip_hz, tip_seconds), "highpass", 1500, self.rate)
            hits.append(self._heard(wave))
        return hits
