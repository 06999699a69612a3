"""Labelled chunks from songs labelled by hand: a MIDI file from a DAW or a label file beside each song.

``song.wav`` goes with ``song.mid`` (or ``.midi``), or with ``song.txt``, ``.tsv``, ``.csv`` or ``.lab``: Audacity's
label track, Sonic Visualiser's layers, or any lines of time and name, separated by tabs, semicolons, commas or spaces
(start and end times both: the start counts). MIDI notes are General MIDI unless ``--map`` says otherwise;
where no track is on the drum channel, all tracks count, as DAWs export drums on any. Names are those of
`dance.labels`, of MDB Drums, or what a sample pack would call the drum.

Where the labels lie in the song (`labelgen.align`: a constant offset and a linear drift, up to
``--offset`` and ``--drift``) is estimated from the audio, applied, and kept in ``details``; labels that do
not belong to the song are refused with the evidence. Labels are moved together, never one by one:
a hand knows better than a band-pass. Chunks reach from the first label to the last. Songs whose label file
has changed since they were made are made again.
"""

import argparse
import glob
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dance.commands.arguments import positive
from labelgen.align import Alignment, align
from labelgen.attack import FRAME, Rises, rises_of
from labelgen.chunks import MANIFEST, BusyError, Chunk, ChunkWriter, Label, Manifest, chunk_name
from labelgen.files import MUSIC, find_files, missing, regular_file
from labelgen.label_files import LARGEST_LIST, LISTS, LONGEST, MIDI, Mark, Names, read_map, read_marks
from labelgen.recordings import RATE, Recording
from labelgen.work import add_work_options, chunk_seconds, run_command

AS_IS = Alignment(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, np.nan, "")
AUDIBLE, UNEVEN, SHOWN = 0.005, 1e-4, 20  # seconds, seconds a second, and of how many songs it is said
LARGEST = 16 << 30  # bytes of a recording
EDGE = 0.25  # seconds of a chunk before the first label and after the last


@dataclass(frozen=True)
class Options:
    """What a worker needs to know."""

    out: Path
    seconds: float
    names: Names
    offset: float
    drift: float
    as_is: bool
    licence: str


class Song(NamedTuple):
    """A recording and its labels."""

    path: Path
    labels: Path | None
    key: str
    source: str


def make_chunks(song: Song, options: Options) -> list[Chunk]:
    """Write the chunks of one song.

    Raises
    ------
    ValueError
        If either file cannot be read, or they do not belong together, with the evidence.
    """
    if song.labels is None:
        raise ValueError(f"no labels beside it: {' or '.join(song.path.stem + s for s in (*MIDI, *LISTS))}")
    marks = read_marks(song.labels, options.names)
    regular_file(song.path, LARGEST)
    recording = Recording(song.path)
    if recording.seconds > LONGEST:
        raise ValueError(f"{recording.seconds / 3600:.1f} hours long; at most {LONGEST / 3600:g} are read")
    rises = rises_of(recording.blocks())
    found = AS_IS
    if not options.as_is:
        found = align([m.time for m in marks], [m.label for m in marks], rises, options.offset, options.drift)
    if found.refused:
        raise ValueError(f"{found.refused}; --as-is takes their times as they are")
    labels = place(marks, found, rises)
    if not labels:
        raise ValueError("no label lies within the recording")
    bounds = cuts([label.time for label in labels], recording.seconds, options.seconds)
    writer = ChunkWriter(options.out, RATE)
    chunks = []
    for start, stop in pairwise(bounds):
        name = chunk_name(song.key, f"{len(chunks):03d}")
        audio = recording.read(start, stop)
        inside = [x._replace(time=x.time - start) for x in labels if start <= x.time < stop]
        writer.write(name, {"": audio}, inside)
        chunks.append(
            Chunk(
                name=name,
                unit=song.key,
                source=song.source,
                song=song.key,
                licence=options.licence,
                method="manual",
                confidence=1.0,
                seconds=len(audio) / RATE,
                details={
                    "start": round(start, 3),
                    "labels": song.labels.name,
                    "labels_hash": fingerprint(song.labels),
                    "offset": round(found.offset, 5),
                    "drift": round(found.drift, 7),
                    "evidence": "taken as they are" if options.as_is else found.evidence(),
                    "rival_offset": None if np.isnan(found.rival) else round(found.rival, 3),
                },
            )
        )
    return chunks


def fingerprint(labels: Path) -> str:
    """Return a hash of the label file's contents."""
    regular_file(labels, LARGEST_LIST)
    return blake2b(labels.read_bytes(), digest_size=8).hexdigest()


def place(marks: Sequence[Mark], found: Alignment, rises: Rises) -> list[Label]:
    """Return marks as labels where they lie in the recording; loudness tells the velocity where no file does."""
    level = np.maximum.reduce([rises.level[band] - rises.level[band].max() for band in rises.level])
    labels = []
    for mark in marks:
        time = found.offset + (1 + found.drift) * mark.time
        if 0 <= time < rises.seconds:
            loud = float(level[min(round(time / FRAME), len(level) - 1)])
            labels.append(Label(time, mark.label, mark.velocity or float(np.clip(10 ** (loud / 40), 0.05, 1))))
    return sorted(labels)


def cuts(times: Sequence[float], seconds: float, longest: float) -> list[float]:
    """Return where to cut a song labelled at `times`: its ends, and the widest gaps near equal parts of it."""
    first, last = max(0.0, times[0] - EDGE), min(seconds, times[-1] + EDGE)
    count = max(1, int(np.ceil((last - first) / longest)))
    inner = []
    gaps = np.diff(times)
    middles = np.asarray(times[:-1]) + gaps / 2
    for bound in np.linspace(first, last, count + 1)[1:-1]:
        near = np.flatnonzero(np.abs(middles - bound) < longest / 10)
        inner.append(float(middles[near[gaps[near].argmax()]]) if len(near) else float(bound))
    return [first, *inner, last]


def find_songs(inputs: Sequence[Path], labels: Path | None = None) -> Iterator[tuple[str, Song]]:
    """List the recordings of `inputs` with the label file beside each, or with `labels`."""
    source = inputs[0].absolute().name if len(inputs) == 1 and inputs[0].is_dir() else ""
    for key, path in find_files(inputs, MUSIC):
        yield key, Song(path, labels or _beside(path), key, source or path.parent.name)


def _beside(path: Path) -> Path | None:
    """Return the label file of the same name, MIDI before lists, whatever the case of its suffix."""
    order = (*MIDI, *LISTS)
    found = [p for p in path.parent.glob(f"{glob.escape(path.stem)}.*") if p.suffix.lower() in order]
    return min(found, key=lambda p: (order.index(p.suffix.lower()), p.name), default=None)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python labelgen/manual.py album/ --out data/chunks/album\n"
        '  python labelgen/manual.py song.wav --labels drums.mid --map \'{"35": null, "37": "snare"}\'\n',
    )
    add = result.add_argument
    add("inputs", nargs="+", type=Path, metavar="SONG", help="recordings, or folders of them at any depth")
    add("--labels", type=Path, metavar="FILE", help="label file of the song, if only one is given")
    add("--out", type=Path, default=Path("data/chunks/manual"), help="folder of the set (default: %(default)s)")
    add("--map", default="{}", metavar="JSON", help="what notes or names mean where that differs from General "
        "MIDI and the usual names: JSON or a JSON file; null leaves a note out")  # fmt: skip
    add("--offset", type=positive(float), default=5.0, metavar="SECONDS", help="how early or late the labels may be "
        "at most (default: %(default)s)")  # fmt: skip
    add("--drift", type=positive(float), default=0.01, metavar="SHARE", help="how much the clocks may differ at most "
        "(default: %(default)s)")  # fmt: skip
    add("--as-is", action="store_true", help="take the labels' times as they are: for labels of the same "
        "session, or a corrected transcription")  # fmt: skip
    add("--seconds", type=chunk_seconds, default=30.0, help="longest chunk (default: %(default)s)")
    add("--licence", default="", help="terms of the recordings, kept with every chunk")
    add_work_options(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    named = [*args.inputs, *([args.labels] if args.labels else [])]
    wrong = missing(named)
    if args.labels and (len(args.inputs) != 1 or args.inputs[0].is_dir()):
        wrong = wrong or "--labels is for a single song; in a folder, a label file has the name of its song"
    if args.offset > 60 or args.drift > 0.03:
        wrong = wrong or "--offset must be at most 60 seconds, --drift at most 0.03"
    try:
        names = read_map(args.map)
    except ValueError as error:
        names, wrong = {}, wrong or str(error)
    jobs = [] if wrong else list(find_songs(args.inputs, args.labels))  # what hands have labelled fits in memory
    if not wrong and not jobs:
        wrong = f"no recordings ({' '.join(MUSIC)}) in {args.inputs[0]}"
    if wrong:
        print(f"labelgen: {wrong}", file=sys.stderr)
        return 2
    options = Options(args.out.absolute(), args.seconds, names, args.offset, args.drift, args.as_is, args.licence)
    try:
        forget_changed(args.out, jobs)
    except (BusyError, OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    code = run_command(args, partial(make_chunks, options=options), jobs, inputs=args.inputs, by_file=True)
    if code != 2:
        tell_moves(args.out, {key for key, _ in jobs})
    return code


def forget_changed(out: Path, songs: Iterable[tuple[str, Song]]) -> None:
    """Take songs out of a set whose label file is not what it was, so that they are made again."""
    manifest = Manifest(out)
    known = {c.unit: c.details.get("labels_hash") for c in manifest.chunks()}
    changed = set()
    for key, song in songs:
        with suppress(OSError, ValueError):  # what cannot be read has not changed
            if song.labels and known.get(key) and fingerprint(song.labels) != known[key]:
                changed.add(key)
    if changed:
        print(f"{len(changed)} songs are made again: their labels have changed", file=sys.stderr)
        with manifest.claim():
            manifest.forget(changed)


def tell_moves(out: Path, songs: Container[str]) -> None:
    """Say by how much labels were moved, where it can be heard."""
    moves = {
        c.song: (c.details["offset"], c.details["drift"])
        for c in Manifest(out).chunks()
        if c.song in songs and c.method == "manual"
    }
    far = [(song, *move) for song, move in sorted(moves.items()) if abs(move[0]) > AUDIBLE or abs(move[1]) > UNEVEN]
    for song, offset, drift in far[:SHOWN]:
        print(f"{song}: labels moved by {1000 * offset:+.0f} ms, and {1000 * drift:+.2f} ms a second", file=sys.stderr)
    if len(far) > SHOWN:
        print(f"and so on, {len(far)} songs in all; see `details` in {out / MANIFEST}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
