"""What the shred classifier learns from: hits of known drums, cut the way that real tracks cut them.

Two kinds of tracks give shreds. A *passage* is one-shots of a drawn kit, alone or layered, at the
inter-onset times of real performances but in random order: every sound rings into the next and is cut by
it. A *performance* is a chunk of labelled drums. Both may then be degraded and leaked into: what a
separator leaves is imitated by masks as it would find them, with errors. Shreds are cut by
`labelgen.shreds`, the same code that cuts songs.

Contents
--------
Track, ShredSet, gaps_between, passage, audible, performance, degrade, leak, collect, targets
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr
from pedalboard import Distortion, HighpassFilter, HighShelfFilter, LowpassFilter, LowShelfFilter, Pedalboard, Reverb
from scipy.signal import istft, stft

from dance.labels import GENERAL_MIDI, LABELS, OTHER
from labelgen.chunks import Chunk, Label, Manifest, read_labels
from labelgen.effects import drum_bus, rms_db
from labelgen.kits import Hit, KitLibrary, voice_of
from labelgen.shreds import RATE, ShredSpec, as_images, find_shreds, gap_features

F32 = npt.NDArray[np.float32]
EARLY, LATE = 0.025, 0.040
"""Seconds before and after an onset within which a label belongs to it."""
LAYERS: tuple[tuple[float, tuple[int, ...]], ...] = (
    (0.13, (36,)),
    (0.13, (38,)),
    (0.04, (39,)),
    (0.15, (42,)),
    (0.05, (46,)),
    (0.02, (44,)),
    (0.03, (41,)),
    (0.03, (45,)),
    (0.03, (48,)),
    (0.03, (49,)),
    (0.04, (51,)),
    (0.01, (52,)),
    (0.04, (37,)),
    (0.03, (54,)),
    (0.02, (56,)),
    (0.02, (70,)),
    (0.07, (36, 42)),
    (0.02, (36, 46)),
    (0.02, (36, 51)),
    (0.02, (36, 49)),
    (0.06, (38, 42)),
    (0.01, (38, 46)),
    (0.02, (38, 51)),
    (0.01, (38, 49)),
    (0.02, (36, 38)),
    (0.01, (36, 39)),
    (0.01, (36, 38, 42)),
    (0.01, (36, 45)),
    (0.01, (45, 42)),
    (0.01, (45, 51)),
    (0.01, (41, 49)),
    (0.01, (36, 37)),
    (0.01, (37, 42)),
    (0.01, (38, 54)),
    (0.01, (36, 54)),
    (0.01, (42, 70)),
    (0.01, (36, 56)),
)
"""How often which notes of the General MIDI drum channel sound at once in a passage."""
ABSENT = {"hihat": 0.35, "kick": 0.1}  # share of passages that lack a label; of the others 0.2
AUDIBLE = 3  # bands that a hit has to raise
SPREAD = 0.004  # seconds by which layered hits miss each other


@dataclass(frozen=True, slots=True)
class Track:
    """Drums whose hits are known.

    Attributes
    ----------
    drums : float32 [n], at `RATE`
    labels : list of Label
        Those that are heard; other percussion is left out.
    """

    drums: F32
    labels: list[Label]


@dataclass(frozen=True, slots=True)
class ShredSet:
    """Shreds of many tracks, end to end.

    Attributes
    ----------
    images : uint8 [n, 2, frames, bands]
        The first two planes of `labelgen.shreds.Shreds.images`, quantised by `pack`.
    lasts : uint8 [n]
        Frames inside the shred.
    gaps : float32 [n, 2]
    hit : float32 [n, labels]
        1 where the drum sounds.
    ends : int64 [tracks]
        Where each track ends.
    """

    images: npt.NDArray[np.uint8]
    lasts: npt.NDArray[np.uint8]
    gaps: F32
    hit: F32
    ends: npt.NDArray[np.int64]

    def unpack(self, index: npt.NDArray[np.int64]) -> F32:
        """Return the images [n, 3, frames, bands] of shreds `index`."""
        packed = self.images[index]
        inside = np.arange(packed.shape[2]) < self.lasts[index][:, None]
        images = np.empty((len(packed), 3, *packed.shape[2:]), np.float32)
        images[:, :2] = packed.astype(np.float32) / 25 - 8
        images[:, :2] *= inside[:, None, :, None]
        images[:, 2] = inside[:, :, None]
        return images


def pack(images: F32) -> npt.NDArray[np.uint8]:
    """Return two planes of images in 0.4 dB steps."""
    return np.clip((images[:, :2] + 8) * 25 + 0.5, 0, 255).astype(np.uint8)


def gaps_between(folders: Iterable[Path]) -> npt.NDArray[np.float64]:
    """Return the inter-onset times, in seconds, of all labels in sets of chunks; layered hits count once."""
    gaps = [np.zeros(0)]
    for folder in folders:
        for chunk in Manifest(folder).chunks():
            times = np.array([label.time for label in read_labels(folder / f"{chunk.name}.tsv")])
            times.sort()
            # drummers hit together only nearly: what starts within 40 ms is one onset
            apart = np.diff(times[np.diff(times, prepend=-1) > 0.04])
            gaps.append(apart[apart < 2])
    return np.concatenate(gaps)


def passage(library: KitLibrary, gaps: npt.NDArray[np.float64], hits: int, rng: np.random.Generator) -> Track:
    """Play `hits` random layers with a kit drawn from `library`."""
    shares = np.array([share for share, _ in LAYERS]) * rng.gamma(1.5, 1, len(LAYERS))
    # no track uses everything, and a track without hats must not grow them
    absent = {label for label in LABELS if rng.random() < ABSENT.get(label, 0.2)}
    shares *= [1 - 0.98 * any(GENERAL_MIDI.get(n) in absent for n in notes) for _, notes in LAYERS]
    kit = library.draw(rng)
    # a run of gaps keeps the tempo of its performance
    start = int(rng.integers(max(1, len(gaps) - hits)))
    times = 0.2 + np.cumsum(np.resize(gaps[start : start + hits], hits))
    played = []
    for time, layer in zip(times, rng.choice(len(LAYERS), hits, p=shares / shares.sum()), strict=True):
        loud = float(np.clip(rng.beta(3, 1.5), 0.1, 1))
        for number, note in enumerate(LAYERS[layer][1]):
            late = rng.uniform(-SPREAD, SPREAD) if number else 0.0
            velocity = float(np.clip(loud + rng.normal(0, 0.12), 0.15, 1))
            if kit.plays(note):
                played.append(Hit(float(time + late), note, velocity))
    voices = kit.render(played, float(times[-1]) + 1.0, rng)
    heard = audible(voices, played)
    labels = [Label(h.time, GENERAL_MIDI.get(h.note, OTHER), h.velocity) for h in heard]
    return Track(_normal(drum_bus(voices, RATE, rng)), [label for label in labels if label.label != OTHER])


def audible(voices: Mapping[str, F32], hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits that raise the level of some bands: what is buried cannot be heard, nor learned.

    Parameters
    ----------
    voices : dict of str to float32 [n]
        The track of each voice, as `labelgen.kits.Kit.render` gives them.
    """
    length = int(0.04 * RATE)
    shape = np.hanning(length)
    # bands of a third of an octave: bins of the transform from 40 Hz to 16 kHz
    edges = np.unique((2 ** np.arange(np.log2(40), np.log2(16000), 1 / 3) * length / RATE).astype(int))

    def power(samples: F32) -> npt.NDArray[np.float64]:
        part = np.zeros(length)
        part[: len(samples)] = samples
        return np.add.reduceat(np.abs(np.fft.rfft(part * shape)) ** 2, edges)

    total = np.sum(list(voices.values()), axis=0)
    loudest = max((power(total[round(h.time * RATE) :][:length]).max() for h in hits), default=0.0)
    result = []
    for hit in hits:
        start = round(hit.time * RATE)
        own, now = voices[voice_of(hit.note)], slice(start, start + length)
        rest = power(total[now] - own[now]) + power(own[max(0, start - length) : start])
        if np.count_nonzero(power(own[now]) > 0.5 * rest + 1e-6 * loudest) >= AUDIBLE:
            result.append(hit)
    return result


def performance(folder: Path, chunk: Chunk) -> Track:
    """Read the drums of a labelled chunk."""
    name = f"{chunk.name}.drums" if "drums" in chunk.stems else chunk.name
    drums = read_audio(folder / f"{name}.flac")
    return Track(_normal(drums), [x for x in read_labels(folder / f"{chunk.name}.tsv") if x.label != OTHER])


def read_audio(path: Path) -> F32:
    """Read a file as mono at `RATE`."""
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(soxr.resample(samples.mean(axis=1), rate, RATE), np.float32)


def _normal(audio: F32) -> F32:
    return (audio / max(1e-6, float(np.abs(audio).max(initial=0)))).astype(np.float32)


def degrade(drums: F32, rng: np.random.Generator) -> F32:
    """Change the tone, room, drive and bandwidth of a track, sometimes."""
    chain: list[object] = []
    if rng.random() < 0.5:
        chain.append(LowShelfFilter(float(rng.uniform(60, 300)), float(rng.normal(0, 4))))
        chain.append(HighShelfFilter(float(rng.uniform(2000, 9000)), float(rng.normal(0, 4))))
    if rng.random() < 0.12:
        chain.append(Reverb(float(rng.uniform(0.1, 0.8)), float(rng.uniform(0.2, 0.9)), float(rng.uniform(0.03, 0.2))))
    if rng.random() < 0.08:
        chain.append(Distortion(float(rng.uniform(3, 15))))
    if rng.random() < 0.08:
        low = float(rng.uniform(50, 150))
        chain += [HighpassFilter(low) for _ in range(2)]
    if rng.random() < 0.15:  # old recordings and low bit rates: nothing above this
        high = float(np.exp(rng.uniform(np.log(3500), np.log(13000))))
        chain += [LowpassFilter(high) for _ in range(8)]
    return np.asarray(Pedalboard(chain)(drums, RATE), np.float32) if chain else drums


def leak(drums: F32, music: F32, level_db: float, rng: np.random.Generator) -> F32:
    """Return what a separator might take for the drums of `drums` plus `music`.

    The ideal mask of the drums is blurred, made wrong at random places and kept above a floor.

    Parameters
    ----------
    level_db : float
        Of the music, against the drums.
    """
    length = min(len(drums), len(music))
    music = music[:length] * np.float32(10 ** ((level_db + rms_db(drums) - rms_db(music)) / 20))
    _, _, mixed = stft(drums[:length] + music, RATE, nperseg=2048, noverlap=1536)
    _, _, apart = stft(np.stack([drums[:length], music]), RATE, nperseg=2048, noverlap=1536)
    power = np.abs(apart) ** float(rng.uniform(1, 2))
    mask = power[0] / (power[0] + power[1] + 1e-12)
    wrong = rng.normal(0, float(rng.uniform(0.05, 0.3)), (mask.shape[0] // 8 + 1, mask.shape[1] // 4 + 1))
    wrong = np.repeat(np.repeat(wrong, 8, axis=0), 4, axis=1)[: mask.shape[0], : mask.shape[1]]
    floor = 10 ** (float(rng.uniform(-40, -12)) / 20)
    _, separated = istft(mixed * np.clip(mask + wrong, floor, 1), RATE, nperseg=2048, noverlap=1536)
    return separated[:length].astype(np.float32)


def targets(times: npt.NDArray[np.float64], hits: Iterable[Label], labels: Sequence[str]) -> F32:
    """Return which labels sound at which onset [n, labels]; each hit belongs to the nearest onset, if near."""
    result = np.zeros((len(times), len(labels)), np.float32)
    for hit in hits:
        if not len(times) or hit.label not in labels:
            continue
        nearest = int(np.abs(times - hit.time).argmin())
        if -EARLY <= hit.time - times[nearest] <= LATE:
            result[nearest, labels.index(hit.label)] = 1
    return result


def groups(count: int, rng: np.random.Generator | None) -> Iterator[slice]:
    """Yield runs of shreds that are seen as a track of their own: mostly all of them, sometimes few."""
    if rng is None or rng.random() < 0.7:
        yield slice(0, count)
        return
    size = int(rng.choice((1, 2, 4, 8)))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def collect(tracks: Iterable[Track], spec: ShredSpec, rng: np.random.Generator | None = None) -> ShredSet:
    """Cut tracks into shreds; with `rng`, some tracks fall into short ones of one to eight hits."""
    parts = []
    for track in tracks:
        shreds = find_shreds(track.drums, spec)
        hit = targets(shreds.times, track.labels, spec.labels)
        for run in groups(len(shreds.times), rng) if len(shreds.times) else ():
            images, _ = as_images(shreds.windows[run], shreds.lasts[run], spec)
            parts.append((pack(images), shreds.lasts[run].astype(np.uint8), gap_features(shreds.times[run]), hit[run]))
    if not parts:
        raise ValueError("no onsets in any track")
    images, lasts, gaps, hit = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ShredSet(images, lasts, gaps, hit, np.cumsum([len(part[1]) for part in parts]))
