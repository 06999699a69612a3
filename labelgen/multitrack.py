"""Labelled chunks from multitrack productions: the separate tracks of a song tell what the mix hides.

A song is a folder whose recordings are its tracks, all of the same start and length. A track that holds
one drum alone labels itself: its onsets are that drum's hits (`labelgen.shreds` finds them, to the audible
attack), their loudness the velocity. Chunks have the song's own balance, and the drums and all the rest beside it.

Which track is what
-------------------
The file name tells, by the words of sample packs (`labelgen.packs`), unless ``--tracks`` does: a CSV with the
columns ``path class``, paths relative to the input folder. ``--list`` writes that table for all songs, to be
corrected: a drum under an unknown name would be taught as none.

================================ ===================================================================
class                            meaning
================================ ===================================================================
kick, snare, hihat, tom, cymbal  hits of that drum and nothing else (so do clap, hat_closed, hat_open,
                                 ride, crash and the other classes of sample packs)
other                            other percussion
several of them, as "kick snare" a mixed track of these
unsure                           perhaps drums, so no hit in it is named and nobody claims that it has none;
                                 "unsure kick tom" if it is perhaps these, and surely no other
mixed                            a mixed track of any drums: names with beat, break or groove, with two different
                                 drums, or with drums, kit, loop, tops, overhead or room and no drum
backing                          no drums: names with vox, bass, synth and the like, and all that no word explains
out                              left out of the song
================================ ===================================================================

Microphones around one drum kit hear each other: the tracks of a kit recorded so are all ``mixed``.

Mixed tracks
------------
What sounds in a mixed track is named by the shred classifier where it is sure, and where it is not nobody claims
that there is silence: a chunk in which such a track sounds lists in ``details["complete"]`` the drums that
the track cannot hold, and chunks are cut where it begins and ends. Onsets of a single drum that may as well be its
own ringing, or the second half of a flam, are labelled with a prominence of -99 dB, which training passes over too.
"""

import argparse
import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dance.commands.arguments import positive
from dance.labels import LABELS, ONE_SHOT, OTHER
from labelgen.attack import FRAME, attack_at, peaks_of, rises_of
from labelgen.chunks import DOUBTED, LAYERED, NAMES, Chunk, ChunkWriter, Label, chunk_name
from labelgen.files import BY_FFMPEG, MUSIC, find_files, regular_file
from labelgen.material import read_rows
from labelgen.packs import PAIRS, WORDS, class_of, words_of
from labelgen.prominence import prominence
from labelgen.recordings import LARGEST, LAST, RATE, SHORTEST, Recording, finite
from labelgen.shreds import RELEASED, ShredClassifier, Shreds, find_shreds, velocities
from labelgen.work import add_work_options, chunk_seconds, run_command

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

UNEVEN = 1.0
"""Seconds by which the lengths of a song's tracks may differ; codecs add some."""
RISE_DB = 2.0
"""Sensitivity of the search for onsets: low, since what does not stand out is dropped."""
LEAST_RISE_DB, STEP = 6.0, 0.02
"""Rise of a band, and seconds from all onsets found, from which on another may have been overlooked."""
CLEAR_DB = 9.0
"""Prominence over its own track's ringing from which an onset is a hit; from 0 dB on it may be one."""
APART, CLAP_APART = 0.045, 0.1
"""Seconds within which the lesser of two onsets may be part of the other; hands do not clap at once."""
BRIEF = 5.0
"""Seconds below which a chunk is not cut off because of a mixed track."""
NEAR = 0.3
"""Seconds within which a cut is moved."""
SURE = 0.9
"""Probability from which a hit in a mixed track is named."""
SILENT_DB, PAUSE = -60.0, 2.0
"""A track sounds from this level against its peak on, and in rests up to so many seconds."""
FAINT_DB = -50.0
"""A chunk's backing below this level against the song's is what codecs and rooms leave."""

MIXED, UNSURE, BACKING, OUT = "mixed", "unsure", "backing", "out"
DRUMS = frozenset(LABELS)
ALWAYS_MIXED = {"break", "beat", "breakbeat", "groove"}
DRUM_WORDS = ALWAYS_MIXED | {"drum", "kit", "drumkit"}
PERHAPS_MIXED = DRUM_WORDS | {"loop", "top", "overhead", "oh", "room"}
PITCHED = {
    *("vox", "bgvox", "vocal", "voice", "choir", "synth", "bass", "guitar", "piano", "key", "organ", "string", "brass"),
    *("lead", "pad", "pluck"),
}
"""Words (made singular) of names: several drums; drums; several if no drum is named; none, but for `DRUM_WORDS`."""


class Kind(NamedTuple):
    """What a track holds.

    Attributes
    ----------
    labels : frozenset of str
        Its drums; empty for a backing.
    cls : str
        As a name or a table says it.
    """

    labels: frozenset[str]
    cls: str

    @property
    def single(self) -> bool:
        """Whether onsets tell labels."""
        return len(self.labels) == 1 and not self.unsure

    @property
    def unsure(self) -> bool:
        """Whether nobody knows if its drums are there."""
        return self.cls.startswith(UNSURE)


def kind_of(text: str) -> Kind:
    """Return the kind that the `class` of a table means.

    Raises
    ------
    ValueError
        If it is none.
    """
    names = text.lower().split()
    if names in ([MIXED], [UNSURE]):
        return Kind(DRUMS, names[0])
    if len(names) == 1 and names[0] in (BACKING, OUT):
        return Kind(frozenset(), names[0])
    drums = names[1:] if names[:1] == [UNSURE] else names
    labels = frozenset(name if name in NAMES else ONE_SHOT.get(name, "") for name in drums)
    if not labels or "" in labels:
        known = ", ".join((*NAMES, MIXED, UNSURE, BACKING, OUT))
        raise ValueError(f"not a class of a track: {text!r}; there are {known}, or several drums such as 'kick snare'")
    return Kind(labels, " ".join(names))


def kind_by_name(stem: str) -> Kind:
    """Return what the name of a track tells about it."""
    words = words_of(stem)
    pairs = [pair for pair in pairwise(words) if pair in PAIRS]
    single = [word for word in words if not any(word in pair for pair in pairs)]
    plain = {word[:-1] if word.endswith("s") and not word.endswith("ss") else word for word in single}
    if plain & PITCHED and not plain & DRUM_WORDS:
        return kind_of(BACKING)
    classes = [PAIRS[pair] for pair in pairs] + [WORDS[w] for w in single if w in WORDS and w != "oh"]
    several = len({ONE_SHOT[cls] for cls in classes} - {OTHER}) > 1
    if several or plain & ALWAYS_MIXED or (not classes and plain & PERHAPS_MIXED):
        return kind_of(MIXED)
    return kind_of(class_of(stem) if classes else BACKING)


def read_tracks(path: Path) -> dict[str, Kind]:
    """Read a table of tracks: what each path, relative to the input folder, is.

    Raises
    ------
    ValueError
        If it is none.
    """
    kinds = {}
    for place, row in read_rows(path, ("path", "class")):
        try:
            kinds[row["path"]] = kind_of(row["class"])
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
    return kinds


@dataclass(frozen=True)
class Track:
    """One file of a song."""

    path: Path
    key: str
    kind: Kind


@dataclass(frozen=True)
class Song:
    """A folder of tracks."""

    key: str
    source: str
    tracks: tuple[Track, ...]


def find_songs(inputs: Sequence[Path], kinds: Mapping[str, Kind]) -> list[tuple[str, Song]]:
    """List the folders below `inputs` that hold recordings, with what their tracks are."""
    roots = [Path(os.path.abspath(root)) for root in inputs]  # noqa: PTH100 (links stay links)
    folders: dict[Path, list[Track]] = {}
    for key, path in find_files(inputs, MUSIC):
        folders.setdefault(path.parent, []).append(Track(path, key, kinds.get(key) or kind_by_name(path.stem)))
    songs = []
    for folder, tracks in folders.items():
        source = next((root.name for root in roots if folder.is_relative_to(root)), folder.name)
        key = os.path.dirname(tracks[0].key) or folder.name  # noqa: PTH120 (keys are text, perhaps in no encoding)
        songs.append((key, Song(key, source, tuple(tracks))))
    return songs


def read_track(path: Path, longest: float) -> F32:
    """Return a track as mono samples at `RATE`.

    Raises
    ------
    ValueError
        If it is no audio, or longer than `longest` seconds.
    """
    regular_file(path, LARGEST)
    if path.suffix.lower() not in BY_FFMPEG:
        recording = Recording(path, part=True)
        seconds = recording.seconds
        samples = recording.read(0.0, seconds) if seconds <= longest else np.empty(0, np.float32)
    else:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-i", f"file:{path}", "-map", "0:a:0"]
        command += ["-t", str(longest + 1), "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode or not done.stdout:
            told = done.stderr.decode(errors="replace").strip().splitlines() or ["no audio"]
            raise ValueError(f"not readable as audio ({told[-1]})")
        samples = finite(np.frombuffer(done.stdout, np.float32))
        seconds = len(samples) / RATE
    if seconds > longest:
        raise ValueError(f"more than {longest / 60:g} minutes long (--longest)")
    return samples


@dataclass(frozen=True)
class Hits:
    """The hits of one track.

    Attributes
    ----------
    shreds : Shreds
        Of all onsets kept; loudness in dB full scale.
    given : bool [n, labels]
        What each one is; columns as `NAMES`.
    trust : float64 [n, labels]
        How likely that is right.
    clear : bool [n]
        False where it may be no hit of its own.
    """

    shreds: Shreds
    given: npt.NDArray[np.bool_]
    trust: F64
    clear: npt.NDArray[np.bool_]


def hear(samples: F32, kind: Kind, classifier: ShredClassifier) -> Hits:
    """Find the hits of a track of one or of several drums."""
    shreds = find_shreds(samples, classifier.spec, RISE_DB)
    sure = shreds.times
    if kind.single:
        shreds = find_shreds(samples, classifier.spec, onsets=[*sure, *_overlooked(samples, sure)])
    peak = float(np.abs(samples).max(initial=0))
    shreds = replace(shreds, loudness=shreds.loudness + np.float32(20 * np.log10(max(peak, 1e-9))))
    trust = np.zeros((len(shreds.times), len(NAMES)))
    clear = np.ones(len(trust), bool)
    if kind.single:
        level, clear = stand_out(samples, shreds.times, CLAP_APART if "clap" in kind.cls else APART)
        clear &= np.isin(shreds.times, sure)
        trust[:, NAMES.index(next(iter(kind.labels)))] = np.where(clear, 1.0, 0.5) * (level >= 0)
        given = trust > 0
    else:
        known = classifier.spec.labels
        trust[:, [NAMES.index(label) for label in known]] = classifier.alone(shreds)
        given = (trust >= SURE) & np.array([label in kind.labels for label in NAMES])
    keep = given.any(axis=1)
    kept = Shreds(*(getattr(shreds, field.name)[keep] for field in fields(Shreds)))
    return Hits(kept, given[keep], trust[keep], clear[keep])


def stand_out(samples: F32, times: F64, apart: float = APART) -> tuple[F64, npt.NDArray[np.bool_]]:
    """Return the prominence of onsets in their own track in dB, and which ones are surely hits."""
    level = np.array(prominence({"own": samples}, [("own", time) for time in times], RATE))
    return level, (level >= CLEAR_DB) & ~_echoes(times, level, apart)


def _overlooked(samples: F32, known: F64) -> list[float]:
    """Return where the level rises although no onset is known there: flams, and what follows a hit out of silence."""
    rises = rises_of(iter(np.array_split(samples, max(1, len(samples) >> 19))))
    found: list[float] = []
    for band in ("mid", "high"):  # the low tone of a kick rises after its click
        for frame in peaks_of(rises.rise[band], LEAST_RISE_DB, STEP):
            time = attack_at(rises, frame * FRAME, (band,))
            if np.abs(np.append(known, found) - time).min(initial=1.0) > STEP:
                found.append(time)
    return found


def _echoes(times: F64, level: F64, apart: float) -> npt.NDArray[np.bool_]:
    """Return which onsets have a more prominent one within `apart` seconds."""
    first, last = np.searchsorted(times, times - apart), np.searchsorted(times, times + apart, "right")
    return np.array([level[a:b].max() > own for a, b, own in zip(first, last, level, strict=True)], bool)


def sounding(samples: F32) -> list[tuple[float, float]]:
    """Return begin and end, in seconds, of the stretches in which a track sounds."""
    size = RATE // 10
    padded = np.pad(np.abs(samples), (0, -len(samples) % size))
    loud = np.flatnonzero(padded.reshape(-1, size).max(axis=1) > padded.max(initial=0) * 10 ** (SILENT_DB / 20))
    parts = np.split(loud, np.flatnonzero(np.diff(loud) * size > PAUSE * RATE) + 1)
    return [(part[0] * size / RATE, (part[-1] + 1) * size / RATE) for part in parts if len(part)]


@dataclass(frozen=True)
class Found:
    """A hit of the song and how far it can be trusted."""

    label: Label
    trust: float


@dataclass(frozen=True)
class Reading:
    """A song read.

    Attributes
    ----------
    drums, backing : float32 [n]
        At `RATE`; they add up to the song.
    hits : list of Found
        By time.
    mixed : list of (float, float, frozenset of str)
        Begin and end of the stretches in which a mixed track sounds, and what it may hold.
    """

    drums: F32
    backing: F32
    hits: list[Found]
    mixed: list[tuple[float, float, frozenset[str]]]


def read_song(song: Song, classifier: ShredClassifier, longest: float) -> Reading:
    """Read all tracks of a song, one in memory at a time beside the sums of what belongs together.

    Raises
    ------
    ValueError
        If it has no track of drums, or its tracks are not those of one song, with the reason.
    """
    used = [track for track in song.tracks if track.kind.cls != OUT]
    if not any(track.kind.labels & DRUMS for track in used):
        raise ValueError(f"none of its {len(used)} tracks holds drums, by its name; say with --tracks which do")

    def read() -> Iterator[tuple[str, Kind, F32]]:
        for track in used:
            try:
                yield track.path.name, track.kind, read_track(track.path, longest)
            except (ValueError, OSError) as error:
                raise ValueError(f"{track.path.name}: {error}") from None

    return read_together(read(), classifier)


def read_together(tracks: Iterable[tuple[str, Kind, F32]], classifier: ShredClassifier) -> Reading:
    """Read a song from its tracks: the name of each, what it is, and its samples at `RATE`; they may be drawn lazily.

    Raises
    ------
    ValueError
        If the tracks are not those of one song.
    """
    sums: dict[frozenset[str], F32] = {}
    heard: list[tuple[frozenset[str], Hits]] = []
    mixed = []
    lengths: dict[str, int] = {}
    for name, kind, samples in tracks:
        lengths[name] = len(samples)
        group = kind.labels | {UNSURE} if kind.unsure else kind.labels  # no hit is measured against its own drum
        if kind.labels and not kind.unsure:
            heard.append((group, hear(samples, kind, classifier)))
        if kind.labels and not kind.single:
            mixed += [(begin, end, kind.labels) for begin, end in sounding(samples)]
        sums[group] = _plus(sums.get(group), samples)
    least, most = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    if lengths[most] - lengths[least] > UNEVEN * RATE:
        raise ValueError(
            f"{least} lasts {lengths[least] / RATE:.1f} s and {most} {lengths[most] / RATE:.1f} s: "
            "not the tracks of one song, or not exported from its start to its end"
        )
    backing = _plus(sums.pop(frozenset(), None), np.zeros(lengths[most], np.float32))
    sums = {labels: _plus(part, np.zeros(len(backing), np.float32)) for labels, part in sums.items()}
    drums = sum(sums.values(), np.zeros(len(backing), np.float32))
    hits = _merged(_found(heard, sums, drums, classifier))
    # a master is louder than its tracks allow: all go down together, so they still add up
    peak = np.float32(max(1.0, *(float(np.abs(part).max()) for part in (drums, backing, drums + backing))))
    return Reading(drums / peak, backing / peak, hits, mixed)


def _plus(total: F32 | None, samples: F32) -> F32:
    """Return a sum, as long as the longer of the two."""
    if total is None:
        return samples
    longer, shorter = (total, samples) if len(total) >= len(samples) else (samples, total)
    longer = longer.copy()
    longer[: len(shorter)] += shorter
    return longer


def _found(
    heard: Sequence[tuple[frozenset[str], Hits]],
    sums: Mapping[frozenset[str], F32],
    drums: F32,
    classifier: ShredClassifier,
) -> list[Found]:
    """Give the hits of all tracks their velocity, against the song's loud ones, and their prominence in it."""
    if not heard:
        return []
    joined = Shreds(*(np.concatenate([getattr(h.shreds, f.name) for _, h in heard]) for f in fields(Shreds)))
    given = np.concatenate([h.given for _, h in heard])
    velocity = velocities(joined, given, replace(classifier.spec, labels=NAMES))
    level = np.concatenate(
        [
            np.where(
                h.clear,
                prominence({"own": sums[labels], "rest": drums - sums[labels]},
                           [("own", time) for time in h.shreds.times], RATE),
                DOUBTED,
            )
            for labels, h in heard
        ]
    )  # fmt: skip
    trust = np.concatenate([h.trust for _, h in heard])
    return [
        Found(
            Label(float(joined.times[row]), NAMES[column], float(velocity[row, column]), float(level[row])),
            float(trust[row, column]),
        )
        for row, column in zip(*np.nonzero(given), strict=True)
    ]


def _merged(hits: Sequence[Found]) -> list[Found]:
    """Return hits by time; of layers, hits of one drum in several tracks at once, the loudest."""
    kept: list[Found] = []
    latest: dict[str, int] = {}
    for hit in sorted(hits, key=lambda hit: hit.label):
        before = latest.get(hit.label.label)
        if before is not None and hit.label.time - kept[before].label.time < LAYERED:
            if (hit.trust, hit.label.velocity) > (kept[before].trust, kept[before].label.velocity):
                kept[before] = hit
            continue
        latest[hit.label.label] = len(kept)
        kept.append(hit)
    return sorted(kept, key=lambda hit: hit.label)


def cuts(reading: Reading, longest: float) -> list[tuple[float, float]]:
    """Return begin and end of the chunks: cut where mixed tracks begin and end, then into equal parts; not on hits."""
    seconds = len(reading.drums) / RATE
    times = [hit.label.time for hit in reading.hits]
    edges = {0.0, seconds}
    for begin, end, labels in reading.mixed:
        # where other tracks leave the same open nothing changes
        if not labels <= _held(reading, begin - NEAR, begin - NEAR):
            edges.add(_calm(times, begin - NEAR, begin))
        if not labels <= _held(reading, end + NEAR, end + NEAR):
            edges.add(_calm(times, end, end + NEAR))
    kept = [0.0]
    for edge in sorted(edges):
        if edge - kept[-1] >= BRIEF and seconds - edge >= BRIEF:
            kept.append(edge)
    pieces = []
    for begin, end in pairwise([*kept, seconds]):
        bounds = np.linspace(begin, end, max(1, int(np.ceil((end - begin) / longest))) + 1)
        inner = [_calm(times, bound - NEAR / 2, bound + NEAR / 2) for bound in bounds[1:-1]]
        pieces += [(a, b) for a, b in pairwise([begin, *inner, end]) if b - a >= SHORTEST]
    return pieces


def _held(reading: Reading, begin: float, end: float) -> frozenset[str]:
    """Return what may sound between two moments without a label."""
    return frozenset[str]().union(*(labels for a, b, labels in reading.mixed if a < end and b > begin))


def _calm(times: Sequence[float], low: float, high: float) -> float:
    """Return the moment between two others that is farthest from all hits."""
    marks = np.array([low, *(time for time in times if low < time < high), high])
    at = int(np.diff(marks).argmax())
    return float(marks[at : at + 2].mean())


@dataclass(frozen=True)
class Options:
    """What a worker needs to know."""

    out: Path
    classifier: Path
    seconds: float
    longest: float
    licence: str
    stems: bool = True


def make_chunks(song: Song, options: Options) -> list[Chunk]:
    """Write the chunks of one song; raise ValueError with the reason if there are none."""
    reading = read_song(song, ShredClassifier(options.classifier), options.longest)
    tracks = [(track.path.name, track.kind) for track in song.tracks]
    return write_chunks(reading, song.key, song.source, tracks, options, "multitrack")


def write_chunks(
    reading: Reading, key: str, source: str, tracks: Iterable[tuple[str, Kind]], options: Options, method: str
) -> list[Chunk]:
    """Write the chunks of a song read; the arguments are what its manifest lines say.

    Raises
    ------
    ValueError
        If nothing is hit.
    """
    if not reading.hits:
        raise ValueError("its drum tracks are silent")
    writer = ChunkWriter(options.out, RATE)
    drums: dict[str, list[str]] = {}
    for name, kind in tracks:
        if kind.labels:
            drums.setdefault(kind.cls, []).append(name)
    faint = max(1e-4, float(np.abs(reading.backing).max()) * 10 ** (FAINT_DB / 20))
    chunks: list[Chunk] = []
    for begin, end in cuts(reading, options.seconds):
        span = slice(round(begin * RATE), round(end * RATE))
        inside = [hit for hit in reading.hits if begin <= hit.label.time < end - LAST]
        # where no hit is known the drums are left out: tails, and mixed tracks that nobody understood
        stems = {"drums": reading.drums[span]} if inside else {}
        if np.abs(reading.backing[span]).max() >= faint:
            stems["backing"] = reading.backing[span]
        if not stems:
            continue
        mix = sum(stems.values(), np.zeros(span.stop - span.start, np.float32))
        held = _held(reading, begin, end)
        details: dict[str, object] = {"start": round(begin, 3), "tracks": drums}
        if held and inside:
            details["complete"] = [label for label in LABELS if label not in held]
        name = chunk_name(key, f"{len(chunks):03d}")
        writer.write(
            name,
            {"": mix, **(stems if options.stems else {})},
            [h.label._replace(time=h.label.time - begin) for h in inside],
        )
        chunks.append(
            Chunk(
                name=name,
                unit=key,
                source=source,
                song=key,
                licence=options.licence,
                method=method,
                confidence=round(float(np.mean([hit.trust for hit in inside])), 3) if inside else 1.0,
                seconds=len(mix) / RATE,
                stems=tuple(stems) if options.stems else (),
                details=details,
            )
        )
    return chunks


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python labelgen/multitrack.py multitracks/ --list > tracks.csv\n"
        "  python labelgen/multitrack.py multitracks/ --tracks tracks.csv --licence CC0 --out data/chunks/stems\n",
    )
    add = result.add_argument
    add(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help="folders, at any depth, that hold the tracks of one song each",
    )
    add("--out", type=Path, default=Path("data/chunks/multitrack"), help="folder of the set (default: %(default)s)")
    add(
        "--tracks",
        type=Path,
        metavar="CSV",
        help="what tracks are, where their names do not say (columns: path class)",
    )
    add("--list", action="store_true", help="print that table for all tracks, as their names are understood, and exit")
    add("--classifier", type=Path, default=RELEASED, metavar="ONNX",
        help="shred classifier for mixed tracks, by training/train_shreds.py (default: the released one)")  # fmt: skip
    add("--seconds", type=chunk_seconds, default=30.0, help="longest chunk (default: %(default)s)")
    add("--longest", type=positive(float), default=15.0, metavar="MINUTES",
        help="refuse longer songs: a song is read into memory whole (default: %(default)s)")  # fmt: skip
    add("--licence", default="", help="terms of the recordings, kept with every chunk")
    add_work_options(result, limit=1800.0)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    wrong = next((f"no such folder: {path}" for path in args.inputs if not path.is_dir()), "")
    songs: list[tuple[str, Song]] = []
    try:
        if not wrong:
            kinds = read_tracks(args.tracks) if args.tracks else {}
            songs = find_songs(args.inputs, kinds)
            keys = {track.key for _, song in songs for track in song.tracks}
            unknown = sorted(set(kinds) - keys)
            wrong = f"{args.tracks}: no such track: {unknown[0]}" if unknown else ""
            ShredClassifier(args.classifier)  # here first: what is wrong with it is said once
    except (OSError, ValueError) as error:
        wrong = str(error)
    if not wrong and not songs:
        wrong = f"no recordings ({' '.join(MUSIC)}) in {args.inputs[0]}"
    if args.list and not wrong:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["path", "class"])
        table.writerows((track.key, track.kind.cls) for _, song in songs for track in song.tracks)
        sys.stdout.buffer.write(text.getvalue().encode("utf-8", "surrogateescape"))
        sys.stdout.flush()
        return 0
    packed = next((t.path for _, s in songs for t in s.tracks if t.path.suffix.lower() in BY_FFMPEG), None)
    if not wrong and packed and not shutil.which("ffmpeg"):
        wrong = f"{packed.name} needs ffmpeg to be read: apt-get install ffmpeg, or convert the tracks to FLAC"
    if wrong:
        print(f"labelgen: {wrong}", file=sys.stderr)
        return 2
    options = Options(args.out.absolute(), args.classifier.absolute(), args.seconds, 60 * args.longest, args.licence)
    return run_command(args, partial(make_chunks, options=options), songs, inputs=args.inputs)


if __name__ == "__main__":
    sys.exit(main())
