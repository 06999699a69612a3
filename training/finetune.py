"""Adapt a released model to an album, in minutes on a CPU, without forgetting the rest.

Learns from chunks of the album (labelgen/manual.py makes them from a DAW's MIDI or label files; any source of labels
will do) and writes an .onnx for `dance listen --model`. How it learns and why it does not forget:
`training.tuning`. Thresholds and timing are the released model's. With ``--rehearse`` it also listens to other chunk
sets, whose labels only serve to measure what was forgotten.

What comes out is measured before it is written. The album is cut in halves (by songs, or by time if it is one song) and
each is heard by a model that has learned from the other: that is the album's figure. Then one more model learns from
all. The rest is measured on songs of the other sets that were not rehearsed. The result lies on the way from the
released weights to the tuned ones; ``--share`` says how far: more is better for the album and worse for the rest.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from tqdm import tqdm

from dance.commands.arguments import natural, positive, share
from dance.context import weighed
from dance.detector import RELEASED
from dance.labels import LABELS
from dance.network import Network
from dance.spec import ModelSpec
from labelgen.chunks import Chunk, chunks_of
from models import DrumNet
from training.calibrate import picked
from training.export import PARITY, export, parity
from training.score import Count, count
from training.task import DrumTask, load_task
from training.tuning import Clip, Tuning, activations, cut, read_clip, tune

WEIGHTS = Path(__file__).parents[1] / "checkpoints" / "released" / "dance.ckpt"
SHARE = 0.4
"""How far to go: on other music less than .01 of F is lost then; `meta/log.md` has the figures."""
REHEARSED, MEASURED = 120, 24  # most chunks of other sets to listen to, and to measure on

Counts = dict[str, Count]


def total(counts: Counts) -> Count:
    """Return the sum over all labels."""
    return sum(counts.values(), Count())


def score(network: DrumNet, spec: ModelSpec, clips: Sequence[Clip]) -> Counts:
    """Count right and wrong events of each enabled label within +-50 ms, as `training.calibrate` does."""
    counts = dict.fromkeys(spec.enabled, Count())
    for clip in clips:
        hits = picked(spec, weighed(spec, *activations(network, clip.frames)))
        for column, label in enumerate(spec.labels):
            if label not in spec.enabled or label not in clip.complete:
                continue
            times = (np.array(hits[column], float) + 1) * spec.features.hop_seconds - spec.attack_offset_seconds[column]
            counts[label] += count([x for x in clip.labels if x.label == label], times)[0]
    return counts


def halves(clips: Sequence[Clip], hop: float) -> tuple[list[Clip], list[Clip]]:
    """Cut an album in two: whole songs if there are several, else each clip in the middle."""
    songs: dict[str, list[Clip]] = {}
    for clip in clips:
        songs.setdefault(clip.song, []).append(clip)
    if len(songs) == 1:
        first, second = zip(*(cut(clip, len(clip.frames) // 2 * hop, hop) for clip in clips), strict=True)
        return list(first), list(second)
    parts: tuple[list[Clip], list[Clip]] = ([], [])
    for song in sorted(songs.values(), key=lambda own: -sum(len(clip.frames) for clip in own)):
        min(parts, key=lambda part: sum(len(clip.frames) for clip in part)).extend(song)
    return parts


def attempt(
    network: DrumNet,
    spec: ModelSpec,
    clips: Sequence[Clip],
    others: Sequence[Clip],
    tuning: Tuning,
    tell: Callable[[], object] = lambda: None,
) -> tuple[Counts, Counts]:
    """Learn from each half of an album and listen to the other; return the counts of both before and after.

    The parameters are those of `training.tuning.tune`.
    """
    parts = halves(clips, spec.features.hop_seconds)
    before = after = dict.fromkeys(spec.enabled, Count())
    for learned, held in (parts, parts[::-1]):
        tuned = tune(network, learned, others, tuning, tell)
        before, after = (
            {label: counts[label] + counted for label, counted in score(each, spec, held).items()}
            for counts, each in ((before, network), (after, tuned))
        )
    return before, after


def read_album(folders: Sequence[Path], spec: ModelSpec, only: Sequence[str]) -> list[Clip]:
    """Read all chunks of an album.

    Raises
    ------
    ValueError
        If there are none, or no labels that the model reports.
    """
    clips = []
    for folder in folders:
        clips += [read_clip(folder, chunk, spec, only) for chunk in by_name(folder)]
    wanted = [label for label in spec.enabled if not only or label in only]
    if not any(hit.label in wanted for clip in clips for hit in clip.labels):
        raise ValueError(f"no {', '.join(wanted)} is labelled in {', '.join(map(str, folders))}; nothing to learn from")
    return clips


def by_name(folder: Path) -> list[Chunk]:
    """Return the chunks of a set by name; raise ValueError if there are none."""
    return sorted(chunks_of(folder, "make some with labelgen/manual.py"), key=lambda chunk: chunk.name)


def draw(folder: Path, sets: int, seed: int) -> tuple[list[Chunk], list[Chunk]]:
    """Draw chunks of one of `sets` sets: to rehearse, and, of a quarter of the songs, to measure on."""
    chunks = by_name(folder)
    songs = sorted({chunk.song for chunk in chunks})
    rng = np.random.default_rng(seed)
    held = {songs[i] for i in rng.permutation(len(songs))[: len(songs) // 4]}
    chunks = [chunks[i] for i in rng.permutation(len(chunks))]
    return (
        [chunk for chunk in chunks if chunk.song not in held][: max(1, REHEARSED // sets)],
        [chunk for chunk in chunks if chunk.song in held][: max(1, MEASURED // sets)],
    )


def load(checkpoint: Path, model: Path) -> tuple[DrumTask, ModelSpec]:
    """Load weights, and the thresholds that belong to them.

    Raises
    ------
    ValueError
        If a file is not what it should be, or the two do not belong together.
    """
    task = load_task(checkpoint)
    task.network.eval()
    spec = Network(model).spec
    same = spec.labels == task.config.labels and spec.features == task.config.features
    if not same or parity(task.network, model, steps=100)[0] > PARITY:
        raise ValueError(f"{model} is not an export of {checkpoint}; name the one that is with --model")
    return task, spec


def report(rows: Sequence[tuple[str, Count, Count]]) -> str:
    """Return the table of what was before and is after."""
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{'F within 50 ms':{width}} {'hits':>6} {'before':>7} {'after':>7}"]
    for name, before, after in rows:
        lines.append(f"{name:{width}} {before.tp + before.fn:6} {before.f:7.3f} {after.f:7.3f}")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python labelgen/manual.py album/ --out data/chunks/album\n"
        "  python training/finetune.py data/chunks/album --out album.onnx\n"
        "  python training/finetune.py data/chunks/album --rehearse data/chunks/other --out album.onnx\n"
        "  dance listen --model album.onnx\n",
    )
    add = result.add_argument
    add("chunks", nargs="+", type=Path, metavar="CHUNKS", help="sets of chunks of the album")
    add("--out", type=Path, required=True, metavar="ONNX", help="the model file to write")
    add("--init", type=Path, default=WEIGHTS, metavar="CKPT",
        help="weights to begin with (default: those of the released model)")  # fmt: skip
    add("--model", type=Path, default=RELEASED, metavar="ONNX",
        help="their export, for its thresholds (default: the released model)")  # fmt: skip
    add("--rehearse", nargs="+", type=Path, default=[], metavar="DIR",
        help="sets of chunks of other music, to be heard as before; a part shows what was forgotten")  # fmt: skip
    add("--only", nargs="+", choices=LABELS, default=[], metavar="LABEL",
        help="the album is labelled for these only (default: for all)")  # fmt: skip
    add("--share", type=share, default=SHARE, metavar="0..1", help="how far to go from the released weights towards "
        "the tuned ones (default: %(default)s)")  # fmt: skip
    add("--steps", type=positive(int), default=Tuning.steps,
        help="steps of each of the three trainings (default: %(default)s)")  # fmt: skip
    add("--seed", type=natural, default=0, help="decides every random choice (default: %(default)s)")
    add("--threads", type=positive(int), default=len(os.sched_getaffinity(0)),
        help="CPU threads (default: %(default)s)")  # fmt: skip
    return result


def finetune(args: argparse.Namespace) -> str | None:
    """Do what the command line asks; return why no model was written, if so."""
    started = time.monotonic()
    if args.out.is_dir() or args.out.suffix != ".onnx":
        raise ValueError(f"--out {args.out}: name a file that ends in .onnx")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    task, spec = load(args.init, args.model)
    album = read_album(args.chunks, spec, args.only)
    others: list[Clip] = []
    rest: list[Clip] = []
    for folder in args.rehearse:
        rehearsed, measured = draw(folder, len(args.rehearse), args.seed)
        others += [read_clip(folder, chunk, spec) for chunk in rehearsed]
        rest += [read_clip(folder, chunk, spec) for chunk in measured]
    tuning = Tuning(
        steps=args.steps,
        share=args.share,
        delay=task.config.delay,
        positive=task.config.positive,
        seed=args.seed,
    )
    with tqdm(total=3 * args.steps, unit="step") as bar:
        bar.set_description("halves")
        before, after = attempt(task.network, spec, album, others, tuning, bar.update)
        bar.set_description("album")
        result = tune(task.network, album, others, tuning, bar.update)
    rows = [(f"album: {label}", before[label], after[label]) for label in spec.enabled]
    rows.append(("album: all", total(before), total(after)))
    if rest:
        given, tuned = (total(score(network, spec, rest)) for network in (task.network, result))
        rows.append(("rest", given, tuned))
    print(report(rows))
    if not rest:
        print("what was forgotten of other music was not measured: name sets of four songs or more with --rehearse")
    if total(after).f <= total(before).f:
        return "nothing gained, so nothing written; do the labels fit the music? (labelgen/review.py shows them)"
    export(result, replace(spec, name=f"{spec.name}, tuned to {args.out.stem}"), args.out)
    print(f"{args.out}: {(time.monotonic() - started) / 60:.1f} minutes")
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 1 if nothing was gained, 2 if something is wrong."""
    args = parser().parse_args(argv)
    try:
        futile = finetune(args)
    except (OSError, ValueError, sf.SoundFileError) as error:
        print(f"finetune: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("finetune: stopped; nothing was written", file=sys.stderr)
        return 130
    if futile:
        print(f"finetune: {futile}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
