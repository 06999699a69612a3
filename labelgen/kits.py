"""Drum kits of one-shot samples: drawn from a manifest by source, played note by note.

Audio is mono float32 at the kit's sample rate; velocities are 0..1.

Contents
--------
Hit, Maker, VOICE, LEVEL_DB, voice_of, attack_of, one_shot, read_one_shot, Kit, KitLibrary
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from labelgen.material import Item
from labelgen.percussion import make_percussion

Audio = npt.NDArray[np.float32]
Maker = Callable[[int, np.random.Generator], dict[str, list[Audio]]]
"""Makes sounds by rule for a sample rate, by voice or voice and note as `Kit.sounds` has them."""

VOICE: dict[int, str] = {
    **dict.fromkeys((35, 36), "kick"),
    **dict.fromkeys((38, 40), "snare"),
    37: "rim",
    39: "clap",
    42: "hat_closed",
    44: "hat_pedal",
    46: "hat_open",
    **dict.fromkeys((41, 43, 45, 47, 48, 50), "tom"),
    **dict.fromkeys((49, 57), "crash"),
    **dict.fromkeys((52, 55), "cymbal"),
    **dict.fromkeys((51, 53, 59), "ride"),
}
"""Kind of one-shot for each General MIDI drum note; others are ``perc``."""

FALLBACK = {"hat_pedal": "hat_closed", "hat_open": "hat_closed", "cymbal": "crash", "clap": "snare", "rim": "perc"}
LEVEL_DB = {  # usual peak levels in a drum mix, relative to the kick
    "kick": 0.0,
    "snare": -1.0,
    "clap": -3.0,
    "rim": -6.0,
    "hat_closed": -11.0,
    "hat_open": -11.0,
    "hat_pedal": -14.0,
    "tom": -3.0,
    "crash": -7.0,
    "cymbal": -8.0,
    "ride": -12.0,
    "perc": -8.0,
}
TOM_SEMITONES = {41: -5, 43: -3, 45: -1, 47: 1, 48: 3, 50: 5}
MADE_SHARE = 0.8  # of the voices of a kit made by rule; sampled sounds are laid between them
BY_RULE = "made by rule"  # the source of sounds that nobody recorded
FAINT, LOUD = 0.03, 0.1  # of the peak: there a sound begins, and there it is heard over others
FAINT_SECONDS = 0.01
CLICK = (0.005, 0.02)  # seconds: longer, and it would be a second drum that no label tells
ROUND_ROBIN = 5  # so many files of one name differing in digits are hits of one drum, not several drums


class Hit(NamedTuple):
    """One note of the drum channel: seconds, General MIDI note, velocity 0..1."""

    time: float
    note: int
    velocity: float


def voice_of(note: int) -> str:
    """Return the kind of one-shot that plays General MIDI note `note`."""
    return VOICE.get(note, "perc")


def attack_of(sound: Audio, sample_rate: int) -> int:
    """Return the sample half a millisecond before the attack of a sound that is not silent.

    A hi-hat's foot is heard before the cymbals meet: what is faint for long is no attack.
    """
    peak = np.abs(sound).max()
    start, loud = (int(np.argmax(np.abs(sound) > share * peak)) for share in (FAINT, LOUD))
    if loud - start > FAINT_SECONDS * sample_rate:
        start = loud
    return max(0, start - int(0.0005 * sample_rate))


@lru_cache(maxsize=4096)
def one_shot(path: Path, sample_rate: int) -> Audio:
    """Return what `read_one_shot` does, and keep it: kits share sounds."""
    return read_one_shot(path, sample_rate)


def read_one_shot(path: Path, sample_rate: int) -> Audio:
    """Read a one-shot as mono of peak 1, cut to its attack: label times must be audible times."""
    audio, rate = sf.read(os.fsencode(path), dtype="float32", always_2d=True)  # names of old packs are in any encoding
    mono = audio.mean(axis=1)
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate)
    peak = np.abs(mono).max(initial=0.0)
    if peak == 0:
        raise ValueError(f"{path}: silent one-shot")
    return np.ascontiguousarray(mono[attack_of(mono, sample_rate) :] / peak)


def _weights(counts: list[int]) -> npt.NDArray[np.float64]:
    """Return probabilities: brands with many files are recorded kits; drum machines have one file per voice."""
    weights = np.array(counts, float) ** 0.7
    return weights / weights.sum()


def _of(voice: str, sounds: Iterable[str]) -> list[str]:
    """Return the keys of a voice, by note or not."""
    return [key for key in sounds if key.split("/")[0] == voice]


@dataclass(frozen=True)
class Kit:
    """One drum kit: for each voice (or note) the alternatives to choose from, hit by hit.

    Attributes
    ----------
    sample_rate : int
    sounds : dict of str to list of array
        Alternatives for a voice; ``tom`` and ``perc`` also hold entries by note, as ``tom/43``.
    level : dict of str to float
        Linear gain per voice.
    sources : dict of str to str
        Source of each voice, and of what else sounds (``voice/note``, ``voice/layer``), for the provenance.
    licences : frozenset of str
    hardness : float
        Exponent from velocity to amplitude.
    dull : float
        Share of the softest hits that is low-passed.
    choke_seconds : float
        In which an open hat fades once it is closed.
    """

    sample_rate: int
    sounds: dict[str, list[Audio]]
    level: dict[str, float]
    sources: dict[str, str]
    licences: frozenset[str]
    hardness: float = 1.5
    dull: float = 0.5
    choke_seconds: float = 0.04
    _soft: dict[int, Audio] = field(default_factory=dict, compare=False)

    def render(self, hits: Iterable[Hit], seconds: float, rng: np.random.Generator) -> dict[str, Audio]:
        """Play `hits` and return one track for each voice, `seconds` long.

        A closed or pedalled hat stops an open one.
        """
        length = int(seconds * self.sample_rate)
        tracks: dict[str, Audio] = defaultdict(lambda: np.zeros(length, np.float32))
        ringing: tuple[int, int] | None = None  # start and end of an open hat
        fade = int(self.choke_seconds * self.sample_rate)
        for hit in sorted(hits):
            voice = voice_of(hit.note)
            choices = self.sounds.get(f"{voice}/{hit.note}") or self.sounds.get(voice)
            start = round(hit.time * self.sample_rate)
            if not choices or not 0 <= start < length:
                continue
            if voice.startswith("hat") and ringing and start < ringing[1]:
                stop = min(start + fade, ringing[1])
                tail = tracks["hat_open"][start : ringing[1]]
                tail[: stop - start] *= np.linspace(1, 0, stop - start, dtype=np.float32)
                tail[stop - start :] = 0
                ringing = None
            sound = choices[int(rng.integers(len(choices)))]
            gain = self.level[voice] * hit.velocity**self.hardness * rng.uniform(0.94, 1.06)
            part = self._struck(sound, hit.velocity)[: length - start]
            tracks[voice][start : start + len(part)] += np.float32(gain) * part
            if voice == "hat_open":
                ringing = (start, start + len(part))
        return dict(tracks)

    def plays(self, note: int) -> bool:
        """Tell whether the kit has a sound for General MIDI note `note`."""
        voice = voice_of(note)
        return bool(self.sounds.get(f"{voice}/{note}") or self.sounds.get(voice))

    def _struck(self, sound: Audio, velocity: float) -> Audio:
        """Soft hits are duller: blend towards a low-passed copy."""
        amount = self.dull * (1 - velocity)
        if amount <= 0.02:
            return sound
        soft = self._soft.get(id(sound))
        if soft is None:
            width = max(3, int(0.00012 * self.sample_rate))
            soft = np.convolve(sound, np.hanning(width + 2)[1:-1] / np.hanning(width + 2).sum(), "full")
            soft = self._soft[id(sound)] = soft[: len(sound)].astype(np.float32)
        return (1 - amount) * sound + np.float32(amount) * soft


class KitLibrary:
    """Draws kits from labelled one-shots.

    Parameters
    ----------
    items : iterable of Item
        One-shots; classes as in `dance.labels.ONE_SHOT`.
    sample_rate : int
    """

    def __init__(self, items: Iterable[Item], sample_rate: int) -> None:
        self.sample_rate = sample_rate
        # voice -> brand -> series (files that differ in digits only)
        self._shelf: dict[str, dict[str, dict[str, list[Item]]]] = {}
        for item in items:
            brand = item.source.split(":")[0] if item.source.startswith("muldjord") else item.source
            series = f"{item.source}/{re.sub('[0-9]+', '', item.path.stem)}"
            brands = self._shelf.setdefault(item.cls, {})
            brands.setdefault(brand, {}).setdefault(series, []).append(item)
        missing = {"kick", "snare", "hat_closed"} - set(self._shelf)
        if missing:
            raise ValueError(f"the one-shots lack {', '.join(sorted(missing))}: no kit can be drawn")
        count: dict[str, int] = defaultdict(int)
        for brands in self._shelf.values():
            for brand, series in brands.items():
                count[brand] += sum(map(len, series.values()))
        self._brands = sorted(count)
        self._share = _weights([count[brand] for brand in self._brands])

    def draw(
        self,
        rng: np.random.Generator,
        notes: Collection[int] = range(27, 88),
        made_percussion: bool = False,
        made_by: Maker | None = None,
    ) -> Kit:
        """Draw a kit: half of the time one brand completed by others, else every voice for itself.

        Only `notes` are given toms and percussion of their own. With `made_percussion` side-stick, wood,
        tambourine and shakers are made by rule (`labelgen.percussion`); with `made_by` most voices are made by it
        (`labelgen.drum_machine.make_machine`, `labelgen.acoustic_kit.make_acoustic`).
        """
        home = str(rng.choice(self._brands, p=self._share)) if rng.random() < 0.5 else ""
        sounds: dict[str, list[Audio]] = {}
        sources: dict[str, str] = {}
        licences: set[str] = set()

        def put(key: str, voice: str, semitones: float) -> None:
            items = self._choose(voice, home, rng)
            if not items:
                return
            ratio = 2 ** (semitones / 12)
            sounds[key] = [self._pitched(one_shot(item.path, self.sample_rate), ratio) for item in items]
            sources[key] = items[0].source
            licences.update(item.licence for item in items)

        def layer(voice: str, other: str, seconds: float = np.inf) -> None:
            item = self._layer(sounds, voice, other, rng, seconds)
            if item:
                sources[f"{voice}/{other}"] = item.source
                licences.add(item.licence)

        def take(by_rule: dict[str, list[Audio]]) -> None:
            sounds.update(by_rule)
            sources.update(dict.fromkeys(by_rule, BY_RULE))

        for voice in LEVEL_DB:
            put(voice, voice, float(rng.uniform(-2, 2)))
        made = made_by(self.sample_rate, rng) if made_by else {}
        voices = dict.fromkeys(key.split("/")[0] for key in made)
        made = {key: made[key] for voice in voices if rng.random() < MADE_SHARE for key in _of(voice, made)}
        take({key: made[key] for key in made if "/" not in key})
        if rng.random() < 0.25:  # layered kicks and snares are common on records
            layer("kick", "kick")
            layer("snare", "snare")
        if rng.random() < 0.25:  # and so are kicks with a click of something bright on top
            click = str(rng.choice(["hat_closed", "perc", "snare", "clap"]))
            layer("kick", click, seconds=float(rng.uniform(*CLICK)))
        for note in notes:
            if voice_of(note) == "perc" and rng.random() < 0.9:
                put(f"perc/{note}", "perc", float(rng.uniform(-2, 2)))
        for note, semitones in TOM_SEMITONES.items():
            if "tom" in sounds and note in notes:
                ratio = 2 ** (semitones / 12)
                sounds[f"tom/{note}"] = [self._pitched(sound, ratio) for sound in sounds["tom"]]
        take({key: made[key] for key in made if "/" in key})
        if made_percussion:
            take(make_percussion(self.sample_rate, rng))
        level = {v: 10 ** ((db + rng.normal(0, 3.0)) / 20) for v, db in LEVEL_DB.items()}
        return Kit(
            self.sample_rate,
            sounds,
            level,
            sources,
            frozenset(licences),
            hardness=float(rng.uniform(1.0, 2.2)),
            dull=float(rng.uniform(0.2, 0.9)),
            choke_seconds=float(rng.uniform(0.02, 0.08)),
        )

    def _choose(self, voice: str, home: str, rng: np.random.Generator) -> list[Item]:
        brands = self._shelf.get(voice) or self._shelf.get(FALLBACK.get(voice, ""), {})
        if not brands:
            return []
        names = sorted(brands)
        share = _weights([sum(map(len, brands[name].values())) for name in names])
        series = brands[home if home in brands else str(rng.choice(names, p=share))]
        items = series[str(rng.choice(sorted(series)))]
        if len(items) >= ROUND_ROBIN:
            return [items[i] for i in rng.permutation(len(items))[:6]]
        return [items[int(rng.integers(len(items)))]]

    def _layer(
        self,
        sounds: dict[str, list[Audio]],
        voice: str,
        other: str,
        rng: np.random.Generator,
        seconds: float,
    ) -> Item | None:
        """Add one sound of voice `other`, or its first `seconds`, to every sound of `voice`, and return which."""
        items = self._choose(other, "", rng)
        if not items:
            return None
        added = one_shot(items[0].path, self.sample_rate) * np.float32(rng.uniform(0.15, 0.8))
        if seconds * self.sample_rate < len(added):
            added = added[: int(seconds * self.sample_rate)] * np.linspace(1, 0, int(seconds * self.sample_rate))
        layered = []
        for sound in sounds[voice]:
            both = np.zeros(max(len(sound), len(added)), np.float32)
            both[: len(sound)] += sound
            both[: len(added)] += added
            layered.append(both / np.abs(both).max())
        sounds[voice] = layered
        return items[0]

    def _pitched(self, sound: Audio, ratio: float) -> Audio:
        """Play faster by `ratio`, as a sampler does."""
        return soxr.resample(sound, self.sample_rate * ratio, self.sample_rate, quality="MQ").astype(np.float32)
