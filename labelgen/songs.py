"""What the makers of MIDI songs by rule have in common: their options, and a file for each song, styles in turn.

Contents
--------
add_song_options, write_songs
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import pretty_midi
from tqdm import tqdm

from dance.commands.arguments import natural, positive
from labelgen.chunks import whole

Style = TypeVar("Style")


def add_song_options(parser: argparse.ArgumentParser, out: Path, seconds: float) -> None:
    """Add ``--out``, ``--songs``, ``--seconds`` and ``--seed``; `out` and `seconds` are defaults."""
    add = parser.add_argument
    add("--out", type=Path, default=out, help="folder for the files (default: %(default)s)")
    add("--songs", type=positive(int), default=120, help="number of songs, styles in turn (default: %(default)s)")
    add("--seconds", type=positive(float), default=seconds, help="length of a song (default: %(default)s)")
    add("--seed", type=natural, default=0, help="decides every random choice (default: %(default)s)")


def write_songs(
    args: argparse.Namespace,
    styles: Mapping[str, Style],
    compose: Callable[[Style, float, np.random.Generator], pretty_midi.PrettyMIDI],
) -> int:
    """Write the songs that the options ask for as ``STYLE-SEED-NUMBER.mid``; return the exit code.

    Each song depends on seed and number alone.
    """
    names = list(styles)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for number in tqdm(range(args.songs), unit="song"):
            name = names[number % len(names)]
            rng = np.random.default_rng([args.seed, number])
            path = args.out / f"{name.replace(' ', '-')}-{args.seed}-{number:04d}.mid"
            with whole(path) as partial:
                compose(styles[name], args.seconds, rng).write(str(partial))
    except OSError as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
