"""Chunks as log-mel features in memory maps, and batches drawn and remixed from them without end.

Each set of chunks becomes, once, a folder of features inside it (``features/``, named by what they are made of and by
the state of its files): frames of all chunks end to end as float16 dB, made by the engine's own `LogMel`, one array for
drums and one for everything else, side by side, and one array of labels. A batch draws crops of drums and of backing,
from the same song or not, and `training.augment` mixes them.

Contents
--------
FeatureSet, load_features, file_states, chunk_features, UNKNOWN, Places, BLOCK, Batches
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info
from tqdm import tqdm

from dance.features import log_mel
from dance.spec import FeatureSpec
from labelgen.chunks import DOUBTED, LAYERED, Chunk, chunks_of, layered, read_labels, remove_stale, whole
from training.augment import FLOOR_DB, NEPER, Augment, remix
from training.sounds import read_sound

Half = npt.NDArray[np.float16]
Boldness = float | Sequence[float]


@dataclass(frozen=True)
class FeatureSet:
    """Features of a set of chunks; what lies in files is mapped again by a process that it is sent to.

    Attributes
    ----------
    drums, backing : memory map [frames, bands], float16 dB
        Frames with all drums (the mix, where a chunk has no stems) and without any; silence where a chunk
        lacks one of them.
    velocity : memory map [frames, labels], uint8
        Velocity * 255 in the frame during which a drum is hit, else 0.
    prominence : memory map [frames, labels], int8
        dB of that hit over the other drums (`labelgen.prominence`), 99 where nobody measured; -99 where the label
        is not known to be complete and no hit is labelled.
    parts : memory map [frames, 3], bool
        Where there are drums, where there is backing, and where what is taken for drums is a whole mix.
    """

    drums: Half
    backing: Half
    velocity: npt.NDArray[np.uint8]
    prominence: npt.NDArray[np.int8]
    parts: npt.NDArray[np.bool_]

    def __reduce__(self) -> tuple[Any, ...]:
        return _sent, ({part.name: _file_of(getattr(self, part.name)) for part in fields(self)},)


def _file_of(array: npt.NDArray[Any]) -> Any:
    """Return how to map an array that is all of a file, else the array itself."""
    file = getattr(array, "filename", None)
    if file is None or not array.flags.c_contiguous or Path(file).stat().st_size != array.nbytes:
        return array
    return file, array.dtype, "r", 0, array.shape


def _sent(parts: Mapping[str, Any]) -> FeatureSet:
    """Return the set whose parts are arrays, or what `_file_of` says of them."""
    return FeatureSet(**{name: np.memmap(*x) if isinstance(x, tuple) else x for name, x in parts.items()})


def load_features(folder: Path, spec: FeatureSpec, labels: Sequence[str]) -> FeatureSet:
    """Load the features of the set in `folder`, computing them if they are missing or stale."""
    chunks = sorted(chunks_of(folder), key=lambda chunk: chunk.name)
    parts = [part.name for part in fields(FeatureSet)]
    columns = {"parts": len(PARTS), "velocity": len(labels), "prominence": len(labels)}
    what = [(c.name, c.seconds, c.stems, c.details.get("complete"), _state(folder, c)) for c in chunks]
    kind, state = (
        hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
        for key in ([parts, PARTS, asdict(spec), list(labels), LAYERED], what)
    )
    cache = folder / "features" / f"{kind}-{state}"
    cache.mkdir(parents=True, exist_ok=True)
    remove_stale(cache)
    if not all((cache / name).exists() for name in parts):
        _compute(folder, chunks, spec, labels, cache)
        for old in cache.parent.glob(f"{kind}-*"):
            if old != cache:
                shutil.rmtree(old, ignore_errors=True)

    def array(name: str) -> npt.NDArray[np.generic]:
        flat = np.memmap(cache / name, _TYPES[name], mode="r")
        return flat.reshape(-1, columns.get(name, spec.bands))

    return FeatureSet(**{name: array(name) for name in parts})  # type: ignore[arg-type]


def _state(folder: Path, chunk: Chunk) -> list[tuple[int, int]]:
    """Return size and time of the files that features are made of."""
    sounds = [f"{chunk.name}.{stem}.flac" for stem in chunk.stems if stem in ("drums", "backing")]
    files = [folder / name for name in (f"{chunk.name}.tsv", *(sounds or [f"{chunk.name}.flac"]))]
    return file_states(files)


def file_states(files: Iterable[Path]) -> list[tuple[int, int]]:
    """Return size and time of files: where these have changed, what was made of the files is out of date."""
    return [(status.st_size, status.st_mtime_ns) for status in map(Path.stat, files)]


_TYPES = {"drums": np.float16, "backing": np.float16, "velocity": np.uint8, "prominence": np.int8, "parts": np.bool_}
PARTS = ("drums", "backing", "whole")
UNKNOWN, _CLEAR = int(DOUBTED), 99


def _frames(folder: Path, name: str, spec: FeatureSpec) -> Half:
    samples, rate = read_sound(folder / f"{name}.flac")
    return log_mel(samples, spec, rate).astype(np.float16)


def chunk_features(folder: Path, chunk: Chunk, spec: FeatureSpec, labels: Sequence[str]) -> FeatureSet:
    """Compute the features of one chunk."""
    stems = [stem for stem in ("drums", "backing") if stem in chunk.stems]
    frames = {stem: _frames(folder, f"{chunk.name}.{stem}", spec) for stem in stems}
    if not stems:
        frames["drums"] = _frames(folder, chunk.name, spec)
    count = max(map(len, frames.values()))
    if any(len(each) != count for each in frames.values()):
        raise ValueError(f"{folder}: the stems of {chunk.name} are not equally long; make the chunk again")
    velocity = np.zeros((count, len(labels)), np.uint8)
    prominence = np.full((count, len(labels)), _CLEAR, np.int8)
    if "complete" in chunk.details:  # some sources know the hits of some drums only
        prominence[:, [label not in chunk.details["complete"] for label in labels]] = UNKNOWN
    for label in layered(read_labels(folder / f"{chunk.name}.tsv")):
        frame = int(label.time / spec.hop_seconds)
        if label.label in labels and 0 <= frame < count:
            at = (frame, labels.index(label.label))
            level = round(float(np.clip(label.prominence, UNKNOWN, _CLEAR)))
            prominence[at] = max(prominence[at], level) if velocity[at] else level
            velocity[at] = max(velocity[at], round(max(label.velocity, 1 / 255) * 255))
    silence = np.full((count, spec.bands), 10 * np.log10(spec.floor), np.float16)
    parts = np.tile(np.array(["drums" in frames, "backing" in frames, not stems]), (count, 1))
    return FeatureSet(frames.get("drums", silence), frames.get("backing", silence), velocity, prominence, parts)


def _compute(folder: Path, chunks: Iterable[Chunk], spec: FeatureSpec, labels: Sequence[str], cache: Path) -> None:
    """Write the features of all chunks end to end, one chunk in memory at a time; other processes may do the same."""
    with ExitStack() as stack:
        files = {part: stack.enter_context(stack.enter_context(whole(cache / part)).open("wb")) for part in _TYPES}
        for chunk in tqdm(chunks, desc=f"features of {folder.name}", unit="chunk"):
            made = chunk_features(folder, chunk, spec, labels)
            for part, kind in _TYPES.items():
                getattr(made, part).astype(kind).tofile(files[part])


def _over(first: npt.NDArray[np.float32], second: Half, level: float) -> npt.NDArray[np.float32]:
    """Return the sum of two backings, the second so many dB above the first; both [time, bands], dB."""
    loudest = [float(np.quantile(backing.max(axis=1), 0.9)) for backing in (first, second)]
    if min(loudest) < _SILENT:
        return first
    gain = loudest[0] - loudest[1] + level
    return np.logaddexp(first * _NEPER, (second + np.float32(gain)) * _NEPER) / _NEPER


_SILENT, _NEPER = -80.0, np.float32(NEPER)


class Places:
    """`numpy.flatnonzero(flags)`, stored as runs.

    Parameters
    ----------
    flags : array [n], bool
    """

    def __init__(self, flags: npt.NDArray[np.bool_]) -> None:
        begins, ends = np.flatnonzero(np.diff(flags, prepend=False, append=False)).reshape(-1, 2).T
        self._until = np.cumsum(ends - begins)  # places up to the end of each run
        self._behind = ends - self._until

    def __len__(self) -> int:
        return int(self._until[-1]) if len(self._until) else 0

    def __getitem__(self, number: int) -> int:
        run = np.searchsorted(self._until, number, side="right")
        return number + int(self._behind[run])


BLOCK = 16
"""Crops drawn from one random generator: what a process can leave to another without changing its own."""


class Batches(IterableDataset[dict[str, torch.Tensor]]):
    """Endless remixes: `count` batches for an epoch, decided by `seed` and `epoch` alone.

    A batch is made of blocks of `BLOCK` crops. Of `world` processes that train together, each draws its own blocks
    of a common batch `world` times as large: together they see what one process with that batch would see. Several
    loading processes share the numbers of the batches.

    Parameters
    ----------
    sets : sequence of FeatureSet
        Drawn from in proportion to their length times `weights`.
    augment : Augment
    frames : int
        Length of a crop.
    batch : int
        Crops in a batch of one process; with several, a multiple of `BLOCK`.
    count : int
        Batches in an epoch.
    seed : int
    weights : sequence of float, optional
        Of each set.
    boldness : sequence of float or of sequences of float, optional
        Of each set's crops of drums, for all labels or for each (`training.config.TrainConfig`).
    louder_db : sequence of float, optional
        Of each set's drums (`training.config.TrainConfig`).

    Attributes
    ----------
    epoch : int
    rank, world : int
        Which of how many processes draws; set before the first batch.
    """

    def __init__(
        self,
        sets: Sequence[FeatureSet],
        augment: Augment,
        frames: int,
        batch: int,
        count: int,
        seed: int,
        weights: Sequence[float] | None = None,
        boldness: Sequence[Boldness] | None = None,
        louder_db: Sequence[float] | None = None,
    ) -> None:
        self.augment, self.frames, self.batch, self.count, self.seed = augment, frames, batch, count, seed
        self.epoch, self.rank, self.world = 0, 0, 1
        ones, zeros = [1.0] * len(sets), [0.0] * len(sets)
        given = zip(sets, weights or ones, boldness or ones, louder_db or zeros, strict=True)
        used = [each for each in given if len(each[0].drums) >= frames]
        self.sets = [s for s, *_ in used]
        # places where a crop begins and ends with drums, and those where it does with backing
        self.starts = [
            [Places(s.parts[: len(s.parts) - frames + 1, part] & s.parts[frames - 1 :, part]) for s in self.sets]
            for part in (0, 1)
        ]
        self.boldness = [np.broadcast_to(np.float32(b), (1, s.velocity.shape[1])) for s, _, b, _ in used]
        self.louder_db = [louder for *_, louder in used]
        amounts = np.array([[len(x) * w for x, (_, w, *_) in zip(starts, used, strict=True)]
                            for starts in self.starts], float)  # fmt: skip
        lacking = [part for part, amount in zip(PARTS, amounts, strict=False) if not amount.sum()]
        if lacking:
            raise ValueError(f"no set has {frames} frames that begin and end with {', or with '.join(lacking)}")
        self.shares = amounts / amounts.sum(axis=1, keepdims=True)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        loader = get_worker_info()
        first, stride = (loader.id, loader.num_workers) if loader else (0, 1)
        sizes = [min(BLOCK, self.batch * self.world - begin) for begin in range(0, self.batch * self.world, BLOCK)]
        for number in range(first, self.count, stride):
            blocks = [
                self._draw(sizes[block], np.random.default_rng([self.seed, self.epoch, number, block]))
                for block in range(self.rank, len(sizes), self.world)
            ]
            yield {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}

    def _draw(self, crops: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        drums, backings, velocities, prominences, boldness, louder = [], [], [], [], [], []
        for _ in range(crops):
            number, crop = self._crop(0, rng)
            source = self.sets[number]
            drums.append(source.drums[crop])
            velocities.append(source.velocity[crop])
            prominences.append(source.prominence[crop])
            boldness.append(self.boldness[number])
            louder.append(self.louder_db[number])
            if source.parts[crop.start, PARTS.index("whole")] and rng.random() < self.augment.plain:
                backings.append(np.full(drums[-1].shape, FLOOR_DB, np.float32))
                continue
            # half of the crops keep their own accompaniment: it plays in time with the drums
            if rng.random() >= 0.5 or not source.parts[[crop.start, crop.stop - 1], 1].all():
                number, crop = self._crop(1, rng)
            backing = self.sets[number].backing[crop].astype(np.float32)
            if rng.random() < self.augment.double:  # a singer over the band
                number, crop = self._crop(1, rng)
                backing = _over(backing, self.sets[number].backing[crop], rng.normal(0, 6))
            backings.append(backing)
        mixed = remix(
            torch.from_numpy(np.stack(drums).astype(np.float32)),
            torch.from_numpy(np.stack(backings)),
            torch.from_numpy(np.stack(velocities).astype(np.float32) / 255),
            torch.from_numpy(np.stack(prominences).astype(np.float32)),
            self.augment,
            rng,
            louder,
        )
        return mixed | {"boldness": torch.from_numpy(np.stack(boldness))}

    def _crop(self, part: int, rng: np.random.Generator) -> tuple[int, slice]:
        """Draw the number of a set and a crop of it that begins and ends with drums (part 0) or backing (part 1)."""
        number = int(rng.choice(len(self.sets), p=self.shares[part]))
        places = self.starts[part][number]
        start = places[int(rng.integers(len(places)))]
        return number, slice(start, start + self.frames)
