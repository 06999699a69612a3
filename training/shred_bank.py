"""An endless supply of shreds to learn from: frames of single sounds, bent, crossed and added up.

Rendering passages is true to life but slow, and there are few one-shots. Here the frames of each one-shot
are taken once, and tracks are put together from them in the domain of power: sounds of one class lend each
other their highs and their tails, so that a few hundred snares become many thousands. Powers of frames add
as sounds do on the average; phases are not known, and only `training.shred_data` has rooms and separators.

Contents
--------
HitBank, make_bank, VOICES
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from dance.labels import GENERAL_MIDI, LABELS, OTHER
from labelgen.chunks import whole
from labelgen.kits import LEVEL_DB, one_shot, voice_of
from labelgen.material import Item
from labelgen.percussion import make_percussion
from labelgen.recordings import RATE
from labelgen.shreds import ShredSpec, as_images, find_shreds, gap_features
from training.shred_data import LAYERS, MAKERS, layer_shares

F32 = npt.NDArray[np.float32]

VOICES = tuple(LEVEL_DB)
TAIL = 80
"""Frames kept of a sound from its attack on: what rings into the next shreds."""
SEMITONES = (-4, -2, 0, 2, 4)
LATE = 0.003
"""Spread, in seconds, of the place where onsets are found."""
BALANCE = 0.5
"""Exponent from the number of sounds that a kit has of a voice to its share: of 0 all kits are as common."""
ALONE = 0.25
"""Share of tracks whose sounds come once, clean and alone, as `training.shred_data.roll_call` plays them."""
WIRES = {"tom": 0.35, "kick": 0.1}
"""Share of sounds under which the wires of a snare drum buzz."""


def make_bank(
    items: Sequence[Item], gaps: npt.NDArray[np.float64], spec: ShredSpec, seed: int, machines: int = 0
) -> "HitBank":
    """Take the frames of one-shots, each at several pitches.

    Parameters
    ----------
    items : sequence of Item
    gaps : float64 [n]
        Inter-onset times in seconds.
    spec : ShredSpec
    seed : int
    machines : int
        Kits made by rule (`labelgen.drum_machine`, `labelgen.acoustic_kit`, `labelgen.percussion`) to take as well.
    """
    rng = np.random.default_rng([seed, 2])
    long = replace(spec, after=TAIL)
    sources = sorted({item.source for item in items})
    sounds = [(item.cls, sources.index(item.source), one_shot(item.path, RATE)) for item in items]
    for number in range(machines):
        made = MAKERS[number % len(MAKERS)](RATE, rng) | make_percussion(RATE, rng)
        kit = len(sources) + number
        sounds += [(key.split("/")[0], kit, sound) for key, choices in made.items() for sound in choices[:1]]
    frames, voices, kits = [], [], []
    for voice, kit, entire in sounds:
        sound = entire[: RATE // 2]
        for semitones in SEMITONES:
            shift = semitones + rng.uniform(-1, 1)
            bent = soxr.resample(sound, RATE * 2 ** (shift / 12), RATE, quality="MQ")
            start = 0.1 + float(rng.uniform(0, spec.features.hop_seconds))
            track = np.zeros(RATE * 7 // 10, np.float32)
            first = round(start * RATE)
            track[first : first + len(bent)] = bent[: len(track) - first]
            found = start + float(np.clip(rng.normal(0, LATE), -2 * LATE, 2 * LATE))
            frames.append(find_shreds(track, long, onsets=[found]).windows[0].astype(np.float16))
            voices.append(VOICES.index(voice))
            kits.append(kit)
    return HitBank(np.stack(frames), np.array(voices), np.array(kits), gaps)


@dataclass(frozen=True)
class HitBank:
    """The frames of many single sounds.

    Attributes
    ----------
    frames : float16 [n, before + TAIL, bands]
        In dB, of sounds with peak 1.
    voices : int64 [n]
        Index into `VOICES`.
    kits : int64 [n]
        Number of the kit that each is from.
    gaps : float64 [m]
        Inter-onset times in seconds, in the order in which they were played.
    """

    frames: npt.NDArray[np.float16]
    voices: npt.NDArray[np.int64]
    kits: npt.NDArray[np.int64]
    gaps: npt.NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Keep the bank at `path`; there is never half a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial, partial.open("wb") as file:
            np.savez(file, frames=self.frames, voices=self.voices, kits=self.kits, gaps=self.gaps)

    @classmethod
    def load(cls, path: Path) -> "HitBank":
        """Load what `save` kept."""
        with np.load(path) as kept:
            return cls(*(kept[name] for name in ("frames", "voices", "kits", "gaps")))

    @cached_property
    def shelf(self) -> dict[str, list[npt.NDArray[np.int64]]]:
        """For each voice the kits that have it, as rows of `frames`."""
        of_voice = {voice: np.flatnonzero(self.voices == number) for number, voice in enumerate(VOICES)}
        return {v: [rows[self.kits[rows] == kit] for kit in np.unique(self.kits[rows])] for v, rows in of_voice.items()}

    def draw(self, voice: str, rng: np.random.Generator) -> F32:
        """Return the frames of a sound in dB."""
        kits = self.shelf[voice]
        share = np.array([len(rows) for rows in kits]) ** BALANCE
        return self.frames[rng.choice(kits[rng.choice(len(kits), p=share / share.sum())])].astype(np.float32)

    def sound(self, voice: str, rng: np.random.Generator) -> F32:
        """Return the frames [before + TAIL, bands] of a new sound, as power: mostly of two parents of one voice."""
        first, second = self.draw(voice, rng), self.draw(voice, rng)
        bands = np.arange(first.shape[1])
        kind = rng.random()
        if kind < 0.35:  # the lows of one, the highs of the other
            share = 1 / (1 + np.exp(-(bands - rng.uniform(8, 56)) / rng.uniform(1, 6)))
            first = (1 - share) * first + share * (second + rng.normal(0, 4))
        elif kind < 0.5:  # in between
            share = rng.uniform(0.2, 0.8)
            first = (1 - share) * first + share * second
        if rng.random() < 0.5:  # damped, highs more than lows
            fall = np.exp(rng.uniform(np.log(0.03), np.log(0.8))) * np.linspace(rng.uniform(0, 1), 1, len(bands))
            first = first - fall * np.maximum(np.arange(len(first)) - 6, 0)[:, None]
        tone = rng.normal(0, (3, 2, 2)) @ np.cos(np.pi * np.arange(1, 4)[:, None] * bands / len(bands))
        power = 10 ** ((first + tone) / 10)
        if rng.random() < WIRES.get(voice, 0) and self.shelf["snare"]:
            # the wires alone: without the body of the drum that they belong to
            buzz = self.draw("snare", rng) - 30 / (1 + np.exp((bands - rng.uniform(20, 36)) / 2))
            power += 10 ** ((buzz + rng.uniform(-28, -6)) / 10)
        return np.asarray(power, np.float32)

    def run(self, spec: ShredSpec, count: int, rng: np.random.Generator) -> tuple[F32, F32, F32]:
        """Put together `count` consecutive shreds of a track.

        Returns
        -------
        images : float32 [count, 3, frames, bands]
        gaps : float32 [count, 2]
        hit : float32 [count, labels]
        """
        hop = spec.features.hop_seconds
        start = int(rng.integers(max(1, len(self.gaps) - count)))
        apart = np.maximum(np.resize(self.gaps[start : start + count], count), 4 * hop)
        times = np.cumsum(apart)
        steps = np.round(np.diff(times, append=times[-1] + apart[0]) / hop).astype(int)
        voices = {VOICES[index] for index in np.unique(self.voices)}
        alone = rng.random() < ALONE
        layers = [layer for layer in LAYERS if len(layer[1]) == 1 or (not alone and rng.random() < 0.5)]
        layers = [(share, notes) for share, notes in layers if {voice_of(note) for note in notes} <= voices]
        drawn = rng.choice(len(layers), count, p=layer_shares(layers, rng))
        choked, false = (True, 0.0) if alone else (rng.random() < 0.4, rng.uniform(0, 0.3))
        level = {voice: db + rng.normal(0, 4) for voice, db in LEVEL_DB.items()}
        kit: dict[int, list[F32]] = {}
        hit = np.zeros((count, len(spec.labels)), np.float32)
        ringing = np.zeros((spec.before + TAIL, spec.features.bands), np.float32)
        windows = np.empty((count, spec.before + spec.after, spec.features.bands), np.float32)
        floor = 10 ** (-9 if alone else rng.uniform(-9, -5)) * 10 ** (rng.normal(0, 0.4, ringing.shape[1]))
        for row, (layer, step) in enumerate(zip(drawn, steps, strict=True)):
            played: list[tuple[int, F32]] = []
            if rng.random() >= false:
                velocity = rng.beta(3, 1.5)
                for note in layers[layer][1]:
                    if alone or note not in kit:
                        kit[note] = [self.sound(voice_of(note), rng) for _ in range(int(rng.integers(1, 4)))]
                    own = kit[note][int(rng.integers(len(kit[note])))]
                    db = level[voice_of(note)] + 30 * np.log10(np.clip(velocity + rng.normal(0, 0.12), 0.15, 1))
                    played.append((note, own * np.float32(10 ** (db / 10))))
            now = sum((sound for _, sound in played), ringing) + floor.astype(np.float32)
            for note, sound in played:
                column = LABELS.index(GENERAL_MIDI[note]) if GENERAL_MIDI.get(note, OTHER) != OTHER else -1
                attack = slice(spec.before, spec.before + 8)
                if column >= 0 and np.count_nonzero(sound[attack].max(0) > 0.5 * (now - sound)[attack].max(0)) >= 6:
                    hit[row, column] = 1
            windows[row] = now[: windows.shape[1]]
            ringing = np.zeros_like(now)
            step = min(int(step), len(now))
            ringing[: len(now) - step] = now[step:] - floor.astype(np.float32)
            if choked:
                ringing[spec.before + 1 :] = 0
        lasts = np.minimum(steps, spec.after) + spec.before
        images, _ = as_images(10 * np.log10(windows + 1e-9), lasts, spec)
        return images, gap_features(times), hit
