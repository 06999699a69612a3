"""Material for the tests of labels and training: sample packs, songs and chunks made on the spot.

Contents
--------
RATE, one_shots, song, soundfont, chunk_set
"""

import csv
import functools
from pathlib import Path

import numpy as np
import pretty_midi
import soundfile as sf

from labelgen.chunks import Chunk, ChunkWriter, Label, Manifest

RATE = 44100
FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/soundfonts")


@functools.cache
def soundfont() -> Path | None:
    """Return the small General MIDI soundfont, if the system has it."""
    for folder in FOLDERS:
        if (Path(folder) / "TimGM6mb.sf2").exists():
            return Path(folder) / "TimGM6mb.sf2"
    return None


def _sound(kind: str, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(int(0.25 * RATE)) / RATE
    noise = rng.normal(0, 1, len(time))
    if kind == "kick":
        return np.sin(2 * np.pi * (50 * time + 3 * (1 - np.exp(-time / 0.02)))) * np.exp(-time / 0.08)
    if kind == "snare":
        return (np.sin(2 * np.pi * 190 * time) + 0.7 * noise) * np.exp(-time / 0.05)
    bright = np.diff(noise, prepend=0.0)
    return bright * np.exp(-time / (0.2 if kind == "hat_open" else 0.02))


def one_shots(folder: Path, seed: int = 0) -> Path:
    """Write two sources of four one-shots each, with 10 ms of silence in front; return the manifest."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = []
    for source, split in (("alpha", "train"), ("beta", "test")):
        for kind in ("kick", "snare", "hat_closed", "hat_open"):
            path = folder / f"{source}_{kind}.flac"
            sound = np.concatenate([np.zeros(RATE // 100), _sound(kind, rng)])
            sf.write(path, 0.9 * sound / np.abs(sound).max(), RATE)
            rows.append((path.name, kind, source, "CC0", split))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("path", "class", "source", "licence", "split"), *rows])
    return folder / "manifest.csv"


def song(path: Path, drums: bool = True, bass: bool = True, bars: int = 4, seed: int = 0) -> list[Label]:
    """Write a MIDI song; return its true labels."""
    rng = np.random.default_rng(seed)
    midi = pretty_midi.PrettyMIDI(initial_tempo=120)
    labels = []
    if drums:
        kit = pretty_midi.Instrument(0, is_drum=True)
        for beat in range(4 * bars):
            for note, label, on in (
                (36, "kick", beat % 2 == 0),
                (38, "snare", beat % 2 == 1),
                (42, "hihat", True),
            ):
                if on:
                    time = 0.5 + beat * 0.5 + (0.25 if label == "hihat" else 0.0)
                    velocity = int(rng.integers(60, 127))
                    kit.notes.append(pretty_midi.Note(velocity, note, time, time + 0.1))
                    labels.append(Label(time, label, velocity / 127))
        midi.instruments.append(kit)
    if bass:
        low = pretty_midi.Instrument(33)
        low.notes += [pretty_midi.Note(90, 40 + b % 5, 0.5 + b * 0.5, 0.9 + b * 0.5) for b in range(4 * bars)]
        midi.instruments.append(low)
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.write(str(path))
    return sorted(labels)


def chunk_set(folder: Path, count: int = 3, seconds: float = 8.0, seed: int = 0) -> Path:
    """Write chunks with stems, without MIDI or soundfonts: sounds placed on a grid, a hum behind them."""
    rng = np.random.default_rng(seed)
    writer, manifest = ChunkWriter(folder, RATE), Manifest(folder)
    kinds = {"kick": "kick", "snare": "snare", "hihat": "hat_closed"}
    for number in range(count):
        drums = np.zeros(int(seconds * RATE), np.float32)
        labels = []
        for step in range(int(4 * seconds) - 2):
            label = ("kick", "hihat", "snare", "hihat")[step % 4]
            time, velocity = 0.3 + step * 0.25, float(rng.uniform(0.4, 1))
            start = round(time * RATE)
            sound = _sound(kinds[label], rng)[: len(drums) - start]
            drums[start : start + len(sound)] += 0.3 * velocity * sound
            labels.append(Label(time, label, velocity))
        hum = 0.05 * np.sin(2 * np.pi * 220 * np.arange(len(drums)) / RATE).astype(np.float32)
        name = f"grid-{number}"
        writer.write(name, {"": drums + hum, "drums": drums, "backing": hum}, labels)
        manifest.add([Chunk(name, name, "test", name, "CC0", "grid", 1.0, seconds, ("drums", "backing"))])
    return folder
