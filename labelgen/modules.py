"""Labelled chunks from tracker modules: produced songs whose every instrument can be heard alone.

A module holds its samples and its notes. libopenmpt plays it once for each instrument (each sample, in formats
that have no instruments) with all others mute, which gives the separate tracks of a production;
from there on all is as in `labelgen.multitrack`: a drum's hits are the onsets of its own track. The mix is the sum.

Which instrument is which drum
------------------------------
``--list`` writes what is understood, with the reasons, as a table to be corrected and given back as ``--tracks``
(columns ``path class``, a path being ``SONG#NUMBER``; classes as in `labelgen.multitrack`).

Names are greetings as often as names. One that says a drum is believed if the instrument is used like one (nearly
all its notes at one or two pitches, an onset for each note and none without) and the shred classifier does not
contradict. Without a name, sound and use have to leave no doubt: nearly every note a kick, snare, hi-hat or
cymbal to the classifier and nothing else, at one or two pitches, short, a kick a tone and the others noise, no
faster than drummers play. Toms are taken by name alone: basses sound like them. What is played at many
pitches, or sounds like no drum, is backing. All else is ``unsure``: it may be the drums it resembles,
so nobody claims that these are silent while it sounds. A song with more doubt than drums is refused.
"""

import argparse
import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dance.commands.arguments import positive
from dance.labels import LABELS
from labelgen.chunks import Chunk
from labelgen.files import find_files, missing, regular_file
from labelgen.multitrack import (
    BACKING,
    DRUMS,
    MIXED,
    OUT,
    PITCHED,
    RISE_DB,
    UNSURE,
    Kind,
    Options,
    kind_by_name,
    kind_of,
    read_together,
    read_tracks,
    stand_out,
    write_chunks,
)
from labelgen.openmpt import Module, Note, library
from labelgen.packs import words_of
from labelgen.recordings import RATE
from labelgen.shreds import RELEASED, ShredClassifier, find_shreds
from labelgen.work import add_work_options, chunk_seconds, run_command

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

SUFFIXES = (".mod", ".xm", ".it", ".s3m", ".mptm", ".stm", ".mtm", ".669", ".med", ".mo3", ".umx")
LARGEST = 64 << 20
"""Bytes of a module."""
SILENT = 1e-4
"""Amplitude below which an instrument is not heard."""
AMISS_DB = -20.0
"""Level of what the instruments alone do not add up to, against the song's, from which they are not its tracks."""

EARLY, LATE = 0.01, 0.1
"""Seconds before and after the beginning of a note's row in which its onset lies."""
OWN = 0.9
"""Share of an instrument's onsets that have a note of their own, and of notes at its two commonest pitches, from
which it is used like a drum."""
EFFECTS = {"scratch", "scrtch", "sfx", "fx", "noise", "explosion", "metal", "click"}
TONAL = PITCHED | {"horn", "flute", "harp", "bell", "chord", "accord", "stab", "hit", "orchestra", "wind", "sax"}
"""Words that forbid to take an instrument for a drum by its sound."""
REVERSED = {"reverse", "reversed", "rev", "backwards"}
"""Words of drums that are none."""
HINTS = {
    "kick": re.compile(r"kick|b(ass|ase)?[ .-]?dr|drum[ .-]?bass", re.IGNORECASE),
    "snare": re.compile(r"snar|clap|s[ .-]?drum", re.IGNORECASE),
    "hihat": re.compile(r"hat|hi-?h", re.IGNORECASE),
    "": re.compile(r"drum|cymb|crash|perc", re.IGNORECASE),
}
"""What in a name forbids to call an instrument a backing, and makes it a drum if the sound agrees."""
LOOP = 0.5
"""Share of onsets with a note of their own below which a sound is a loop."""
NAMED, CONTRARY = 0.2, 0.8
"""Mean probability of its drum below which, and of another from which, the sound contradicts a name."""
SURE = 0.9
"""The same from which a sound without a name is a drum, if every other is below `RIVAL`."""
RIVAL = 0.5
DOUBT = 3
"""Instruments that may be drums, for each that surely is one, beyond which a song is refused."""
LISTEN, NOTES = 40.0, 64
"""Seconds of an instrument, from its first sound on, and notes that are listened to to know it."""
FEWEST = 4
"""Hits from which that counts."""
PERHAPS, FAINT = 0.25, 0.05
"""The same from which any sound, and one that is surely some drum, may be that one."""
FEW, MANY = 3, 7
"""Pitches up to which an instrument may be a drum by its sound alone, and beyond which it plays a melody."""
SHORT = 0.45
"""Seconds in which a drum's hits fall by 20 dB, or are cut off."""
NOISE = 1000.0
"""Hertz that a hit fills from which it is noise and no tone."""
CLEAR = {
    "kick": (0.0, NOISE, 0.2),
    "snare": (NOISE, 6 * NOISE, 0.2),
    "hihat": (3 * NOISE, np.inf, 0.0),
    "cymbal": (2 * NOISE, np.inf, 0.5),
}
"""What can be known by its sound alone: hertz, from and to, that a hit fills, and seconds that most notes lie apart."""


# ----------------------------------------------------------------------------------------------------------------------
# which instrument is which drum


@dataclass(frozen=True)
class Use:
    """How an instrument is played and sounds.

    Attributes
    ----------
    hits : int
        Onsets that stand out.
    own : float
        Share of them that have a note of their own.
    pitches : int
        How many it is played at.
    common : float
        Share of the two commonest.
    length : float
        Seconds in which a hit falls by 20 dB or is cut off; median.
    apart : float
        Seconds between notes; median.
    breadth : float
        Bandwidth in hertz that its hits fill after the attack: small for tones; median.
    drums : dict of str to float
        Mean probability of each drum.
    kit : bool
        Whether notes at different pitches are different drums.
    """

    hits: int
    own: float
    pitches: int
    common: float
    length: float
    apart: float
    breadth: float
    drums: dict[str, float]
    kit: bool


def use_of(samples: F32, notes: Sequence[Note], classifier: ShredClassifier) -> Use:
    """Return how an instrument is used, from its track and its notes."""
    counts = Counter(note.pitch for note in notes).most_common()
    starts = np.unique([note.time for note in notes])
    first = max(0, int(np.argmax(np.abs(samples) > SILENT)) - RATE // 10)
    notes = [note._replace(time=note.time - first / RATE) for note in notes]
    notes = [note for note in notes if note.time > -LATE]
    seconds = min(LISTEN, notes[NOTES].time if len(notes) > NOTES else np.inf)
    samples = samples[first : first + round(seconds * RATE)]
    shreds = find_shreds(samples, classifier.spec, RISE_DB)
    _, clear = stand_out(samples, shreds.times)
    times = shreds.times[clear]
    chance = classifier.alone(shreds)[clear]
    rows = np.array([note.time for note in notes])
    last = np.searchsorted(rows, times + EARLY, "right") - 1
    own = (last >= 0) & (times - rows[last] < LATE) if len(rows) else np.zeros(len(times), bool)
    pitches = np.array([note.pitch for note in notes])
    groups = [chance[own & (pitches[last] == pitch)] for pitch, _ in counts] if len(rows) else []
    drums = {int(g.mean(axis=0).argmax()) for g in groups if len(g) > 2 and g.mean(axis=0).max() >= CONTRARY}
    return Use(
        len(times),
        float(own.mean()) if len(times) else 0.0,
        len(counts),
        sum(count for _, count in counts[:2]) / max(1, sum(count for _, count in counts)),
        _length(samples, times),
        float(np.median(np.diff(starts))) if len(starts) > 1 else np.inf,
        _breadth(samples, times),
        {
            label: float(column.mean()) if len(column) else 0.0
            for label, column in zip(classifier.spec.labels, chance.T, strict=True)
        },
        len(drums) > 1,
    )


def _length(samples: F32, times: F64) -> float:
    """Return the median of seconds in which hits fall by 20 dB, or until the next, at most 3."""
    size = RATE // 100
    level = np.sqrt(np.square(np.pad(samples, (0, -len(samples) % size))).reshape(-1, size).mean(axis=1))
    lengths = []
    for begin, end in zip(times, np.append(times[1:], len(samples) / RATE), strict=True):
        part = level[int(begin * 100) : min(int(end * 100), int(begin * 100) + 300)]
        if len(part):
            loudest = int(part.argmax())
            fallen = np.flatnonzero(part[loudest:] < 0.1 * part[loudest])
            lengths.append((loudest + fallen[0] if len(fallen) else len(part)) / 100)
    return float(np.median(lengths)) if lengths else 0.0


def _breadth(samples: F32, times: F64) -> float:
    """Return the median over hits of the bandwidth that their power above 200 Hz fills, in hertz: small for tones."""
    size = 2048
    padded = np.pad(samples, (0, 2 * size))
    starts = ((times + 0.01) * RATE).astype(int)  # the click of the attack is over
    if not len(starts):
        return 0.0
    spectra = np.fft.rfft(np.stack([padded[start : start + size] for start in starts]) * np.hanning(size))
    power = np.square(np.abs(spectra[:, size * 200 // RATE :])) + 1e-12
    share = power / power.sum(axis=1, keepdims=True)
    return float(np.median(np.exp(-(share * np.log(share)).sum(axis=1))) * RATE / size)


def judge(name: str, use: Use) -> tuple[str, str]:
    """Return the class of an instrument and, in words, why."""
    words = set(words_of(name))
    named = kind_by_name(name)
    hints = [label for label, hint in HINTS.items() if hint.search(name)]
    best = max(use.drums, key=use.drums.__getitem__)
    chance = use.drums[best]
    rivals = set(use.drums) - {best} - ({"hihat"} if best == "kick" else set())  # which the click of a kick resembles
    rival = max(use.drums[label] for label in rivals)
    played = use.own >= OWN
    unpitched = use.common >= OWN

    def unsure(why: str, least: float, *labels: str) -> tuple[str, str]:
        perhaps = [label for label in LABELS if label in labels or use.drums.get(label, 0.0) >= least]
        return " ".join([UNSURE, *perhaps]), why  # of none nobody knows anything

    if named.labels and REVERSED & words:
        return unsure("reversed, by its name", FAINT)
    if named.cls == MIXED and use.own < LOOP:
        return MIXED, "a loop, by its name"
    if named.single:
        [label] = named.labels
        like = use.drums.get(label, 0.0)
        if not played or not (unpitched or like >= CONTRARY or label == "tom"):
            return unsure("named so, but not used so", FAINT, label)
        if like < NAMED and chance >= CONTRARY:
            return unsure(f"named so, but sounds like {best}", FAINT, label)
        return named.cls, "name"
    if played and best in hints and chance >= CONTRARY:
        return best, "name and sound"
    if named.cls == MIXED or hints:
        return unsure("a drum, by its name", FAINT, *hints)
    if use.kit:
        return unsure("several drums", FAINT)
    drumlike = played and unpitched and use.pitches <= FEW and (use.length <= SHORT or best == "cymbal")
    narrow, broad, apart = CLEAR.get(best, (np.inf, np.inf, np.inf))
    fits = narrow <= use.breadth < broad and use.apart >= apart and use.hits >= FEWEST
    if drumlike and fits and chance >= SURE and rival < RIVAL and not (TONAL | EFFECTS) & words:
        return best, "sound"
    if drumlike and use.breadth >= NOISE:
        return unsure("short noise", FAINT)
    if use.pitches > MANY and not unpitched and chance < CONTRARY:
        return BACKING, "melodic"
    if chance < PERHAPS:
        return BACKING, "unlike drums"
    return unsure("doubt", PERHAPS)


# ----------------------------------------------------------------------------------------------------------------------
# songs


@dataclass(frozen=True)
class Song:
    """A file, and the classes that a table gives to its instruments, by number from 1."""

    key: str
    source: str
    path: Path
    table: dict[int, Kind]


@dataclass(frozen=True)
class Instrument:
    """An instrument that sounds: its number from 1, what it is and why, and its track."""

    number: int
    name: str
    kind: Kind
    why: str
    samples: F32


def find_songs(inputs: Sequence[Path], kinds: Mapping[str, Kind]) -> list[tuple[str, Song]]:
    """List the modules below `inputs`, with what a table says about their instruments."""
    roots = [path.absolute() for path in inputs]
    tables: dict[str, dict[int, Kind]] = {}
    for key, kind in kinds.items():
        song, _, number = key.rpartition("#")
        if not number.isdecimal():
            raise ValueError(f"not an instrument of a song (SONG#NUMBER): {key}")
        tables.setdefault(song, {})[int(number)] = kind
    songs = []
    for key, path in find_files(inputs, SUFFIXES):
        source = next((root.name for root in roots if root.is_dir() and path.is_relative_to(root)), path.parent.name)
        songs.append((key, Song(key, source, path, tables.pop(key, {}))))
    if tables:
        raise ValueError(f"no such song: {min(tables)}")
    return songs


def read_instruments(
    song: Song, classifier: ShredClassifier, longest: float, first: float = np.inf
) -> list[Instrument]:
    """Play each instrument of a module alone, the `first` seconds, and say what it is.

    Raises
    ------
    ValueError
        If it cannot be read, is longer than `longest` seconds, or is not the sum of its instruments.
    """
    regular_file(song.path, LARGEST)
    data = song.path.read_bytes()
    with Module(data, longest=first) as module:
        if module.whole > longest:
            raise ValueError(f"more than {longest / 60:g} minutes long (--longest)")
        names = module.names()
        whole, notes = module.play_notes()
    instruments = []
    rest = whole.copy()
    for number, (name, played) in enumerate(zip(names, notes, strict=True), 1):
        with Module(data, {number - 1}, first) as module:
            samples = np.concatenate([np.empty(0, np.float32), *module.play()])
        if np.abs(samples).max(initial=0) < SILENT:
            continue
        rest -= samples
        cls, why = judge(name, use_of(samples, played, classifier))
        kind = song.table.get(number)
        instruments.append(Instrument(number, name, kind or kind_of(cls), "table" if kind else why, samples))
    if np.square(rest).sum() > 10 ** (AMISS_DB / 10) * np.square(whole).sum():
        raise ValueError("its instruments, played one by one, do not add up to the song")
    return instruments


def make_chunks(song: Song, options: Options, first: float = np.inf) -> list[Chunk]:
    """Write the chunks of one module, of its `first` seconds; raise ValueError with the reason if there are none."""
    classifier = ShredClassifier(options.classifier)
    instruments = [i for i in read_instruments(song, classifier, options.longest, first) if i.kind.cls != OUT]
    sure = sum(1 for i in instruments if i.kind.single and i.kind.labels <= DRUMS)
    doubtful = sum(1 for i in instruments if i.kind.labels and not i.kind.single)
    if doubtful > DOUBT * sure:
        raise ValueError(f"{sure} of its {len(instruments)} instruments are surely drums, {doubtful} may be (--tracks)")
    if not sure:
        raise ValueError(f"none of its {len(instruments)} instruments is a drum")
    tracks = [(f"{instrument.number} {instrument.name}", instrument.kind) for instrument in instruments]
    together = ((name, kind, i.samples) for (name, kind), i in zip(tracks, instruments, strict=True))
    reading = read_together(together, classifier)
    return write_chunks(reading, song.key, song.source, tracks, options, "modules")


def list_instruments(songs: Sequence[tuple[str, Song]], classifier: ShredClassifier, longest: float) -> str:
    """Return a table (CSV) of the instruments of all songs."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "class", "name", "why"])
    for key, song in songs:
        try:
            for instrument in read_instruments(song, classifier, longest):
                table.writerow([f"{key}#{instrument.number}", instrument.kind.cls, instrument.name, instrument.why])
        except (ValueError, OSError) as error:
            print(f"refused {key}: {error}", file=sys.stderr)
    return text.getvalue()


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python labelgen/modules.py modules/ --list > tracks.csv\n"
        "  python labelgen/modules.py modules/ --tracks tracks.csv --licence CC0 --out data/chunks/modules\n",
    )
    add = result.add_argument
    add("inputs", nargs="+", type=Path, metavar="INPUT", help="modules, or folders with modules at any depth")
    add("--out", type=Path, default=Path("data/chunks/modules"), help="folder of the set (default: %(default)s)")
    add("--stems", action="store_true", help="keep the drums, and everything else, beside the mix")
    add("--tracks", type=Path, metavar="CSV", help="what instruments are (columns: path class)")
    add("--list", action="store_true", help="print that table for all instruments, as they are understood, and exit")
    add("--classifier", type=Path, default=RELEASED, metavar="ONNX",
        help="the shred classifier, which knows drums by their sound; made by training/train_shreds.py (default: the "
        "released one)")  # fmt: skip
    add("--seconds", type=chunk_seconds, default=30.0, help="longest chunk (default: %(default)s)")
    add("--longest", type=positive(float), default=15.0, metavar="MINUTES",
        help="refuse longer songs: a song is read into memory whole (default: %(default)s)")  # fmt: skip
    add("--first", type=positive(float), default=np.inf, metavar="MINUTES",
        help="label only this much of each song, since modules repeat themselves (default: all)")  # fmt: skip
    add("--licence", default="", help="terms of the songs, kept with every chunk")
    add_work_options(result, limit=1800.0)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    wrong = missing(args.inputs)
    songs: list[tuple[str, Song]] = []
    try:
        if not wrong:
            songs = find_songs(args.inputs, read_tracks(args.tracks) if args.tracks else {})
            library()  # here first: what is missing is said once
            classifier = ShredClassifier(args.classifier)
    except (OSError, ValueError) as error:
        wrong = str(error)
    if not wrong and not songs:
        wrong = f"no modules ({' '.join(SUFFIXES)}) in {args.inputs[0]}"
    if wrong:
        print(f"labelgen: {wrong}", file=sys.stderr)
        return 2
    if args.list:
        try:
            table = list_instruments(songs, classifier, 60 * args.longest)
        except KeyboardInterrupt:
            return 130
        sys.stdout.buffer.write(table.encode("utf-8", "surrogateescape"))
        sys.stdout.flush()
        return 0
    options = Options(
        args.out.absolute(), args.classifier.absolute(), args.seconds, 60 * args.longest, args.licence, args.stems
    )
    make = partial(make_chunks, options=options, first=60 * args.first)
    return run_command(args, make, songs, inputs=args.inputs, by_file=True)


if __name__ == "__main__":
    sys.exit(main())
