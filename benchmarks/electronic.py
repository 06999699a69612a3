"""Electronic music: kicks and snares (or claps) of rendered songs with bass, on kits that were never learned from.

Songs by ``labelgen/patterns.py``, told apart by the style in their names, rendered with one-shots of the test split.
Scored as `training.evaluate` does, one row for each style; then the songs as they were written apart from those that
were rearranged, a side-stick for the snare, a kick under each (`labelgen.arrange`). Notes of one label within 30 ms, a
clap on a snare, are one hit. Every hit counts, one that nobody can hear too: ``heard`` is the share that rises above
the rest of the drums (prominence of 0 dB or more), a limit of what can be found.
"""

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.common import RATE, guard
from dance.detector import RELEASED, Detector
from labelgen.chunks import Chunk, Manifest, layered, read_labels
from labelgen.patterns import STYLES
from training.evaluate import Track, detect, score

LABELS = ("kick", "snare")
ELECTRONIC = ("house", "techno", "trance", "electro", "trap", "hiphop", "drum-and-bass", "break-beat")
FLOOR = {"kick": 0.90, "snare": 0.85}


def style_of(song: str) -> str:
    """Return the style in a song's path, as ``labelgen/patterns.py`` names its files; empty if it is none of those."""
    names = (name.replace(" ", "-") for name in STYLES)
    return next((name for name in names if Path(song).name.startswith(f"{name}-")), "")


def songs(folder: Path, styles: Collection[str]) -> list[Chunk]:
    """Return the chunks of a set that are of these styles; raise ValueError if there are none."""
    chunks = sorted((c for c in Manifest(folder).chunks() if style_of(c.song) in styles), key=lambda chunk: chunk.name)
    if not chunks:
        raise ValueError(f"{folder}: no song of these styles; labelgen/patterns.py -h says how to make some")
    return chunks


def row(name: str, tracks: Sequence[Track]) -> list[str]:
    """Return the figures of one style as text."""
    everything = [replace(track, truth=[x._replace(prominence=math.inf) for x in track.truth]) for track in tracks]
    figures: dict[str, Any] = score(everything, LABELS)["labels"]
    cells = [name, str(len(tracks))]
    for label in LABELS:
        counts, hits = figures[label]["50ms"], [x for track in tracks for x in track.truth if x.label == label]
        heard = float(np.mean([x.prominence >= 0 for x in hits])) if hits else float("nan")
        cells += [str(len(hits)), f"{heard:.2f}", *(f"{counts[key]:.3f}" for key in "PRF")]
        cells.append(f"{figures[label]['delay_ms']['median']:.0f}")
    return cells


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/electronic.py data/chunks/test-patterns",
    )
    add = result.add_argument
    add("sets", nargs="+", type=Path, metavar="SET", help="folders of chunks made from labelgen/patterns.py's songs")
    add("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    add("--styles", nargs="+", metavar="STYLE", choices=[name.replace(" ", "-") for name in STYLES],
        default=ELECTRONIC, help=f"which to judge (default: {' '.join(ELECTRONIC)})")  # fmt: skip
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    tracks: dict[str, list[Track]] = defaultdict(list)
    detector = Detector.load(args.model, sample_rate=RATE, labels=LABELS)
    chosen = [(folder, songs(folder, args.styles)) for folder in args.sets]
    for folder, chunks in chosen:
        for chunk in tqdm(chunks, desc=folder.name, leave=False):
            events, seconds = detect(detector, folder / f"{chunk.name}.flac")
            truth = layered(read_labels(folder / f"{chunk.name}.tsv"))
            track = Track(chunk.name, seconds, truth, events)
            tracks[style_of(chunk.song)].append(track)
            tracks["rearranged" if chunk.details.get("arrangement") else "as written"].append(track)
    columns = [f"{label} {what}" for label in LABELS for what in ("hits", "heard", "P", "R", "F", "delay ms")]
    table = Table("style", "songs", *columns, box=None, header_style="bold")
    for name in (*args.styles, "as written", "rearranged"):
        if tracks[name]:
            table.add_row(*row(name, tracks[name]))
    everything = [track for name in args.styles for track in tracks[name]]
    table.add_row(*row("all of these", everything))
    console = Console(width=160)
    console.print(table)
    figures = score(everything, LABELS)["labels"]
    for label, floor in FLOOR.items():
        found = figures[label]["50ms"]["F"]
        console.print(f"{label}: F {found:.3f}, floor {floor:.2f}: {'reached' if found >= floor else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
