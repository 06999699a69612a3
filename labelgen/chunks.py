"""The chunk: the one form in which labelled audio is kept, whatever its source.

A set of chunks is a folder. Each chunk is ``NAME.flac`` (mono) and ``NAME.tsv`` (header
``time label velocity``, seconds from the chunk's start, velocity 0..1) and, where the source knows
its parts, ``NAME.drums.flac`` and ``NAME.backing.flac``. ``manifest.jsonl`` holds one line of
provenance for each finished chunk and one for each unit of work that was refused; it is written last,
so what it does not name does not exist and is made again. ``data/README.md`` is the full description.

Contents
--------
MANIFEST, DOUBTED, NAMES, SILENT, LAYERED, Label, Chunk, ChunkWriter, Manifest, BusyError, as_chunk, chunks_of,
chunk_name, digest, of_source, read_labels, layered, write_labels, whole, remove_stale, remove_refused, among
"""

import fcntl
import io
import json
import math
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile as sf

from dance._version import __version__
from dance.labels import LABELS, OTHER

MANIFEST = "manifest.jsonl"
STALE = 24 * 3600  # seconds after which a half-written file of another machine counts as abandoned
SYNC = 1.0  # seconds between two times that the manifest is forced to the disk
Audio = npt.NDArray[np.float32]


DOUBTED = -99.0
"""Prominence of a hit of which nobody is sure; training passes over it."""
NAMES = (*LABELS, OTHER)
"""All labels that a hit may have."""
SILENT = 1e-4  # amplitude below which there is nothing to hear
LAYERED = 0.03  # seconds within which two samples of one drum, a clap on a snare, are one hit


class BusyError(RuntimeError):
    """Another run is writing to the same set."""


class Label(NamedTuple):
    """One drum hit.

    Attributes
    ----------
    time : float
        Seconds from the chunk's start.
    label : str
    velocity : float
        0..1.
    prominence : float
        dB over the other drums in the band where it stands out most, as `labelgen.prominence` measures it; infinite
        where nobody measured.
    """

    time: float
    label: str
    velocity: float
    prominence: float = math.inf


@dataclass(frozen=True, slots=True)
class Chunk:
    """Provenance of one chunk, a line of the manifest.

    Attributes
    ----------
    name : str
        File name without suffix, unique in the set.
    unit : str
        Unit of work that made it (a song and its variant); a unit is finished as a whole.
    source, song, licence : str
        Where it comes from and on what terms.
    method : str
        How labels and audio were made (the labelgen module and its choices).
    confidence : float
        Trust in the labels, 1 where they are exact.
    seconds : float
        Length of the audio.
    stems : tuple of str
        Parts kept beside the mix: ``drums``, ``backing``.
    seed : int
    split : str
        ``train`` or ``test``, as the material's manifest says, else empty.
    details : dict
        What else the method wants remembered: kit, soundfont, balance in dB.
    """

    name: str
    unit: str
    source: str
    song: str
    licence: str
    method: str
    confidence: float
    seconds: float
    stems: tuple[str, ...] = ()
    seed: int = 0
    split: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def digest(text: str) -> int:
    """Return a 64-bit number that stands for `text`, be it a file name in no valid encoding."""
    return int.from_bytes(blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest())


def of_source(unit: str, source: str) -> str:
    """Return a name for `unit` and what it was made from: songs of two libraries may have one name."""
    return f"{unit}\0{source}"


def chunk_name(key: str, *parts: object) -> str:
    """Return an ASCII file name for a song's chunk: readable, and unique however alike the names of songs are.

    Parameters
    ----------
    key : str
        The song's path in its library; any characters.
    *parts : object
        What tells the song's chunks apart (variant, number).
    """
    readable = re.sub("[^A-Za-z0-9]+", "-", Path(key).stem)[:40]
    return "-".join([readable, f"{digest(key):016x}", *map(str, parts)])


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a name to write to; the file is moved to `path` when it is complete and on the disk, or removed."""
    partial = path.with_name(f"{path.name}~{platform.node()}~{os.getpid()}.part")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_stale(folder: Path) -> int:
    """Remove what killed processes left half-written in `folder`; return the number of files."""
    removed = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".part") and _abandoned(entry):
                Path(entry.path).unlink(missing_ok=True)
                removed += 1
    return removed


def remove_refused(folder: Path, refused: npt.NDArray[np.uint64]) -> None:
    """Remove the chunks that units had before they were given up; `refused` has the `digest` of each, sorted."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if (found := re.search("-([0-9a-f]{16})-", entry.name)) and among(refused, int(found[1], 16)):
                Path(entry.path).unlink(missing_ok=True)


def among(digests: npt.NDArray[np.uint64], value: int) -> bool:
    """Return whether `value` is one of `digests`, which are sorted."""
    at = int(np.searchsorted(digests, np.uint64(value)))
    return at < len(digests) and int(digests[at]) == value


def _abandoned(entry: os.DirEntry[str]) -> bool:
    _, _, owner = entry.name.removesuffix(".part").partition("~")
    node, _, process = owner.rpartition("~")
    if node == platform.node() and process.isdecimal():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it lives and is somebody else's
            pass
        return False
    # whether a process of another machine lives cannot be asked
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE


def read_labels(path: Path, foreign: bool = False) -> list[Label]:
    """Read a label table (TSV with header ``time label velocity`` and perhaps ``prominence``), by time.

    Parameters
    ----------
    path : Path
    foreign : bool
        Whether there may be labels that are none of `dance.labels`, for those who say what becomes of them.

    Raises
    ------
    ValueError
        If it is none, or a line cannot be: with its number.
    """
    number = 0  # of the line, once the header is understood
    labels = []
    try:
        header, *rows = path.read_text(encoding="utf-8").splitlines()
        columns = header.split("\t")
        time, name, velocity = (columns.index(column) for column in Label._fields[:3])
        prominence = columns.index("prominence") if "prominence" in columns else None
        number = 1
        for row in rows:
            number += 1
            if not row:
                continue
            cells = row.split("\t")
            label = Label(float(cells[time]), cells[name], float(cells[velocity]))
            if not 0 <= label.time < math.inf:
                raise ValueError(f"not a time: {cells[time]}")
            if not 0 <= label.velocity <= 1:
                raise ValueError(f"not a velocity: {cells[velocity]}")
            if not foreign and label.label not in NAMES:
                raise ValueError(f"unknown label: {label.label}")
            labels.append(label if prominence is None else label._replace(prominence=float(cells[prominence])))
    except (ValueError, IndexError) as error:
        wrong = f"line {number}" if number else "not a label table with columns time, label, velocity"
        raise ValueError(f"{path}: {wrong} ({error})") from None
    return sorted(labels, key=lambda label: label.time)


def layered(labels: Sequence[Label]) -> list[Label]:
    """Return labels with those of one drum within `LAYERED` seconds of its last hit made one.

    It has the time of the first, and the velocity of the most prominent, or of the hardest if nobody measured.
    """
    hits: list[Label] = []
    last: dict[str, int] = {}
    for label in sorted(labels):
        place = last.get(label.label)
        if place is None or label.time - hits[place].time > LAYERED:
            last[label.label] = len(hits)
            hits.append(label)
        elif (label.prominence, label.velocity) > (hits[place].prominence, hits[place].velocity):
            hits[place] = label._replace(time=hits[place].time)
    return hits


def write_labels(path: Path, labels: Iterable[Label]) -> None:
    """Write a label table, sorted by time; prominence only if somebody measured it."""
    labels = sorted(labels)
    rows = [f"{x.time:.6f}\t{x.label}\t{x.velocity:.4f}" for x in labels]
    header = list(Label._fields[:3])
    if any(math.isfinite(x.prominence) for x in labels):
        header.append("prominence")
        rows = [f"{row}\t{x.prominence:.1f}" for row, x in zip(rows, labels, strict=True)]
    with whole(path) as partial:
        partial.write_text("\n".join(["\t".join(header), *rows]) + "\n", encoding="utf-8")


def _as_flac(samples: Audio, sample_rate: int) -> bytes:
    """Return what a FLAC file holds: why one cannot be written, as on a full disk, libsndfile keeps to itself."""
    memory = io.BytesIO()
    sf.write(memory, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return memory.getvalue()


class ChunkWriter:
    """Writes the files of chunks; each appears under its name only when it is whole.

    Parameters
    ----------
    folder : Path
        The set's folder; created if missing.
    sample_rate : int
    """

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.folder = folder
        self.sample_rate = sample_rate
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, audio: Mapping[str, Audio], labels: Iterable[Label]) -> None:
        """Write audio (``""`` is the mix, other keys are stems) and labels of chunk `name`."""
        for stem, samples in audio.items():
            with whole(self.folder / (f"{name}.{stem}.flac" if stem else f"{name}.flac")) as partial:
                partial.write_bytes(_as_flac(samples, self.sample_rate))
        write_labels(self.folder / f"{name}.tsv", labels)

    def write_drumless(self, name: str, audio: Audio, **about: Any) -> list[Chunk]:
        """Write music in which nothing is hit, of peak 1: all backing, no labels.

        Parameters
        ----------
        name : str
        audio : float32 [samples]
        **about
            What else is said of it: fields of `Chunk`.

        Returns
        -------
        list of Chunk
            One, or none of what is silent, which is not written.
        """
        peak = float(np.abs(audio).max(initial=0.0))
        if peak < SILENT:
            return []
        audio = (audio / peak).astype(np.float32)
        self.write(name, {"": audio, "backing": audio}, [])
        seconds = len(audio) / self.sample_rate
        return [Chunk(name=name, confidence=1.0, seconds=seconds, stems=("backing",), **about)]


class Manifest:
    """The list of finished chunks and refused units of a set; one process writes, any may read.

    The lines of one unit say how many they are (``parts``): a unit whose lines are not all there was being
    written when the process was killed. It does not exist, and the next writer cuts it off.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / MANIFEST
        self._repaired = False
        self._synced = 0.0

    def _units(self) -> Iterator[tuple[list[dict[str, Any]], int]]:
        """Yield the lines of each unit that is there as a whole, and where in the file they end."""
        if not self._path.exists():
            return
        lines: list[dict[str, Any]] = []
        end = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                end += len(line)
                if not line.endswith(b"\n"):
                    return
                try:
                    row = dict(json.loads(line))
                    if "refused" not in row:
                        as_chunk(row)
                    if lines and lines[0]["unit"] != row["unit"]:
                        lines = []
                except (ValueError, TypeError, KeyError):
                    raise ValueError(
                        f"{self._path}: line {number} is damaged; delete it, and what it named is made again"
                    ) from None
                lines.append(row)
                if len(lines) >= row.get("parts", 1):
                    yield lines, end
                    lines = []

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the lines as they are, one at a time; a line with ``refused`` names no chunk."""
        for lines, _ in self._units():
            yield from lines

    def chunks(self) -> list[Chunk]:
        """Return the finished chunks in the order they were finished."""
        return [as_chunk(row) for row in self.rows() if "refused" not in row]

    def refused(self) -> dict[str, str]:
        """Return the reason for each unit of work that gave nothing, then or at a later try."""
        reasons: dict[str, str] = {}
        for row in self.rows():
            if "refused" in row:
                reasons[row["unit"]] = row["refused"]
            else:
                reasons.pop(row["unit"], None)
        return reasons

    def digests(self, refused: bool = True) -> npt.NDArray[np.uint64]:
        """Return the `digest` of each unit that need not be done again, alone and `of_source`, sorted: 16 bytes a unit.

        Parameters
        ----------
        refused : bool
            Whether those count that gave nothing.
        """
        rows = (row for row in self.rows() if refused or "refused" not in row)
        names = (name for row in rows for name in (row["unit"], of_source(row["unit"], row.get("source", ""))))
        return np.unique(np.fromiter(map(digest, names), np.uint64))

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep other processes from writing to this set; all that was added is on the disk afterwards.

        Raises
        ------
        BusyError
            If one is writing already.
        """
        with self._path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(
                    f"another run is writing to {self.folder}; wait for it, or choose another --out"
                ) from None
            except OSError:  # a file system without locks: nothing to hold on to
                pass
            try:
                yield
            finally:
                os.fsync(file.fileno())

    def _append(self, rows: list[dict[str, Any]]) -> None:
        if not self._repaired and self._path.exists():
            end = max((end for _, end in self._units()), default=0)
            if end != self._path.stat().st_size:
                os.truncate(self._path, end)
        self._repaired = True
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
            file.flush()
            # every unit would cost more than many a unit; a line lost with the power is a unit made again
            if time.monotonic() - self._synced > SYNC:
                os.fsync(file.fileno())
                self._synced = time.monotonic()

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Record the chunks of one unit as finished."""
        chunks = list(chunks)
        parts = Counter(chunk.unit for chunk in chunks)
        self._append([{**asdict(chunk), "parts": parts[chunk.unit], "version": __version__} for chunk in chunks])

    def forget(self, units: Collection[str]) -> None:
        """Take out all that is said of `units`, so that they are made again, and remove their chunks."""
        gone = []
        with whole(self._path) as partial, partial.open("w", encoding="utf-8") as file:
            for row in self.rows():
                if row["unit"] not in units:
                    file.write(json.dumps(row) + "\n")
                elif "refused" not in row:
                    gone.append(row["name"])
        for path in (path for name in gone for path in self.folder.glob(f"{name}.*")):
            path.unlink()

    def refuse(self, unit: str, reason: str) -> None:
        """Record that `unit` cannot be used."""
        self._append([{"unit": unit, "refused": reason, "version": __version__}])


def chunks_of(folder: Path, advice: str = "make some with labelgen") -> list[Chunk]:
    """Return the chunks of a set in the order they were finished; raise ValueError, with advice, if there are none."""
    if not (chunks := Manifest(folder).chunks()):
        raise ValueError(f"{folder}: no chunks here; {advice}")
    return chunks


def as_chunk(row: Mapping[str, Any]) -> Chunk:
    """Return the chunk that a line of the manifest names."""
    fields = {key: value for key, value in row.items() if key in Chunk.__slots__}
    return Chunk(**{**fields, "stems": tuple(row.get("stems", ()))})
