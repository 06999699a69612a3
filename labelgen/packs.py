"""Sample packs of any kind as a manifest of one-shots: the class is read from folder and file names.

A name is split into words (at anything that is no letter, at digits, at capitals inside a word). The file
name decides; if it says nothing, the nearest folder that does. Words are looked up in `WORDS` and pairs of
neighbouring words in `PAIRS`, pairs first, words of two letters last; of several that match, the one
with the highest `RANK` wins, so "snare side stick" is a rim and "kick OH" a kick. What no word explains
is listed and left out, and so are loops: names with a tempo ("120bpm") or the word loop, fill, break,
beat or groove, and files longer than ``--longest``.

The manifest (CSV: path class source licence split) serves ``labelgen/midi.py --oneshots`` and
``training/train_shreds.py --oneshots``. `source` is the pack, a folder directly below the one given; the
split is drawn per pack, never per file: kits of ``test`` are never heard in training. Packs copy from one
another, so a sound that is in a manifest of ``--apart`` already is left out here, whatever its name.
"""

import argparse
import csv
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile as sf

from dance.commands.arguments import chance, positive
from labelgen.chunks import digest, whole
from labelgen.files import RECORDINGS, cause
from labelgen.kits import one_shot
from labelgen.material import Item, read_manifest
from labelgen.recordings import RATE

PAIRS: dict[tuple[str, str], str] = {
    **dict.fromkeys(
        [("bass", "drum"), ("base", "drum"), ("kick", "drum"), ("bass", "dr")],
        "kick",
    ),
    **dict.fromkeys([("snare", "drum"), ("snare", "rim"), ("rim", "shot")], "snare"),
    **dict.fromkeys([("hand", "clap"), ("clap", "snare")], "clap"),
    **dict.fromkeys([("side", "stick"), ("cross", "stick"), ("rim", "click"), ("stick", "click")], "rim"),
    **dict.fromkeys(
        [("closed", "hat"), ("closed", "hihat"), ("closed", "hh"), ("hat", "closed"), ("hihat", "closed"),
         ("hh", "closed"), ("hat", "cl"), ("hihat", "cl"), ("hat", "tight"), ("hh", "c"), ("hat", "c"),
         ("cymbal", "closed")],
        "hat_closed",
    ),
    **dict.fromkeys(
        [("open", "hat"), ("open", "hihat"), ("open", "hh"), ("hat", "open"), ("hihat", "open"), ("hh", "open"),
         ("hat", "op"), ("hihat", "op"), ("hat", "half"), ("hh", "o"), ("hat", "o"), ("half", "open"),
         ("cymbal", "open")],
        "hat_open",
    ),
    **dict.fromkeys(
        [("pedal", "hat"), ("pedal", "hihat"), ("hat", "pedal"), ("hihat", "pedal"), ("hh", "pedal"),
         ("foot", "hat"), ("hat", "foot"), ("hh", "foot"), ("hat", "chick"), ("hh", "p"), ("cymbal", "pedal")],
        "hat_pedal",
    ),
    **dict.fromkeys([("floor", "tom"), ("rack", "tom"), ("low", "tom"), ("mid", "tom"), ("hi", "tom")], "tom"),
    ("ride", "bell"): "ride",
    ("cow", "bell"): "perc",
    ("finger", "snap"): "perc",
    ("wood", "block"): "perc",
    ("ride", "crash"): "ride",
    ("crash", "ride"): "ride",
}  # fmt: skip
"""Class of two neighbouring words (plural and singular alike)."""

WORDS: dict[str, str] = {
    **dict.fromkeys(["kick", "kik", "kck", "bd", "bassdrum", "kd", "kickdrum", "kdrum"], "kick"),
    **dict.fromkeys(["snare", "snr", "sd", "sn", "snaredrum", "rimshot", "caixa"], "snare"),
    **dict.fromkeys(["clap", "clp", "cp", "handclap"], "clap"),
    **dict.fromkeys(["closedhat", "hihatclosed", "chh", "hhc", "hatc", "closedhh", "clhat", "hc", "ch"], "hat_closed"),
    **dict.fromkeys(["openhat", "hihatopen", "ohh", "hho", "hato", "openhh", "ophat", "ho", "oh"], "hat_open"),
    **dict.fromkeys(["pedalhat", "hihatpedal", "phh", "hhp", "hhf", "hf"], "hat_pedal"),
    **dict.fromkeys(["hat", "hihat", "hh", "highhat"], "hat_closed"),
    **dict.fromkeys(["tom", "toms", "tomtom", "lt", "mt", "ht", "ft", "floortom"], "tom"),
    **dict.fromkeys(["crash", "crsh"], "crash"),
    **dict.fromkeys(["ride", "rd"], "ride"),
    **dict.fromkeys(["cymbal", "cymb", "cym", "cy", "china", "splash"], "cymbal"),
    **dict.fromkeys(["rim", "sidestick", "xstick", "rs", "rimclick"], "rim"),
    **dict.fromkeys(
        ["perc", "percussion", "shaker", "shake", "tambourine", "tamb", "cowbell", "conga", "bongo", "clave", "claves",
         "woodblock", "triangle", "maraca", "maracas", "cabasa", "guiro", "agogo", "timbale", "timbales", "djembe",
         "tabla", "cajon", "block", "bell", "vibraslap", "whistle", "cuica", "surdo", "snap", "stick", "sticks", "cb",
         "ma"],
        "perc",
    ),
}  # fmt: skip
"""Class of one word."""

RANK = ("rim", "hat_pedal", "hat_open", "ride", "hat_closed", "crash", "cymbal", "tom", "clap", "snare", "kick", "perc")
"""Of several classes in one name the first here wins: the rarer word says more."""

LOOP = re.compile(r"loop|fill|break|beat|groove|\d{2,3}[ _-]?bpm", re.IGNORECASE)
LONGEST = 6.0

HEAD = 8192
"""Samples from the attack on by which two sounds are compared."""
ALIKE = 0.9
"""Greatest correlation of the beginnings of two sounds that are not copies of each other."""


class Novelty:
    """Tells copies from new sounds: gain, leading silence and the end of a sound do not matter, its pitch does."""

    def __init__(self) -> None:
        self._known: dict[int, list[npt.NDArray[np.complex64]]] = defaultdict(list)

    def add(self, sound: npt.NDArray[np.float32]) -> bool:
        """Remember a sound [n] at `RATE` that begins with its attack; return whether it was new."""
        head = sound[:HEAD] / np.sqrt(np.sum(sound[:HEAD] ** 2) + 1e-12)
        spectrum = np.fft.rfft(head, 2 * HEAD).astype(np.complex64)
        # a copy has its energy where the original has it: only neighbours have to be compared
        power = np.abs(spectrum) ** 2
        place = round(4 * float(np.log2(1 + power @ np.arange(len(power)) / power.sum())))
        near = [other for k in (place - 1, place, place + 1) for other in self._known[k]]
        for start in range(0, len(near), 256):
            shifted = np.fft.irfft(np.conj(spectrum) * np.stack(near[start : start + 256]), axis=1)
            if shifted.max() > ALIKE:
                return False
        self._known[place].append(spectrum)
        return True

    @classmethod
    def of(cls, manifests: Iterable[Path]) -> "Novelty":
        """Return one that knows the one-shots of `manifests`."""
        result = cls()
        for path in manifests:
            for item in (item for item in read_manifest(path) if not item.cls.startswith("midi")):
                if not item.path.is_file():
                    raise ValueError(f"{path}: there is no {item.path}")
                result.add(one_shot(item.path, RATE))
        return result


class Sample(NamedTuple):
    """One file of a pack and what it is; an empty `cls` and the `reason` where that is not known."""

    path: Path
    pack: str
    cls: str
    reason: str


def words_of(name: str) -> list[str]:
    """Split a name into lower-case words, plurals made singular."""
    name = re.sub(r"hi[ _-]?hat|high[ _-]?hat", "Hihat", name, flags=re.IGNORECASE)
    name = re.sub(r"(?<![A-Za-z])HH(?=[a-z])", "HH ", name)
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return [p[:-1] if p.endswith("s") and len(p) > 3 and p[:-1] in WORDS else p for p in map(str.lower, parts)]


def class_of(name: str) -> str:
    """Return the class that a file's or folder's name tells, or nothing."""
    words = words_of(name)
    pairs = [PAIRS[pair] for pair in pairwise(words) if pair in PAIRS]
    known = [word for word in words if word in WORDS]
    # two letters are often something else: OH is an open hat, or an overhead microphone
    found = pairs or [WORDS[w] for w in known if len(w) > 2] or [WORDS[w] for w in known]
    return min(found, key=RANK.index) if found else ""


def read_packs(root: Path, longest: float = LONGEST) -> Iterator[Sample]:
    """Yield every audio file below `root` (links to folders are not followed), sorted by path."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.suffix.lower() not in RECORDINGS or name.startswith("."):
                continue
            inner = path.relative_to(root)
            pack = inner.parts[0] if len(inner.parts) > 1 else root.resolve().name
            if LOOP.search(path.stem):
                yield Sample(path, pack, "", "a loop, by its name")
                continue
            # from the file outwards; the pack's own name ("808 Snares Vol. 2") only if nothing else tells
            told = (class_of(part) for part in [path.stem, *reversed(inner.parts[:-1])])
            cls = next(filter(None, told), "")
            reason = "" if cls else "no known word in its name"
            try:
                about = sf.info(os.fsencode(path))
                if about.duration > longest:
                    cls, reason = "", f"{about.duration:.1f} s long, more than --longest"
                elif not about.frames:
                    cls, reason = "", "no samples"
            except (sf.LibsndfileError, OSError) as error:
                cls, reason = "", f"not readable as audio ({cause(error)})"
            yield Sample(path, pack, cls, reason)


def without_copies(samples: Iterable[Sample], novelty: Novelty) -> Iterator[Sample]:
    """Give copies a reason instead of a class."""
    for sample in samples:
        try:
            fresh = not sample.cls or novelty.add(one_shot(sample.path, RATE))
        except ValueError as error:
            yield sample._replace(cls="", reason=str(error))
            continue
        yield sample if fresh else sample._replace(cls="", reason="a copy of a sound that is there already")


def write_manifest(items: Iterable[Item], out: Path) -> None:
    """Write the manifest `out`; there is never half a file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole(out) as partial, partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "class", "source", "licence", "split"])
        for item in items:
            # relative where it can be: the manifest and its packs may move together
            writer.writerow([os.path.relpath(item.path, out.parent), item.cls, item.source, item.licence, item.split])


def split_of(pack: str, share: float) -> str:
    """Return ``test`` for about `share` of all packs, always the same ones, else ``train``."""
    return "test" if digest(pack) % 1000 < 1000 * share else "train"


def add_apart(parser: argparse.ArgumentParser) -> None:
    """Add ``--apart``, the manifests for `Novelty.of`."""
    parser.add_argument("--apart", nargs="*", type=Path, default=[], metavar="CSV",
        help="leave out sounds that these manifests already hold")  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python labelgen/packs.py ~/samples --out packs.csv --licence CC0",
    )
    add = result.add_argument
    add("folder", type=Path, help="folder of sample packs, one folder each")
    add("--out", type=Path, default=Path("packs.csv"), help="manifest to write (default: %(default)s)")
    add("--licence", default="", help="terms of these packs, written into every line")
    add(
        "--test",
        type=chance,
        default=0.15,
        metavar="SHARE",
        help="share of the packs for the split test (default: %(default)s)",
    )
    add(
        "--longest",
        type=positive(float),
        default=LONGEST,
        metavar="SECONDS",
        help="leave out longer files (default: %(default)s)",
    )
    add_apart(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    if not args.folder.is_dir():
        print(f"labelgen: no such folder: {args.folder}", file=sys.stderr)
        return 2
    try:
        samples = list(read_packs(args.folder, args.longest))
        if args.apart:
            samples = list(without_copies(samples, Novelty.of(args.apart)))
        known = [sample for sample in samples if sample.cls]
        for sample in samples:
            if not sample.cls:
                print(f"left out {sample.path}: {sample.reason}", file=sys.stderr)
        if not known:
            raise ValueError(f"no one-shots in {args.folder}")
        items = (Item(x.path, x.cls, x.pack, args.licence, split_of(x.pack, args.test)) for x in known)
        write_manifest(items, args.out)
    except (OSError, ValueError, sf.LibsndfileError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for cls, count in Counter(sample.cls for sample in known).most_common():
        print(f"{cls:12}{count:6}")
    print(f"{args.out}: {len(known)} one-shots of {len({s.pack for s in known})} packs, "
          f"{len(samples) - len(known)} left out")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
