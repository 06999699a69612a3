"""What the shred classifier learns from: hits of known drums, cut the way that real tracks cut them.

Two kinds of tracks give shreds. A *passage* is one-shots of a drawn kit, alone or layered, at the
inter-onset times of real performances but in random order: every sound rings into the next and is cut by
it. A *performance* is a chunk of labelled drums. Both may then be degraded and leaked into: what a
separator leaves is imitated by masks as it would find them, with errors. Shreds are cut by
`labelgen.shreds`, the same code that cuts songs.

For figures there are two more: a *roll call* plays every one-shot of a kit once, alone, until the next
onset stops it, and a *replay* plays the labels of a performance with another kit.

Contents
--------
LAYERS, ABSENT, MAKERS, Track, ShredSet, pack, gaps_between, backings, vary, sympathy, layer_shares, passage, faded,
audible, drums_of, performance, replay, whole_kits, roll_call, read_audio, degrade, leak, spoil, targets, groups, cut,
join
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr
from pedalboard import Distortion, HighpassFilter, HighShelfFilter, LowpassFilter, LowShelfFilter, Pedalboard, Reverb
from scipy.signal import butter, istft, lfilter, sosfilt, stft

from dance.labels import GENERAL_MIDI, LABELS, ONE_SHOT, OTHER
from labelgen.acoustic_kit import make_acoustic
from labelgen.chunks import Chunk, Label, Manifest, read_labels
from labelgen.drum_machine import make_machine
from labelgen.effects import drum_bus, rms_db
from labelgen.kits import LEVEL_DB, Hit, Kit, KitLibrary, one_shot, voice_of
from labelgen.material import Item
from labelgen.recordings import RATE
from labelgen.shreds import ShredSpec, as_images, find_shreds, gap_features

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
MADE, MADE_PERCUSSION = 0.3, 0.15  # shares of varied passages with a kit, and with percussion, made by rule
MAKERS = (make_machine, make_acoustic)
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

    def run(self, count: int, rng: np.random.Generator) -> tuple[F32, F32, F32]:
        """Return images, gaps and hits of `count` consecutive shreds from a random place."""
        start = int(rng.integers(0, len(self.lasts) - count + 1))
        index = np.arange(start, start + count)
        return self.unpack(index), self.gaps[index], self.hit[index]


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


def backings(folders: Iterable[Path]) -> list[Path]:
    """Return the recordings without drums that sets of chunks hold as stems."""
    return [
        folder / f"{chunk.name}.backing.flac"
        for folder in folders
        for chunk in Manifest(folder).chunks()
        if "backing" in chunk.stems
    ]


def vary(kit: Kit, rng: np.random.Generator) -> Kit:
    """Bend the sounds of a kit in pitch, decay and tone, so that few kits become many."""
    sounds = {}
    for voice, choices in kit.sounds.items():
        if rng.random() < 0.4:
            sounds[voice] = choices
            continue
        ratio = 2 ** (float(np.clip(rng.normal(0, 2), -4, 4)) / 12)
        decay = float(np.exp(rng.uniform(np.log(0.04), np.log(4.0))))
        tone = Pedalboard([
            LowShelfFilter(float(rng.uniform(80, 400)), float(rng.normal(0, 3))),
            HighShelfFilter(float(rng.uniform(1500, 9000)), float(rng.normal(0, 3))),
        ])  # fmt: skip
        bent = []
        for sound in choices:
            pitched = soxr.resample(sound, RATE * ratio, RATE, quality="QQ")
            shorter = pitched * np.exp(-np.arange(len(pitched)) / (decay * RATE))
            bent.append(_normal(tone(shorter.astype(np.float32), RATE)))
        sounds[voice] = bent
    return replace(kit, sounds=sounds)


def sympathy(voices: Mapping[str, F32], rng: np.random.Generator) -> dict[str, F32]:
    """Let drums answer that nobody struck: snare wires buzz under kicks and toms, and skins ring.

    Parameters
    ----------
    voices : dict of str to float32 [n]
        The track of each voice.
    """
    result = dict(voices)
    struck = [voices[name] for name in ("kick", "tom", "snare") if name in voices]
    if not struck:
        return result
    shaken = np.sum(struck, axis=0, dtype=np.float32)
    if rng.random() < 0.7:
        fall = np.exp(-1 / (RATE * float(rng.uniform(0.02, 0.12))))
        late = int(RATE * rng.uniform(0, 0.012))
        envelope = lfilter([1 - fall], [1, -fall], np.abs(np.concatenate([np.zeros(late), shaken])[: len(shaken)]))
        low = float(rng.uniform(300, 2000))
        band = butter(2, (low, low * float(rng.uniform(3, 8))), "band", fs=RATE, output="sos")
        buzz = sosfilt(band, rng.normal(0, 1, len(shaken)) * envelope)
        result["wires"] = _at_level(buzz, shaken, float(rng.uniform(-45, -14)))
    if rng.random() < 0.4:
        rings = np.zeros(len(shaken))
        for _ in range(int(rng.integers(1, 4))):
            radius = np.exp(-1 / (RATE * float(rng.uniform(0.05, 0.25))))
            angle = 2 * np.pi * float(np.exp(rng.uniform(np.log(70), np.log(500)))) / RATE
            rings += lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], shaken)
        result["skins"] = _at_level(rings, shaken, float(rng.uniform(-45, -20)))
    return result


def _at_level(sound: npt.NDArray[np.float64], beside: F32, level_db: float) -> F32:
    """Scale a sound so that its peak lies `level_db` above that of another."""
    peak = np.abs(sound).max(initial=1e-9)
    return (sound * (10 ** (level_db / 20) * np.abs(beside).max(initial=0) / peak)).astype(np.float32)


def layer_shares(layers: Sequence[tuple[float, tuple[int, ...]]], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return how often a track plays each of `layers`, in its own way; the shares sum to 1."""
    shares = np.array([share for share, _ in layers]) * rng.gamma(1.5, 1, len(layers))
    # no track uses everything, and a track without hats must not grow them
    absent = {label for label in LABELS if rng.random() < ABSENT.get(label, 0.2)}
    shares *= [1 - 0.98 * any(GENERAL_MIDI.get(n) in absent for n in notes) for _, notes in layers]
    return np.asarray(shares / shares.sum())


def passage(
    library: KitLibrary,
    gaps: npt.NDArray[np.float64],
    hits: int,
    rng: np.random.Generator,
    *,
    singles: bool = False,
    choked: bool = False,
    varied: bool = False,
) -> Track:
    """Play `hits` random layers with a kit drawn from `library`.

    Parameters
    ----------
    library : KitLibrary
    gaps : float64 [n]
        Inter-onset times in seconds; a run of them is played.
    hits : int
    rng : Generator
    singles : bool
        Only one drum at a time.
    choked : bool
        Every onset stops what sounded before.
    varied : bool
        Bend the kit by `vary` and let it answer by `sympathy`; sometimes use sounds made by rule.
    """
    layers = [(share, notes) for share, notes in LAYERS if len(notes) == 1 or not singles]
    shares = layer_shares(layers, rng)
    notes = sorted({note for _, notes in layers for note in notes})
    if varied:
        maker = MAKERS[int(rng.integers(len(MAKERS)))] if rng.random() < MADE else None
        kit = vary(library.draw(rng, notes, made_percussion=rng.random() < MADE_PERCUSSION, made_by=maker), rng)
    else:
        kit = library.draw(rng, notes)
    # a run of gaps keeps the tempo of its performance
    start = int(rng.integers(max(1, len(gaps) - hits)))
    times = 0.2 + np.cumsum(np.resize(gaps[start : start + hits], hits))
    played: list[list[Hit]] = []
    for time, layer in zip(times, rng.choice(len(layers), hits, p=shares), strict=True):
        loud = float(np.clip(rng.beta(3, 1.5), 0.1, 1))
        played.append([])
        for number, note in enumerate(layers[layer][1]):
            late = rng.uniform(-SPREAD, SPREAD) if number else 0.0
            velocity = float(np.clip(loud + rng.normal(0, 0.12), 0.15, 1))
            if kit.plays(note):
                played[-1].append(Hit(float(time + late), note, velocity))
    seconds = float(times[-1]) + 1.0
    if choked:
        voices = _choked(kit, played, seconds, rng)
    else:
        voices = kit.render([hit for layer in played for hit in layer], seconds, rng)
    return _track(voices, [hit for layer in played for hit in layer], rng, varied)


def _track(voices: dict[str, F32], played: Sequence[Hit], rng: np.random.Generator, varied: bool = False) -> Track:
    labels = [Label(h.time, GENERAL_MIDI.get(h.note, OTHER), h.velocity) for h in audible(voices, played)]
    if varied:
        voices = sympathy(voices, rng)
    return Track(_normal(drum_bus(voices, RATE, rng)), [label for label in labels if label.label != OTHER])


def _choked(kit: Kit, layers: Sequence[Sequence[Hit]], seconds: float, rng: np.random.Generator) -> dict[str, F32]:
    """Play layers, each until the next begins."""
    length = int(seconds * RATE)
    starts = [round(layer[0].time * RATE) for layer in layers if layer]
    voices: dict[str, F32] = {}
    for start, stop, layer in zip(starts, [*starts[1:], length], filter(None, layers), strict=True):
        first = start / RATE
        hits = [hit._replace(time=max(0.0, hit.time - first)) for hit in layer]
        for voice, sound in kit.render(hits, (stop - start) / RATE, rng).items():
            track = voices.setdefault(voice, np.zeros(length, np.float32))
            track[start : start + len(sound)] = faded(sound)
    return voices


def faded(sound: F32) -> F32:
    """Return a sound whose last 3 ms fade to nothing."""
    fade = min(len(sound), int(0.003 * RATE))
    return sound * np.append(np.ones(len(sound) - fade), np.linspace(1, 0, fade)).astype(np.float32)


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


def drums_of(folder: Path, chunk: Chunk) -> Path:
    """Return the recording of a chunk's drums: the stem, or the mix where there is none."""
    return folder / (f"{chunk.name}.drums.flac" if "drums" in chunk.stems else f"{chunk.name}.flac")


def performance(folder: Path, chunk: Chunk) -> Track:
    """Read the drums of a labelled chunk."""
    drums = read_audio(drums_of(folder, chunk))
    return Track(_normal(drums), [x for x in read_labels(folder / f"{chunk.name}.tsv") if x.label != OTHER])


NOTES = {
    "kick": (36,),
    "snare": (38,),
    "hihat": (42, 42, 42, 46, 44),
    "tom": (41, 43, 45, 47, 48, 50),
    "cymbal": (51, 51, 49),
    OTHER: (37, 56, 54),
}
"""What a replay draws notes from, for each label."""


def replay(library: KitLibrary, labels: Iterable[Label], rng: np.random.Generator) -> Track:
    """Play the labels of a performance with a kit drawn from `library`."""
    kit = library.draw(rng, sorted({note for notes in NOTES.values() for note in notes}))
    hits = [Hit(label.time, int(rng.choice(NOTES[label.label])), label.velocity) for label in labels]
    hits = [hit for hit in hits if kit.plays(hit.note)]
    if not hits:
        raise ValueError("a performance without hits cannot be replayed")
    return _track(kit.render(hits, max(hit.time for hit in hits) + 1.0, rng), hits, rng)


def whole_kits(items: Iterable[Item]) -> list[list[Item]]:
    """Sort one-shots into kits that have a kick, a snare and a hat at least; the largest first.

    A source is a kit if it has those; if not, it joins the others of its pack (the name before the colon)
    that have not. What is no kit even so is dealt out to the kits, one sound after the other.
    """
    whole = _whole(items, lambda item: item.source)
    names = {item.source for kit in whole for item in kit}
    rest = [item for item in items if item.source not in names]
    whole += _whole(rest, lambda item: item.source.split(":")[0])
    placed = {item.path for kit in whole for item in kit}
    whole.sort(key=lambda kit: (-len(kit), kit[0].source))
    loose = [item for item in rest if item.path not in placed]
    if not whole:
        raise ValueError("the one-shots hold no whole kit: a kick, a snare and a hat from one source")
    for number, item in enumerate(loose):
        whole[number % len(whole)].append(item)
    return whole


def _whole(items: Iterable[Item], name: Callable[[Item], str]) -> list[list[Item]]:
    kits: dict[str, list[Item]] = {}
    for item in items:
        kits.setdefault(name(item), []).append(item)
    needed = {"kick", "snare", "hihat"}
    return [kit for kit in kits.values() if needed <= {ONE_SHOT.get(item.cls) for item in kit}]


def roll_call(kit: Sequence[Item], gaps: npt.NDArray[np.float64], rng: np.random.Generator) -> Track:
    """Play every one-shot of a kit once, in random order, each alone and stopped by the next.

    Labels hold all of them, other percussion too: their times are the onsets.
    """
    start = int(rng.integers(max(1, len(gaps) - len(kit))))
    apart = np.round(np.resize(gaps[start : start + len(kit)], len(kit)) * RATE).astype(int)
    level = {voice: db + rng.normal(0, 3.0) for voice, db in LEVEL_DB.items()}
    parts, labels, now = [np.zeros(int(0.2 * RATE), np.float32)], [], int(0.2 * RATE)
    for index, length in zip(rng.permutation(len(kit)), apart, strict=True):
        item = kit[index]
        velocity = float(np.clip(rng.beta(3, 1.5), 0.15, 1))
        part = np.zeros(length, np.float32)
        sound = one_shot(item.path, RATE)[:length]
        part[: len(sound)] = sound * np.float32(10 ** (level[item.cls] / 20) * velocity**1.5)
        parts.append(faded(part))
        labels.append(Label(now / RATE, ONE_SHOT[item.cls], velocity))
        now += length
    return Track(_normal(np.concatenate([*parts, np.zeros(RATE // 4, np.float32)])), labels)


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


def spoil(track: Track, music: Sequence[Path], rng: np.random.Generator) -> Track:
    """Degrade a track, and leak music into half of all tracks."""
    drums = degrade(track.drums, rng)
    if music and rng.random() < 0.5:
        other = np.resize(read_audio(music[int(rng.integers(len(music)))]), len(drums))
        drums = leak(drums, other, float(rng.uniform(-15, 6)), rng)
    return Track(drums, track.labels)


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
    if not count or rng is None or rng.random() < 0.7:
        yield slice(0, count)
        return
    size = int(rng.choice((1, 2, 4, 8)))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def cut(
    track: Track, spec: ShredSpec, rng: np.random.Generator | None = None, onsets: Sequence[float] | None = None
) -> ShredSet:
    """Cut a track into shreds, at its onsets or at those given; with `rng`, it may fall into short ones."""
    shreds = find_shreds(track.drums, spec, onsets=onsets)
    hit = targets(shreds.times, track.labels, spec.labels)
    parts = []
    for run in groups(len(shreds.times), rng):
        images, _ = as_images(shreds.windows[run], shreds.lasts[run], spec)
        lasts, gaps = shreds.lasts[run].astype(np.uint8), gap_features(shreds.times[run])
        parts.append(ShredSet(pack(images), lasts, gaps, hit[run], np.array([len(images)])))
    return join(parts)


def join(sets: Sequence[ShredSet]) -> ShredSet:
    """Put sets of shreds end to end."""
    arrays = ([getattr(part, name) for part in sets] for name in ("images", "lasts", "gaps", "hit"))
    images, lasts, gaps, hit = map(np.concatenate, arrays)
    starts = np.cumsum([0, *(len(part.lasts) for part in sets)])
    ends = np.concatenate([start + part.ends for start, part in zip(starts, sets, strict=False)])
    return ShredSet(images, lasts, gaps, hit, ends)
