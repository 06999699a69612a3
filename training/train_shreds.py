"""Train the shred classifier: which drums sound at an onset of a drum track, for labels from audio.

It learns from one-shots of sample packs (``--oneshots``, a manifest as labelgen/packs.py writes it) played
as random passages, and from labelled drums (``--chunks``, sets made by labelgen/midi.py with ``--stems``);
music without drums (``--music``) is leaked into both as a separator would. Shreds are cut once and kept
beside the result. In use the released detector has a say as well (`labelgen.second_opinion`). Thresholds are chosen on
``--validate``, chunks of kits and performances that training does not have, with its opinion. The result is one
``.onnx`` file that describes itself, and a card.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnx
import soundfile as sf
import torch
from torch import Tensor, nn
from tqdm import tqdm

from dance.commands.arguments import natural, positive
from labelgen.chunks import Chunk, Manifest, chunks_of, remove_stale, whole
from labelgen.kits import KitLibrary
from labelgen.material import Item, read_manifest
from labelgen.recordings import RATE
from labelgen.second_opinion import SecondOpinion
from labelgen.shreds import RELEASED, ShredClassifier, Shreds, ShredSpec, find_shreds, gap_features
from models.shred import ShredConfig, ShredNet
from training.dataset import file_states
from training.precision import native_bfloat16
from training.provenance import licences, sounds_of, tables
from training.score import WINDOW, Count, match
from training.shred_bank import HitBank, make_bank
from training.shred_data import (
    ShredSet,
    backings,
    cut,
    drums_of,
    gaps_between,
    join,
    passage,
    performance,
    spoil,
    whole_kits,
)
from training.shred_exam import Exam, answer, choose_thresholds, table
from training.shred_resume import freeze, read_networks

F32 = npt.NDArray[np.float32]
Task, Made = TypeVar("Task"), TypeVar("Made")
CROP, BATCH = 24, 16  # consecutive shreds, and so many runs of them in a step, half of them from the bank
SAVE = 250  # steps between checkpoints
EXAM = 0  # seed of the exam, the same for all classifiers
MOVES = (-1, 1)  # bands by which `augment` moves shreds up: about a semitone
VIEWS = (0, *MOVES)  # in use each shred is heard at the pitches that were taught, and the mean counts
SINGLES, VARIED = 0.45, 0.7  # shares of passages: one drum at a time; bent sounds
SECOND = 0.25  # weight of the detector's opinion; chosen in the exam
MACHINES = 80  # kits made by rule, besides those of the sample packs
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
    manifests: Iterable[Path],
    split: str,
    sets: Sequence[Path],
    music: Iterable[Path],
    limit: int,
    seed: int,
    without: Iterable[str] = (),
) -> Material:
    """Look up material; of each set of chunks at most `limit`, drawn by `seed`, and none with a sound of `without`."""
    rng = np.random.default_rng(seed)
    shots = [item for path in manifests for item in read_manifest(path, split or None)]
    chunks = []
    for folder in sets:
        there = [chunk for chunk in chunks_of(folder) if not sounds_of(chunk) & set(without)]
        if not there:
            raise ValueError(f"{folder}: all chunks sound with what --without leaves out")
        chunks += [(folder, there[i]) for i in rng.permutation(len(there))[:limit]]
    return Material(
        tuple(item for item in shots if not item.cls.startswith("midi")),
        tuple(chunks),
        tuple(backings(music)),
        tuple(sets),
    )


def files_of(material: Material) -> list[Path]:
    """Return the files that shreds are made of; inter-onset times are those of all chunks."""
    shots = [item.path for item in material.oneshots]
    labels = [folder / f"{chunk.name}.tsv" for folder in material.gaps_of for chunk in Manifest(folder).chunks()]
    return [*shots, *labels, *(drums_of(*chunk) for chunk in material.chunks), *material.music]


@dataclass(frozen=True)
class Job:
    """One track to make: a chunk to read, or a passage if there is none.

    Attributes
    ----------
    seed : tuple of int
    chunk : tuple of (Path, Chunk), optional
    """

    seed: tuple[int, ...]
    chunk: tuple[Path, Chunk] | None = None


@dataclass(frozen=True)
class Workshop:
    """Makes tracks to learn from, and cuts them; goes to worker processes whole.

    Attributes
    ----------
    library : KitLibrary
    gaps : float64 [n]
        Inter-onset times.
    music : tuple of Path
    spec : ShredSpec
    """

    library: KitLibrary
    gaps: npt.NDArray[np.float64]
    music: tuple[Path, ...]
    spec: ShredSpec

    def __call__(self, job: Job) -> ShredSet:
        """Return the shreds of one track."""
        rng = np.random.default_rng(job.seed)
        if job.chunk:
            track = performance(*job.chunk)
        else:
            singles = bool(rng.random() < SINGLES)
            track = passage(
                self.library,
                self.gaps,
                int(rng.integers(12, 100)),
                rng,
                singles=singles,
                choked=bool(rng.random() < (0.6 if singles else 0.15)),
                varied=bool(rng.random() < VARIED),
            )
        return cut(spoil(track, self.music, rng), self.spec, rng)


def spread(function: Callable[[Task], Made], jobs: Sequence[Task], workers: int, title: str) -> list[Made]:
    """Return what `function` makes of `jobs`, using `workers` processes; the result does not depend on their number."""
    if workers == 1:
        return list(map(function, tqdm(jobs, title, unit="track")))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        made = pool.map(function, jobs, chunksize=max(1, min(8, len(jobs) // workers)))
        return list(tqdm(made, title, total=len(jobs), unit="track"))


def shreds_of(material: Material, passages: int, seed: int, spec: ShredSpec, workers: int) -> ShredSet:
    """Make `passages` passages and read all chunks, in random order; cut them."""
    workshop = Workshop(KitLibrary(material.oneshots, RATE), gaps_between(material.gaps_of), material.music, spec)
    if not len(workshop.gaps):
        raise ValueError("passages need labelled chunks, for their inter-onset times")
    chunks = [*material.chunks, *[None] * passages]
    order = np.random.default_rng(seed).permutation(len(chunks))
    made = spread(workshop, [Job((seed, int(i)), chunks[i]) for i in order], workers, "shreds")
    return join(made)


def load(path: Path) -> ShredSet:
    """Load the shreds at `path`."""
    with np.load(path) as kept:
        return ShredSet(**{name: kept[name] for name in ("images", "lasts", "gaps", "hit", "ends")})


def save(data: ShredSet, path: Path) -> None:
    """Keep shreds at `path`; there is never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, partial.open("wb") as file:
        np.savez(file, images=data.images, lasts=data.lasts, gaps=data.gaps, hit=data.hit, ends=data.ends)


def augment(images: F32, rng: np.random.Generator) -> F32:
    """Change level, tone and pitch of a run of shreds [shreds, 3, frames, bands] a little."""
    inside = images[:, 2:]
    if rng.random() < 0.3:
        images = np.roll(images, int(rng.choice(MOVES)), axis=3)
    bands = np.linspace(0, 1, images.shape[3])
    # the track as a whole, and each hit a little: no drummer hits twice the same
    alike = rng.normal(0, 0.2) + _curve(bands, 0.3, 1, rng)
    images[:, :1] += inside * alike.astype(np.float32)
    each = _curve(bands, 0.12, len(images), rng)[:, None, None].astype(np.float32)
    images[:, :2] += inside * each
    images[:, 1:2] += inside * np.float32(rng.normal(0, 0.1))
    return images


def _curve(
    bands: npt.NDArray[np.float64], size: float, count: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return smooth random curves over bands [count, bands], each a sum of three slow cosines."""
    waves = np.cos(np.pi * np.arange(1, 4)[:, None] * bands)
    return np.asarray(rng.normal(0, size, (count, 3)) @ waves)


@dataclass(frozen=True)
class Run:
    """One training, as a worker process gets it.

    Attributes
    ----------
    data, bank : Path
        Where the shreds lie, and the `training.shred_bank.HitBank`.
    config : ShredConfig
    steps : int
    rate : float
        Highest learning rate.
    seed : int
    init : Path, optional
        A classifier whose networks go on learning.
    """

    data: Path
    bank: Path
    config: ShredConfig
    steps: int
    rate: float
    seed: int
    init: Path | None = None

    @property
    def result(self) -> Path:
        """Where the trained weights are kept: beside the shreds, under the name of all that made them."""
        begin = self.init.read_bytes() if self.init else b""
        key = hashlib.sha256(repr(self).encode() + begin).hexdigest()[:16]
        return self.data.with_name(f"{self.data.stem}-{key}.pt")


def train(run: Run) -> Path:
    """Fit a network to runs of consecutive shreds, cut and put together; return where its weights lie."""
    if run.result.exists():
        return run.result
    torch.set_num_threads(1)
    data, bank, spec = load(run.data), HitBank.load(run.bank), ShredSpec()
    rng = np.random.default_rng(run.seed)
    torch.manual_seed(run.seed)
    if run.init:
        before = read_networks(run.init, run.config)
        net = before[run.seed % len(before)]
    else:
        net = ShredNet(run.config)
    optimizer = torch.optim.AdamW(net.parameters(), run.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, run.rate, total_steps=run.steps, pct_start=0.15)
    net.train()
    if run.init:
        freeze(net)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    crop = min(CROP, len(data.lasts))
    average = torch.optim.swa_utils.AveragedModel(
        net,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(max(0.0, min(0.995, 1 - 10 / run.steps))),
        use_buffers=True,
    )
    parts = {"net": net, "optimizer": optimizer, "schedule": schedule, "average": average}
    halfway, first = run.result.with_suffix(".ckpt"), 0
    if halfway.exists():
        state = torch.load(halfway, weights_only=True)
        first, rng.bit_generator.state = state["step"], state["random"]
        torch.set_rng_state(state["torch"])
        for name, part in parts.items():
            part.load_state_dict(state[name])
    with tqdm(range(first, run.steps), f"train {run.seed}", run.steps, unit="step", initial=first) as bar:
        for step in bar:
            batch = [
                bank.run(spec, crop, rng) if number < BATCH // 2 else data.run(crop, rng) for number in range(BATCH)
            ]
            images = torch.from_numpy(np.stack([augment(images, rng) for images, _, _ in batch]))
            gaps, hit = (torch.from_numpy(np.stack(column)) for column in list(zip(*batch, strict=True))[1:])
            with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16()):
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
            if (step + 1) % SAVE == 0:
                state = {name: part.state_dict() for name, part in parts.items()}
                random = {"step": step + 1, "random": rng.bit_generator.state, "torch": torch.get_rng_state()}
                with whole(halfway) as partial:
                    torch.save(state | random, partial)
    with whole(run.result) as partial:
        torch.save(average.module.state_dict(), partial)
    halfway.unlink(missing_ok=True)
    return run.result


def trained(run: Run) -> ShredNet:
    """Return the network of a run that is done."""
    net = ShredNet(run.config)
    net.load_state_dict(torch.load(run.result, weights_only=True))
    return net.eval()


class Step(nn.Module):
    """What is exported: the shreds of one track in, the mean of all networks' probabilities in all `VIEWS` out."""

    def __init__(self, nets: Sequence[ShredNet]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, images: Tensor, gaps: Tensor) -> Tensor:
        """Return probabilities [shreds, labels]."""
        sound, inside = images[:, :2], images[:, 2:]
        views = torch.stack([torch.cat([sound.roll(shift, dims=3), inside], dim=1) for shift in VIEWS])
        beside = gaps.expand(len(VIEWS), -1, -1)
        return torch.cat([torch.sigmoid(net(views, beside)) for net in self.nets]).mean(dim=0)


def probabilities(nets: Sequence[ShredNet], images: F32, gaps: F32) -> F32:
    """Return probabilities of the shreds of one track."""
    if not len(gaps):
        return np.zeros((0, nets[0].config.labels), np.float32)
    with torch.inference_mode():
        return Step(nets)(torch.from_numpy(images), torch.from_numpy(gaps)).numpy()


def label_counts(folder: Path, chunk: Chunk, classifier: ShredClassifier) -> list[Count]:
    """Count right and wrong labels of a performance within 50 ms, for each label."""
    track = performance(folder, chunk)
    shreds = find_shreds(track.drums, classifier.spec)
    given = classifier.labels(classifier.probabilities(shreds, track.drums))
    counts = []
    for column, label in enumerate(classifier.spec.labels):
        true = sorted(x.time for x in track.labels if x.label == label)
        counts.append(match(true, shreds.times[given[:, column]], WINDOW)[0])
    return counts


def export(nets: Sequence[ShredNet], spec: ShredSpec, path: Path) -> None:
    """Write networks and spec to `path`.

    Raises
    ------
    RuntimeError
        If the exported graph does not compute the same.
    """
    step = Step(nets).eval()
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
    rng = np.random.default_rng(0)
    images = rng.normal(-1, 2, (40, 3, length, spec.features.bands)).astype(np.float32)
    times = np.cumsum(rng.uniform(0.05, 0.5, 40))
    blank = np.zeros((40, 0, 0), np.float32)
    with whole(path) as partial:
        onnx.save(model, partial)
        answer = ShredClassifier(partial).alone(Shreds(times, blank, np.zeros(40, np.int64), images, blank))
        worst = float(np.abs(answer - probabilities(nets, images, gap_features(times))).max())
        if not worst <= PARITY:
            raise RuntimeError(f"the exported model differs from torch by {worst:.1e}, more than {PARITY:.0e}")


def report(exam: Exam, scores: str, counts: Sequence[Sequence[Count]], spec: ShredSpec) -> str:
    """Return the figures of a card."""
    lines = [
        f"F over the shreds of {len(exam.kits)} kits of which nothing was learned, as `training/shred_exam.py` "
        "plays them, with the rhythms and the music that were learned from; "
        + ("each half of the kits with thresholds chosen on the other half:" if exam.halves == 2 else
           "with thresholds chosen on the same tracks, for want of a second kit:"),
        "",
        scores,
        "",
        "Labels of performances of which nothing was learned, played with such kits, 50 ms, with the thresholds of all "
        "of these kits:",
        "",
        "| label | F | precision | recall |",
        "| --- | --- | --- | --- |",
    ]  # fmt: skip
    for label, column in zip(spec.labels, zip(*counts, strict=True), strict=True):
        count = sum(column, Count())
        lines.append(f"| {label} | {count.f:.3f} | {count.precision:.3f} | {count.recall:.3f} |")
    return "\n".join(lines)


def card(spec: ShredSpec, figures: str, sources: str) -> str:
    """Return the model card: what it is, how good, and from what (`sources`, in Markdown)."""
    return f"""# Shred classifier

Names what each onset of a drum track is: {", ".join(spec.labels)}, several at once, or nothing. Used by
`labelgen/audio.py`, made by `training/train_shreds.py`. Weights are MIT like the code.

Thresholds: {", ".join(f"{label} {value:g}" for label, value in zip(spec.labels, spec.thresholds, strict=True))}.

{figures}

## Learned from
{sources}"""


def sources_of(material: Material, manifests: Sequence[Path]) -> str:
    """Return what was learned from, with licences, in Markdown."""
    known = licences(manifests)
    passages = "\n".join(f"| {s} | {known.get(s, 'unknown')} |" for s in sorted({i.source for i in material.oneshots}))
    return f"""
One-shots in random passages:

| source | licence |
| --- | --- |
{passages}

Performances:

{tables([chunk for _, chunk in material.chunks], known)}
"""


def learned(path: Path) -> str:
    """Return what the card at `path` says that its classifier has learned from.

    Raises
    ------
    ValueError
        If it does not say so.
    """
    _, found, sources = path.read_text(encoding="utf-8").partition("## Learned from\n")
    if not found:
        raise ValueError(f"{path}: a classifier that goes on learning needs a card that names what it learned from")
    return sources


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
    add(
        "--split",
        default="train",
        help="learn from the one-shots of this split, '' for all; the exam takes those of the split test "
        "(default: %(default)s)",
    )
    add("--chunks", nargs="+", type=Path, required=True, metavar="SET", help="sets of labelled drums; the passages use "
        "their inter-onset times")  # fmt: skip
    add("--without", nargs="*", default=[], metavar="SOURCE", help="leave out chunks that sound with these, such as a "
        "soundfont whose notes are not those of General MIDI")  # fmt: skip
    add("--music", nargs="*", type=Path, default=[], metavar="SET", help="sets whose backing stems leak into the drums")
    add(
        "--validate",
        nargs="+",
        type=Path,
        required=True,
        metavar="SET",
        help="sets of labelled drums for the figures; they are not learned from",
    )
    add("--licences", nargs="*", type=Path, default=[], metavar="CSV", help="licences of sources "
        "that --oneshots does not name")  # fmt: skip
    add("--out", type=Path, default=RELEASED, help="the model file (default: the released one)")
    add("--passages", type=natural, default=1100, help="passages to make from one-shots (default: %(default)s)")
    add("--unseen", type=natural, default=40, metavar="N", help="size of the exam: tracks of each kind for each "
        "half of the other kits, and chunks of each set (default: %(default)s)")  # fmt: skip
    add("--limit", type=natural, default=280, metavar="N", help="chunks of each set at most (default: %(default)s)")
    add("--steps", type=positive(int), default=1700, help="steps for each network (default: %(default)s)")
    add("--nets", type=natural, default=2, help="networks that are averaged, one seed each; with 0 and --keep only "
        "thresholds and figures are made anew (default: %(default)s)")  # fmt: skip
    add("--jobs", type=positive(int), default=len(os.sched_getaffinity(0)), metavar="N",
        help="processes (default: the cores that this one may use, %(default)s here)")  # fmt: skip
    add("--rate", type=positive(float), default=3e-3, help="highest learning rate (default: %(default)s)")
    add("--init", type=Path, metavar="ONNX", help="continue from the networks of this classifier; use a lower --rate")
    add("--keep", action="store_true", help="let the networks of --init answer together with the new ones")
    add("--context", type=positive(int), default=ShredConfig.context, help="width of the layer over neighbouring "
        "shreds (default: %(default)s)")  # fmt: skip
    add("--seed", type=natural, default=0, help="decides every random choice (default: %(default)s)")
    add(
        "--cache",
        type=Path,
        default=Path("data/shreds"),
        metavar="FOLDER",
        help="where shreds are kept (default: %(default)s)",
    )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    started = time.monotonic()
    torch.set_num_threads(1)
    spec = ShredSpec()
    try:
        if args.keep and not args.init:
            raise ValueError("--keep needs --init, whose networks it keeps")
        if not args.nets and not args.keep:
            raise ValueError("--nets 0 needs --keep, or there is no network")
        material = find_material(
            args.oneshots, args.split, args.chunks, args.music, args.limit, args.seed, args.without
        )
        before = learned(args.init.with_suffix(".md")) if args.init else ""  # no card, no training
        unseen = find_material(args.oneshots, "test", args.validate, (), args.unseen, EXAM)
        heard = {x.source for x in material.oneshots}.union(*(sounds_of(chunk) for _, chunk in material.chunks))
        if both := heard & {x.source for x in unseen.oneshots}:
            raise ValueError(
                f"kits would be learned from and examined with: {', '.join(sorted(both)[:5])}; "
                "--split says which one-shots are learned from, --without which sounds chunks must not have"
            )
        args.cache.mkdir(parents=True, exist_ok=True)
        remove_stale(args.cache)
        state = file_states(files_of(material))
        key = json.dumps([asdict(spec), repr(material), state, args.passages, args.seed])
        shreds = args.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
        if args.nets and not shreds.exists():
            save(shreds_of(material, args.passages, args.seed, spec, args.jobs), shreds)
        config = ShredConfig(spec.before + spec.after, spec.features.bands, len(spec.labels), context=args.context)
        bank = shreds.with_suffix(".bank.npz")
        if args.nets and not bank.exists():
            make_bank(material.oneshots, gaps_between(material.gaps_of), spec, args.seed, MACHINES).save(bank)
        runs = [
            Run(shreds, bank, config, args.steps, args.rate, args.seed + number, args.init)
            for number in range(args.nets)
        ]
        spread(train, runs, max(1, min(args.jobs, args.nets)), "networks")
        nets = [trained(run) for run in runs]
        if args.keep:
            nets += read_networks(args.init, config)

        played = [folder / f"{chunk.name}.tsv" for folder, chunk in material.chunks]
        exam = Exam(whole_kits(unseen.oneshots), gaps_between(args.validate), played, material.music, EXAM, spec)
        tracks = spread(exam, exam.questions(args.unseen), args.jobs, "exam")
        second = SecondOpinion()

        def classify(cut: Shreds, drums: F32) -> F32:
            alone = probabilities(nets, cut.images, gap_features(cut.times))
            return second.join(alone, drums, cut.times, spec.labels, SECOND)

        answers = answer(tracks, classify, spec.labels)
        spec = replace(spec, thresholds=choose_thresholds(answers, spec.labels), second=SECOND)
        export(nets, spec, args.out)
        classifier = ShredClassifier(args.out)
        counts = [label_counts(*chunk, classifier) for chunk in unseen.chunks]
        figures = report(exam, table(answers, spec.labels), counts, spec)
        figures += (
            f"\n\n{SECOND:g} of the weight in all of these answers is the detector's (`labelgen/second_opinion.py`)."
        )
        sources = sources_of(material, [*args.oneshots, *args.licences]) if args.nets else before
        if args.nets:
            origin = ", on top of an earlier release" if args.init else ""
            kept = ", whose networks answer with them" if args.keep else ""
            figures += f" {args.passages} passages and {len(material.chunks)} chunks, "
            figures += f"{args.nets} networks of {args.steps} steps{origin}{kept}."
            if args.init:
                sources += "\n## Learned from before that\n" + before
        about = card(spec, figures, sources)
        args.out.with_suffix(".md").write_text(about, encoding="utf-8")
    except (OSError, ValueError, sf.LibsndfileError) as error:
        print(f"train_shreds: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(figures)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {(time.monotonic() - started) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
