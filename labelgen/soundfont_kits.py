"""The drum kits of General MIDI soundfonts as one-shots: every note of every kit, struck softly, firmly and hard.

Soundfonts share their samples freely, and so do the kits of one font: a sound that was written already, or is in a
manifest of ``--apart``, is left out (`labelgen.packs.Novelty`), and so is silence. Orchestral and effect kits are
left out whole, since their notes are not those of the General MIDI drum channel. The manifest (CSV: path class
source licence split) serves wherever one of ``labelgen/packs.py`` does; `source` is ``soundfont_NAME:PRESET``.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf

from dance.labels import ONE_SHOT
from labelgen.kits import one_shot, voice_of
from labelgen.material import Item
from labelgen.packs import Novelty, add_apart, write_manifest
from labelgen.recordings import RATE
from labelgen.synth import SILENT, SoundFont

NOTES = range(35, 83)
VELOCITIES = (127, 90, 50)
SECONDS = 1.5
BESIDE: dict[str, dict[int, str]] = {
    "brush": {39: ""},  # a slap
    "electronic": {52: ""},  # a cymbal backwards
    "dance": {52: ""},
    "_lv2": {58: "crash", 60: "crash"},  # avldrums, where `labelgen.synth` has not put the right note in place already
}
"""Notes that are not what General MIDI says, or nothing to learn from; by a word in the name of the kit or its font."""


def voices_of(name: str) -> dict[int, str]:
    """Return the class of each note of the kit with this name of its own and its font."""
    result = {note: voice_of(note) for note in NOTES}
    for word, notes in BESIDE.items():
        if word in name.lower():
            result |= notes
    return {note: voice for note, voice in result.items() if voice}


def render_font(font: SoundFont, licence: str, split: str, folder: Path, novelty: Novelty) -> Iterator[Item]:
    """Write the new sounds of a soundfont as FLAC files below `folder`; yield them."""
    for kit in font.drum_presets:
        source = f"soundfont_{font.path.stem}:{kit[1]:03}_{font.preset_name(*kit)}"
        for note, voice in voices_of(source).items():
            for velocity in VELOCITIES:
                sound = font.strike(note, velocity, SECONDS, kit)
                peak = np.abs(sound).max()
                if peak < SILENT:
                    continue
                path = folder / font.path.stem / f"{kit[1]:03}" / f"note_{note:03}_{velocity:03}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                sf.write(path, 0.9 * sound / peak, RATE)
                if novelty.add(one_shot(path, RATE)):
                    yield Item(path, voice, source, licence, split)
                else:
                    path.unlink()


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python labelgen/soundfont_kits.py TimGM6mb.sf2 --licence GPL-2 --out oneshots/timgm",
    )
    add = result.add_argument
    add("fonts", nargs="+", type=Path, metavar="FONT", help="SF2 or SF3 files")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the sounds and their manifest.csv go")
    add("--licence", default="", help="terms of these soundfonts, written into every line")
    add("--split", default="train", help="split, written into every line (default: %(default)s)")
    add_apart(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        novelty = Novelty.of(args.apart)
        items = []
        for path in args.fonts:
            items += render_font(SoundFont(path, RATE), args.licence, args.split, args.out, novelty)
        if not items:
            raise ValueError("these soundfonts hold no drums that are not known already")
        write_manifest(items, args.out / "manifest.csv")
    except (OSError, ValueError, sf.LibsndfileError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for label, count in Counter(ONE_SHOT[item.cls] for item in items).most_common():
        print(f"{label:12}{count:6}")
    kits = len({item.source for item in items})
    print(f"{args.out / 'manifest.csv'}: {len(items)} one-shots of {kits} kits")
    return 0


if __name__ == "__main__":
    sys.exit(main())
