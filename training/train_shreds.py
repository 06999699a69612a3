"""Train the shred classifier: which drums sound at an onset of a drum track, for labels from audio.

It learns from one-shots of sample packs (``--oneshots``, a manifest as labelgen/packs.py writes it) played
as random passages, and from labelled drums (``--chunks``, sets made by labelgen/midi.py with ``--stems``);
music without drums (``--music``) is leaked into both as a separator would. Shreds are cut once and kept
beside the result. Thresholds are chosen on ``--validate``, chunks of kits and performances that training
does not have. The result is one ``.onnx`` file that describes itself, and a card.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn
from tqdm import tqdm

from labelgen.chunks import Chunk, Manifest
from labelgen.kits import KitLibrary
from labelgen.material import Item, read_manifest
from labelgen.shreds import RATE, ShredClassifier, Shreds, ShredSpec, find_shreds, gap_features, released
from models.shred import ShredConfig, ShredNet
from training.provenance import licences, tables
from training.score import Count, match
from training.shred_data import ShredSet, Track, collect, degrade, gaps_between, leak, passage, performance, read_audio

F32 = npt.NDArray[np.float32]
CROP, BATCH = 24, 16  # consecutive shreds, and so many runs of them in a step
PARITY = 1e-4  # largest difference between torch and the exported file


@dataclass(frozen=True)
class Material:
    """Where tracks come from.

    Attributes
    ----------
    oneshots : tuple of Item
    chunks : tuple of (Path, Chunk)
        Labelled drums.
    music : tuple of Path
        Recordings without drums.
    gaps_of : tuple of Path
        Sets of chunks whose inter-onset times passages take.
    """

    oneshots: tuple[Item, ...]
    chunks: tuple[tuple[Path, Chunk], ...]
    music: tuple[Path, ...]
    gaps_of: tuple[Path, ...]


def find_material(
    manifests: Iterable[Path], split: str, sets: Sequence[Path], music: Iterable[Path], limit: int, seed: int
) -> Material:
    """Look up material; of each set of chunks at most `limit`, drawn by `seed`."""
    rng = np.random.default_rng(seed)
    shots = [item for path in manifests for item in read_manifest(path, split or None)]
    chunks = []
    for folder in sets:
        there = Manifest(folder).chunks()
        if not there:
            raise ValueError(f"{folder}: no chunks here; make some with labelgen")
        chunks += [(folder, there[i]) for i in rng.permutation(len(there))[:limit]]
    backings = [(folder, chunk) for folder in music for chunk in Manifest(folder).chunks() if "backing" in chunk.stems]
    return Material(
        tuple(item for item in shots if not item.cls.startswith("midi")),
        tuple(chunks),
        tuple(folder / f"{chunk.name}.backing.flac" for folder, chunk in backings),
        tuple(sets),
    )


def tracks(material: Material, passages: int, seed: int, leaked: float = 0.5, degraded: bool = True) -> Iterator[Track]:
    """Make `passages` passages and read all chunks, in random order; spoil them.

    Parameters
    ----------
    leaked : float
        Share of the tracks that music is leaked into.
    degraded : bool
        Whether tone, room, drive and bandwidth change.
    """
    rng = np.random.default_rng(seed)
    library = gaps = None
    if passages:
        library = KitLibrary(material.oneshots, RATE)
        gaps = gaps_between(material.gaps_of)
        if not len(gaps):
            raise ValueError("passages need labelled chunks, for their inter-onset times")
    jobs: list[tuple[Path, Chunk] | None] = [*material.chunks, *[None] * passages]
    for index in tqdm(rng.permutation(len(jobs)), desc="tracks", unit="track"):
        job = jobs[index]
        if job:
            track = performance(*job)
        else:
            assert library is not None and gaps is not None
            track = passage(library, gaps, int(rng.integers(12, 100)), rng)
        drums = degrade(track.drums, rng) if degraded else track.drums
        if material.music and rng.random() < leaked:
            music = np.resize(read_audio(material.music[int(rng.integers(len(material.music)))]), len(drums))
            drums = leak(drums, music, float(rng.uniform(-15, 6)), rng)
        yield Track(drums, track.labels)


def cached(path: Path, make: Callable[[], ShredSet]) -> ShredSet:
    """Load the shreds at `path`, or make them and keep them there."""
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part.npz")
        np.savez(partial, images=made.images, lasts=made.lasts, gaps=made.gaps, hit=made.hit, ends=made.ends)
        partial.replace(path)
    with np.load(path) as kept:
        return ShredSet(**{name: kept[name] for name in ("images", "lasts", "gaps", "hit", "ends")})


def augment(images: F32, rng: np.random.Generator) -> F32:
    """Change level and pitch of a run of shreds [shreds, 3, frames, bands] a little."""
    inside = images[:, 2:]
    if rng.random() < 0.3:  # a band up or down: about a semitone
        images = np.roll(images, int(rng.choice((-1, 1))), axis=3)
    tilt = rng.normal(0, 0.2) + rng.normal(0, 0.2) * np.linspace(-1, 1, images.shape[3])
    images[:, :1] += inside * tilt.astype(np.float32)
    images[:, 1:2] += inside * np.float32(rng.normal(0, 0.1))
    return images


def train(net: ShredNet, data: ShredSet, steps: int, rate: float, seed: int) -> None:
    """Fit `net` to runs of consecutive shreds."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    net.train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    crop = min(CROP, len(data.lasts))
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(min(0.995, 1 - 10 / steps)), use_buffers=True
    )
    with tqdm(range(steps), desc="train", unit="step") as bar:
        for step in bar:
            starts = rng.integers(0, len(data.lasts) - crop + 1, BATCH)
            runs = [np.arange(start, start + crop) for start in starts]
            images = torch.from_numpy(np.stack([augment(data.unpack(run), rng) for run in runs]))
            gaps = torch.from_numpy(np.stack([data.gaps[run] for run in runs]))
            hit = torch.from_numpy(np.stack([data.hit[run] for run in runs]))
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(images, gaps)
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), hit)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(net)
            if step % 20 == 0:
                bar.set_postfix(loss=f"{loss.item():.4f}")
    net.load_state_dict(average.module.state_dict())
    net.eval()


class Step(nn.Module):
    """What is exported: the shreds of one track in, probabilities out."""

    def __init__(self, net: ShredNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor, gaps: Tensor) -> Tensor:
        """Return probabilities [shreds, labels]."""
        return torch.sigmoid(self.net(images[None], gaps[None])[0])


def probabilities(net: ShredNet, images: F32, gaps: F32) -> F32:
    """Return probabilities of the shreds of one track."""
    with torch.inference_mode():
        return Step(net)(torch.from_numpy(images), torch.from_numpy(gaps)).numpy()


def predict(net: ShredNet, data: ShredSet) -> F32:
    """Return probabilities for all tracks of a set [n, labels]."""
    starts = np.concatenate([[0], data.ends[:-1]])
    parts = []
    for start, end in zip(starts, data.ends, strict=True):
        run = np.arange(start, end)
        parts.append(probabilities(net, data.unpack(run), data.gaps[run]))
    return np.concatenate(parts)


def shred_scores(probability: F32, hit: F32, spec: ShredSpec) -> dict[str, float]:
    """Return F over shreds for each label, and ``all`` for their sum."""
    given, true = probability >= np.array(spec.thresholds, np.float32), hit > 0.5
    counts = [
        Count(int((g & t).sum()), int((g & ~t).sum()), int((~g & t).sum()))
        for g, t in zip(given.T, true.T, strict=True)
    ]
    return {
        **{label: count.f for label, count in zip(spec.labels, counts, strict=True)},
        "all": sum(counts, Count()).f,
    }


Example = tuple[Shreds, Track, F32]
"""The shreds of a track, the track, and the probabilities of its shreds."""


def listen(net: ShredNet, spec: ShredSpec, track: Track) -> Example:
    """Cut a track and classify its shreds."""
    shreds = find_shreds(track.drums, spec)
    return shreds, track, probabilities(net, shreds.images, gap_features(shreds.times))


def label_counts(examples: Iterable[Example], label: str, column: int, threshold: float) -> Count:
    """Count right and wrong labels within 50 ms."""
    total = Count()
    for shreds, track, probability in examples:
        true = sorted(x.time for x in track.labels if x.label == label)
        total += match(true, shreds.times[probability[:, column] >= threshold], 0.05)[0]
    return total


def choose_thresholds(examples: Sequence[Example], labels: Sequence[str]) -> tuple[float, ...]:
    """Return for each label the threshold with the best F."""
    grid = [round(0.05 * k, 2) for k in range(2, 19)]

    def quality(column: int, threshold: float) -> float:
        return label_counts(examples, labels[column], column, threshold).f

    return tuple(max(grid, key=lambda threshold, c=column: quality(c, threshold)) for column in range(len(labels)))


def export(net: ShredNet, spec: ShredSpec, path: Path) -> None:
    """Write network and spec to `path`.

    Raises
    ------
    RuntimeError
        If the exported graph does not compute the same.
    """
    step = Step(net).eval()
    length = spec.before + spec.after
    example = torch.rand(7, 3, length, spec.features.bands), torch.rand(7, 2)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            step,
            example,
            raw,
            input_names=["images", "gaps"],
            output_names=["probabilities"],
            dynamic_axes={"images": {0: "shreds"}, "gaps": {0: "shreds"}, "probabilities": {0: "shreds"}},
            dynamo=False,
            opset_version=17,
        )
        model = onnx.load(raw)
    model.metadata_props.add(key="shred", value=spec.to_json())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    onnx.save(model, partial)
    rng = np.random.default_rng(0)
    images = rng.normal(-1, 2, (40, 3, length, spec.features.bands)).astype(np.float32)
    times = np.cumsum(rng.uniform(0.05, 0.5, 40))
    blank = np.zeros((40, 0, 0), np.float32)
    answer = ShredClassifier(partial).probabilities(Shreds(times, blank, np.zeros(40, np.int64), images, blank))
    worst = float(np.abs(answer - probabilities(net, images, gap_features(times))).max())
    if not worst <= PARITY:
        partial.unlink()
        raise RuntimeError(f"the exported model differs from torch by {worst:.1e}, more than {PARITY:.0e}")
    partial.replace(path)


def card(material: Material, spec: ShredSpec, figures: str, manifests: Sequence[Path]) -> str:
    """Return the model card: what it is, how good, from what."""
    known = licences(manifests)
    passages = "\n".join(f"| {s} | {known.get(s, 'unknown')} |" for s in sorted({i.source for i in material.oneshots}))
    return f"""# Shred classifier

Names what each onset of a drum track is: {", ".join(spec.labels)}, several at once, or nothing. Used by
`labelgen/audio.py`, made by `training/train_shreds.py`. Weights are MIT like the code.

Thresholds: {", ".join(f"{label} {value:g}" for label, value in zip(spec.labels, spec.thresholds, strict=True))}.

{figures}

## Learned from

One-shots in random passages:

| source | licence |
| --- | --- |
{passages}

Performances:

{tables([chunk for _, chunk in material.chunks], known)}
"""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n"
        "  python training/train_shreds.py --oneshots packs/manifest.csv --chunks data/chunks/train-gmd\n"
        "      --music data/chunks/train-drumless --validate data/chunks/test-gmd --out shred.onnx",
    )
    add = result.add_argument
    add("--oneshots", nargs="+", type=Path, required=True, metavar="CSV", help="manifests of one-shots")
    add("--split", default="train", help="of the one-shots to learn from; '' for all (default: %(default)s)")
    add("--chunks", nargs="+", type=Path, required=True, metavar="SET", help="labelled drums; passages take their "
        "inter-onset times")  # fmt: skip
    add("--music", nargs="*", type=Path, default=[], metavar="SET", help="sets with `backing` stems to leak in")
    add("--validate", nargs="+", type=Path, required=True, metavar="SET", help="labelled drums to choose thresholds on")
    add("--out", type=Path, default=released(), help="the model file (default: the released one)")
    add("--passages", type=int, default=1100, help="to make from one-shots (default: %(default)s)")
    add("--unseen", type=int, default=60, metavar="N", help="passages of other kits, for thresholds and again for "
        "figures (default: %(default)s)")  # fmt: skip
    add("--limit", type=int, default=280, metavar="N", help="chunks of each set at most (default: %(default)s)")
    add("--steps", type=int, default=1700, help="of training (default: %(default)s)")
    add("--rate", type=float, default=3e-3, help="highest learning rate (default: %(default)s)")
    add("--context", type=int, default=ShredConfig.context, help="width of the layer over neighbouring shreds, "
        "0 for none (default: %(default)s)")  # fmt: skip
    add("--seed", type=int, default=0, help="decides every random choice (default: %(default)s)")
    add("--cache", type=Path, default=Path("data/shreds"), metavar="FOLDER", help="for shreds (default: %(default)s)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    started = time.monotonic()
    torch.set_num_threads(1)
    spec = ShredSpec()
    try:
        material = find_material(args.oneshots, args.split, args.chunks, args.music, args.limit, args.seed)
        held = "test" if args.split == "train" else args.split
        unseen = find_material(args.oneshots, held, args.validate, (), 60, args.seed)
        key = json.dumps([asdict(spec), repr(material), args.passages, args.seed])
        data = cached(
            args.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz",
            lambda: collect(tracks(material, args.passages, args.seed), spec, np.random.default_rng([args.seed, 1])),
        )
        net = ShredNet(
            ShredConfig(spec.before + spec.after, spec.features.bands, len(spec.labels), context=args.context)
        )
        train(net, data, args.steps, args.rate, args.seed)
        performances = [listen(net, spec, performance(folder, chunk)) for folder, chunk in unseen.chunks]
        alone = replace(unseen, chunks=(), music=material.music)
        passages = [
            listen(net, spec, track) for track in tracks(alone, args.unseen, args.seed + 1, 0.0, degraded=False)
        ]
        # both: performances always have hats, and a threshold must also hold where there are none
        spec = replace(spec, thresholds=choose_thresholds(performances + passages, spec.labels))
        figures = ["Labels of unseen performances, 50 ms:", "", "| label | F | precision | recall |",
                   "| --- | --- | --- | --- |"]  # fmt: skip
        for column, label in enumerate(spec.labels):
            count = label_counts(performances, label, column, spec.thresholds[column])
            figures.append(f"| {label} | {count.f:.3f} | {count.precision:.3f} | {count.recall:.3f} |")
        figures.append("")
        for title, leaked, degraded in (("as drawn", 0.0, False), ("spoilt, music leaked into half", 0.5, True)):
            unheard = collect(tracks(alone, args.unseen, args.seed + 2, leaked, degraded), spec)
            scores = shred_scores(predict(net, unheard), unheard.hit, spec)
            figures.append(f"Shreds of unseen kits, {title}: F {', '.join(f'{k} {v:.3f}' for k, v in scores.items())}.")
        export(net, spec, args.out)
        text = card(material, spec, "\n".join(figures), args.oneshots)
        args.out.with_suffix(".md").write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"train_shreds: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print("\n".join(figures))
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {len(data.lasts)} shreds, "
          f"{(time.monotonic() - started) / 60:.1f} minutes")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
