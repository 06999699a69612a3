"""Composes and renders the demo song: ``song.ogg`` and its true labels, ``song.tsv``.

The score is written below as text: drum patterns of sixteen steps whose digits are velocities, chords,
a bass line and a lead. Drums are public-domain one-shots placed to the sample; bass, chords and lead are
synthesised here, so that nothing in the song is anybody else's. The same seed gives the same labels, to the
digit, and the same sound (the bytes of a Vorbis file differ, its stream has a random number).

Times are seconds and pitches MIDI numbers; a sound is a mono float64 array at `RATE`.
"""

import argparse
import csv
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pedalboard as pb
import soundfile

RATE = 44100
BEAT = 60 / 106
STEP = BEAT / 4
SWING = 0.12 * STEP
LEAD_IN = 0.5
SECONDS = 30.0
LOUDNESS_DB = -15.5
"""RMS of the finished song."""

# -- The score ---------------------------------------------------------------------------------------------

CHORDS = {  # bass note, notes of the chord
    "Em7": (28, (55, 59, 62, 66)),
    "A7": (33, (55, 59, 61, 66)),
    "Cmaj7": (36, (55, 59, 62, 64)),
    "D": (38, (54, 57, 62, 64)),
    "Bm7": (35, (57, 59, 62, 66)),
    "B7": (35, (57, 61, 63, 66)),
}

FORM = [  # one line a bar: groove, chord
    ("intro", "Em7"),
    ("intro", "Em7"),
    ("verse", "Em7"),
    ("answer", "A7"),
    ("verse", "Em7"),
    ("fill", "A7"),
    ("chorus", "Cmaj7"),
    ("drive", "D"),
    ("chorus", "Bm7"),
    ("drive", "Em7"),
    ("toms", "Cmaj7"),
    ("build", "B7"),
    ("end", "Em7"),
]

GROOVES = {  # digits are velocities in ninths, one character a sixteenth
    "intro": {
        "kick": "9.........8.....",
        "snare": "....8.......8...",
        "hat": "8.5.7.5.8.5.7.5.",
    },
    "verse": {
        "kick": "9.....6...8..5..",
        "snare": "....8..2.2..9...",
        "hat": "8.5.7.548.5.7.5.",
    },
    "answer": {
        "kick": "9..5......8..6..",
        "snare": "....8....2..9..3",
        "hat": "8.5.7.5.8.547...",
        "open hat": "..............8.",
    },
    "fill": {
        "kick": "9.....6.........",
        "snare": "....8..2879.....",
        "hat": "8.5.7.5.........",
        "high tom": "...........89...",
        "mid tom": ".............8..",
        "low tom": "..............98",
    },
    "chorus": {
        "kick": "9..6..8...9..6..",
        "snare": "....9.......9..2",
        "hat": "..6.8.6.8.6.8.6.",
        "crash": "9...............",
    },
    "drive": {
        "kick": "9..6..8...9..6..",
        "snare": "....9..2....9...",
        "hat": "8.6.8.6.8.6.8...",
        "open hat": "..............8.",
    },
    "toms": {
        "kick": "9...7...8...7...",
        "snare": "............8...",
        "high tom": "......7......7..",
        "mid tom": "...7.......7....",
        "low tom": "8.......8.....7.",
        "splash": "7...............",
    },
    "build": {
        "kick": "8...8...8...8...",
        "snare": "4.4.5.5.667789..",
        "low tom": "..............99",
    },
    "end": {"kick": "9...............", "crash": "9..............."},
}

BASS = {  # step, length in steps, semitones above the chord's bass note
    "intro": [(0, 5, 0), (10, 2, 0), (12, 3, 7)],
    "verse": [(0, 3, 0), (3, 1, 12), (6, 2, 0), (10, 2, 0), (13, 1, 10), (14, 2, 12)],
    "answer": [(0, 2, 0), (3, 2, 0), (6, 1, 12), (10, 2, 0), (13, 2, 7), (15, 1, 10)],
    "fill": [(0, 3, 0), (3, 1, 12), (6, 2, 0), (8, 6, 7)],
    "chorus": [(0, 2, 0), (3, 2, 0), (6, 3, 0), (10, 2, 12), (13, 3, 7)],
    "drive": [(0, 2, 0), (3, 2, 0), (6, 3, 7), (10, 2, 0), (13, 1, 12), (14, 2, 7)],
    "toms": [(0, 7, 0), (8, 7, 0)],
    "build": [(step, 2, 0) for step in range(0, 14, 2)] + [(14, 2, 4)],
    "end": [(0, 16, 0)],
}

PIANO = {  # step, length in steps
    "intro": [(0, 6), (10, 5)],
    "verse": [(0, 4), (6, 3), (11, 4)],
    "answer": [(0, 4), (6, 3), (11, 4)],
    "fill": [(0, 4), (6, 9)],
    "chorus": [(0, 6), (6, 7), (13, 3)],
    "drive": [(0, 6), (6, 7), (13, 3)],
    "toms": [(0, 15)],
    "build": [(0, 8), (8, 8)],
    "end": [(0, 16)],
}

LEAD = {  # bar: step, length in steps, pitch
    2: [(4, 2, 71), (6, 2, 74), (8, 5, 76), (14, 2, 74)],
    3: [(0, 3, 73), (3, 3, 71), (6, 8, 69)],
    4: [(4, 2, 71), (6, 2, 74), (8, 3, 76), (11, 2, 79), (13, 3, 78)],
    5: [(0, 3, 76), (3, 3, 73), (6, 8, 69)],
    6: [(0, 6, 79), (6, 4, 78), (10, 6, 76)],
    7: [(0, 6, 78), (6, 4, 76), (10, 4, 74), (14, 2, 76)],
    8: [(0, 6, 78), (6, 4, 74), (10, 6, 71)],
    9: [(0, 10, 76), (12, 2, 79), (14, 2, 81)],
    10: [(0, 14, 83)],
    12: [(0, 14, 76)],
}

# -- The kit -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drum:
    """One instrument of the kit: its label, its samples in the manifest, and its place in the mix."""

    label: str
    source: str
    name: str = ""
    level_db: float = 0.0
    effects: tuple[pb.Plugin, ...] = ()


HATS = (pb.HighpassFilter(300),)
TOMS = (pb.PeakFilter(400, -4), pb.HighShelfFilter(3000, 5))
KIT = {
    "kick": Drum(
        "kick",
        "gogodze:gogodze2_ks",
        level_db=-1,
        effects=(pb.HighpassFilter(35), pb.PeakFilter(80, 3), pb.HighShelfFilter(1500, 14)),
    ),
    "snare": Drum(
        "snare",
        "frankensnare:14d_basic",
        "14d_basic_sn",
        level_db=-1,
        effects=(pb.PeakFilter(200, 3), pb.HighShelfFilter(3500, 7)),
    ),
    "hat": Drum("hihat", "gogodze:gogodze2_hc", level_db=-13, effects=HATS),
    "open hat": Drum("hihat", "gogodze:gogodze2_ho", level_db=-12, effects=(*HATS, pb.HighShelfFilter(6000, 4))),
    "high tom": Drum("tom", "gogodze:gogodze2_th", level_db=-2, effects=TOMS),
    "mid tom": Drum("tom", "gogodze:gogodze2_tm", level_db=-2, effects=TOMS),
    "low tom": Drum("tom", "gogodze:gogodze2_tl", level_db=-1, effects=TOMS),
    "crash": Drum("cymbal", "uzu-drumkit:uzu", "uzu_11_cr_mot4i", level_db=-9),
    "splash": Drum("cymbal", "uzu-drumkit:uzu", "uzu_10_cr_switchangel", level_db=-9),
}


class Samples:
    """The one-shots of one drum, in layers from soft to loud, each with takes played in turn."""

    def __init__(self, drum: Drum, folder: Path, manifest: list[dict[str, str]]) -> None:
        layers = defaultdict(list)
        for row in manifest:
            path = Path(row["path"])
            if row["source"] == drum.source and path.stem.startswith(drum.name):
                layer = re.search(r"_vl(\d+)_", path.stem)
                layers[int(layer[1]) if layer else 0].append(self._read(folder / path, drum))
        if not layers:
            raise SystemExit(f"{folder} has no one-shots of {drum.source} {drum.name}")
        self._layers = [layers[key] for key in sorted(layers)]
        self._turn = 0

    @staticmethod
    def _read(path: Path, drum: Drum) -> tuple[np.ndarray, int]:
        sound, rate = soundfile.read(path)
        if rate != RATE or sound.ndim != 1:
            raise SystemExit(f"{path} is not mono at {RATE} Hz")
        # The audible attack, measured before effects move the peak: a twentieth of it is reached.
        attack = int(np.argmax(np.abs(sound) >= 0.05 * np.abs(sound).max()))
        sound = sound * np.linspace(1, 0, sound.size) ** 0.5  # packs cut long cymbals off
        return effects(sound, *drum.effects), attack

    def hit(self, velocity: float) -> tuple[np.ndarray, int]:
        """Return the sound of a hit and the sample of its attack."""
        takes = self._layers[min(int(velocity * len(self._layers)), len(self._layers) - 1)]
        self._turn += 1
        sound, attack = takes[self._turn % len(takes)]
        return sound * velocity**1.3, attack


def play_drums(folder: Path, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, str, float]]]:
    """Return the drums, without room, and every hit as (sample of the attack, label, velocity)."""
    with (folder / "manifest.csv").open(newline="") as file:
        manifest = list(csv.DictReader(file))
    kit = {name: Samples(drum, folder, manifest) for name, drum in KIT.items()}
    feel = {"snare": 0.004, "hat": -0.002, "open hat": -0.002}  # a laid-back snare, hats that push
    track = np.zeros(int(SECONDS * RATE))
    hits = []
    for bar, (groove, _) in enumerate(FORM):
        for name, steps in GROOVES[groove].items():
            for step, digit in enumerate(steps):
                if digit == ".":
                    continue
                time = step_time(bar, step) + feel.get(name, 0.0) + rng.normal(0, 0.003)
                velocity = float(np.clip(int(digit) / 9 * rng.normal(0.97, 0.05), 0.05, 1))
                hits.append((round(time * RATE), name, round(velocity, 3)))
    hits.sort()
    hat_hits = [sample for sample, name, _ in hits if KIT[name].label == "hihat"]
    for sample, name, velocity in hits:
        sound, attack = kit[name].hit(velocity)
        if name == "open hat":  # closed by the next stroke
            following = [later for later in hat_hits if later > sample]
            if following:
                sound = fade_out(sound[: following[0] - sample + attack], 0.02)
        add(track, sample - attack, sound * decibels(KIT[name].level_db))
    return track, [(sample, KIT[name].label, velocity) for sample, name, velocity in hits]


# -- The band ----------------------------------------------------------------------------------------------


def string(pitch: float, seconds: float, velocity: float, pluck: float, damping: float) -> np.ndarray:
    """Return a plucked string: slightly inharmonic partials, the higher the sooner gone."""
    time = np.arange(int(seconds * RATE)) / RATE
    k = np.arange(1, 41)[:, None]
    frequency = hertz(pitch) * k * np.sqrt(1 + 1e-4 * k**2)
    strength = np.sin(np.pi * k * pluck) / k ** (2.0 - 0.7 * velocity) * (frequency < 12000)
    partials = strength * np.exp(-time * damping * (0.6 + 0.25 * k)) * np.sin(2 * np.pi * frequency * time)
    return fade_out(partials.sum(axis=0), 0.02) * velocity


def electric_piano(pitch: float, seconds: float, velocity: float) -> np.ndarray:
    """Return a tine piano by frequency modulation (Chowning): a body and a short bell above it."""
    time = np.arange(int(seconds * RATE)) / RATE
    angle = 2 * np.pi * hertz(pitch) * time
    body = np.sin(angle + 1.6 * velocity * np.exp(-time / 0.35) * np.sin(1.001 * angle)) * np.exp(-time / 1.4)
    bell = np.sin(angle + 0.6 * np.exp(-time / 0.08) * np.sin(14 * angle)) * np.exp(-time / 0.25)
    tremolo = 1 + 0.12 * np.sin(2 * np.pi * 4.6 * time)
    attack = np.minimum(time / 0.002, 1)
    return fade_out((body + 0.4 * velocity * bell) * tremolo * attack, 0.04) * velocity


def saw(pitch: float, seconds: float, velocity: float) -> np.ndarray:
    """Return two detuned saws through a falling low-pass, with late vibrato."""
    time = np.arange(int(seconds * RATE)) / RATE
    vibrato = 0.2 * np.clip((time - 0.2) / 0.3, 0, 1) * np.sin(2 * np.pi * 5.3 * time)
    k = np.arange(1, 31)[:, None]
    cutoff = 1200 + 3500 * velocity * np.exp(-time / 0.3)
    tone = np.zeros_like(time)
    for cents in (-6, 6):
        frequency = hertz(pitch + cents / 100 + vibrato)
        angle = 2 * np.pi * np.cumsum(frequency) / RATE
        tone += (np.sin(k * angle) / k / (1 + (k * frequency / cutoff) ** 2)).sum(axis=0)
    return fade_out(tone * np.minimum(time / 0.012, 1), 0.05) * velocity


def play_band(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return bass, guitar, piano and lead, each a track without effects."""
    tracks = {name: np.zeros(int(SECONDS * RATE)) for name in ("bass", "guitar", "piano", "lead")}

    def start(bar: int, step: int) -> int:
        return round((step_time(bar, step) + rng.normal(0, 0.004)) * RATE)

    def strength() -> float:
        return float(np.clip(rng.normal(0.8, 0.07), 0.4, 1))

    for bar, (groove, chord) in enumerate(FORM):
        root, notes = CHORDS[chord]
        for step, length, interval in BASS[groove]:
            note = string(root + interval, 0.95 * length * STEP, strength(), pluck=0.19, damping=1.6)
            add(tracks["bass"], start(bar, step), note)
        for step, length in PIANO[groove]:
            for pitch in notes:
                add(tracks["piano"], start(bar, step), electric_piano(pitch, 0.95 * length * STEP, strength()))
        if groove not in ("intro", "end"):
            for step in (2, 6, 10, 14):  # chops on the off-beat
                onset = start(bar, step)
                for delay, pitch in enumerate(notes[1:]):
                    note = string(pitch + 12, 0.13, strength(), pluck=0.13, damping=6)
                    add(tracks["guitar"], onset + delay * 130, note)
        for step, length, pitch in LEAD.get(bar, ()):
            add(tracks["lead"], start(bar, step), saw(pitch, 0.95 * length * STEP, strength()))
    return tracks


# -- The desk ----------------------------------------------------------------------------------------------


def step_time(bar: int, step: int) -> float:
    """Return when a sixteenth is due, odd ones swung."""
    return LEAD_IN + (16 * bar + step) * STEP + SWING * (step % 2)


def hertz(pitch: np.ndarray | float) -> np.ndarray | float:
    """Return the frequency of a MIDI pitch."""
    return 440 * 2 ** ((pitch - 69) / 12)


def decibels(value: float) -> float:
    """Return the amplitude factor of a level."""
    return 10 ** (value / 20)


def rms(sound: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(sound**2)))


def fade_out(sound: np.ndarray, seconds: float) -> np.ndarray:
    """Return the sound with a linear end."""
    return sound * np.clip(np.arange(sound.size, 0, -1) / (seconds * RATE), 0, 1)


def add(track: np.ndarray, start: int, sound: np.ndarray) -> None:
    """Mix a sound into a track, as much of it as fits."""
    end = min(start + sound.size, track.size)
    track[start:end] += sound[: end - start]


def effects(sound: np.ndarray, *chain: pb.Plugin) -> np.ndarray:
    """Return the sound after a chain of effects."""
    return pb.Pedalboard(list(chain))(sound.astype(np.float32), RATE).astype(np.float64)


def room(sound: np.ndarray, seconds: float, seed: int) -> np.ndarray:
    """Return the reverberation alone: noise that decays by 60 dB in `seconds`, its highs sooner."""
    time = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(time.size)
    dull = effects(noise, pb.LowpassFilter(2500))
    response = dull * 10 ** (-3 * time / seconds) + 0.4 * noise * 10 ** (-6 * time / seconds)
    response[: int(0.012 * RATE)] = 0  # the walls are two metres away
    size = sound.size + response.size
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(response, size), size)[: sound.size]
    return effects(wet / np.sqrt(np.sum(response**2)), pb.HighpassFilter(150))


def mix(drums: np.ndarray, band: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """Return the song: balance by loudness, echo and room, bus compression and a soft ceiling."""
    bass = effects(band["bass"], pb.Compressor(-24, 4, 8, 120), pb.PeakFilter(900, 4), pb.Distortion(6))
    guitar = effects(band["guitar"], pb.HighpassFilter(250), pb.PeakFilter(2500, 3))
    piano = effects(band["piano"], pb.HighpassFilter(120), pb.Chorus(0.8, 0.15, mix=0.3))
    lead = effects(band["lead"], pb.HighpassFilter(200), pb.Delay(3 * STEP, 0.3, 0.22))
    levels = ((bass, -3.0), (guitar, -12.0), (piano, -6.0), (lead, -6.0))  # RMS against the drums'
    drums = drums + 0.35 * room(drums, 0.6, seed)
    music = sum(track / rms(track) * rms(drums) * decibels(level) for track, level in levels)
    music = music + 0.15 * room(music, 1.1, seed + 1)
    song = drums + music
    song = effects(song / rms(song) * decibels(-18), pb.Compressor(-16, 2.5, 12, 150))
    song = song / rms(song) * decibels(LOUDNESS_DB)
    return fade_out(0.97 * np.tanh(song / 0.97), 1.0)


# -- The files ---------------------------------------------------------------------------------------------


def write(folder: Path, song: np.ndarray, hits: list[tuple[int, str, float]]) -> None:
    """Write the song as Vorbis and its labels as a table, in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(
        folder / "song.ogg", "w", RATE, 1, format="OGG", subtype="VORBIS", compression_level=0.5
    ) as file:
        file.title, file.artist, file.license = "Demo", "the dance authors", "MIT"
        for start in range(0, song.size, RATE):  # libsndfile's encoder overflows its stack on long writes
            file.write(song[start : start + RATE])
    rows = [f"{sample / RATE:.4f}\t{label}\t{velocity:.3f}\n" for sample, label, velocity in hits]
    (folder / "song.tsv").write_text("time\tlabel\tvelocity\n" + "".join(rows))


def main() -> None:
    """Compose, render and write."""
    parser = argparse.ArgumentParser(description="Compose and render the demo song with its true labels.")
    parser.add_argument("--oneshots", type=Path, required=True, help="folder of the one-shots' manifest.csv")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    parser.add_argument("--seed", type=int, default=1, help="of the players' timing and touch")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    drums, hits = play_drums(options.oneshots, rng)
    write(options.out, mix(drums, play_band(rng), options.seed), hits)


if __name__ == "__main__":
    main()
