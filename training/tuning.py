"""Fine-tuning a network on little music without losing what it knew.

Two losses share each step. On crops of the new music, hardly changed, the labels count (`training.loss`). On other
crops the network must go on saying what it said before, hit by hit: learning without forgetting (Li & Hoiem, 2016),
which needs audio but no labels. The other audio is whatever is there, and always the new music itself,
distorted until it is other music. Statistics of batch normalisation stay frozen. In the end the result is drawn back
towards the old weights (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022): much of what was learned
stays, and hardly anything is forgotten.

Contents
--------
Clip, Tuning, read_clip, cut, crops, tune, blend, activations
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dance.spec import ModelSpec
from labelgen.chunks import Chunk, Label, layered, read_labels
from models import DrumNet
from models.restored import hear
from training.augment import FLOOR_DB, Augment, remix
from training.dataset import UNKNOWN, chunk_features
from training.loss import DrumLoss
from training.schedule import one_cycle

F32 = npt.NDArray[np.float32]

NEAR = Augment(naked=1.0, drumless=0.0, tone_db=1.5, dark=0.05, level_db=(-30.0, 0.0), noise=0.1, tuning=0.3,
               room=0.05, squash=0.1, thin=0.03, microphone=0.0, silence=0.0)  # fmt: skip
"""Other masterings of the same music."""
FAR = Augment(naked=1.0, drumless=0.0, tone_db=6.0, dark=0.3, noise=0.3, tuning=4.0, room=0.3, squash=0.3, thin=0.2)
"""Other music, as far as a network that listens to it can tell."""


@dataclass(frozen=True)
class Clip:
    """Labelled music.

    Attributes
    ----------
    song : str
        What it is a part of.
    frames : array [time, bands], float32 dB
    velocity, prominence : array [time, labels], float32
        As in `training.dataset.FeatureSet`; velocities 0..1.
    labels : tuple of Label
        Seconds from the beginning of the clip.
    complete : frozenset of str
        Drums of which every hit is labelled.
    """

    song: str
    frames: F32
    velocity: F32
    prominence: F32
    labels: tuple[Label, ...]
    complete: frozenset[str]


@dataclass(frozen=True)
class Tuning:
    """How a network is fine-tuned.

    Attributes
    ----------
    steps, batch, length
        Number of steps, crops of either kind in a step, frames of a crop.
    rate : float
        Peak learning rate.
    keep : float
        Weight of saying what was said before.
    share : float
        How far the result lies from the old weights towards the tuned ones, 0..1.
    positive : float
        Weight of a hit against silence.
    delay : int or tuple of int
        Label delay of the network in frames.
    seed : int
    near, far : Augment
        How crops are changed from which the labels are learned, and on which nothing shall change.
    """

    steps: int = 60
    batch: int = 8
    length: int = 400
    rate: float = 1e-3
    keep: float = 1.0
    share: float = 0.5
    positive: float = 1.5
    delay: int | tuple[int, ...] = 1
    seed: int = 0
    near: Augment = field(default_factory=lambda: NEAR)
    far: Augment = field(default_factory=lambda: FAR)


def read_clip(folder: Path, chunk: Chunk, spec: ModelSpec, only: Sequence[str] = ()) -> Clip:
    """Read the mix of a chunk; of labels that are not among `only`, if given, nothing is known."""
    whole = chunk_features(folder, replace(chunk, stems=()), spec.features, spec.labels)
    prominence = whole.prominence.astype(np.float32)
    velocity = whole.velocity.astype(np.float32) / 255
    for column, label in enumerate(spec.labels):
        if only and label not in only:
            prominence[:, column], velocity[:, column] = UNKNOWN, 0
    return Clip(
        chunk.song,
        whole.drums.astype(np.float32),
        velocity,
        prominence,
        tuple(x for x in layered(read_labels(folder / f"{chunk.name}.tsv")) if not only or x.label in only),
        frozenset(chunk.details.get("complete", spec.labels)) & frozenset(only or spec.labels),
    )


def cut(clip: Clip, seconds: float, hop: float) -> list[Clip]:
    """Return the first `seconds` of a clip and the rest, each a clip."""
    frame = round(seconds / hop)
    at = frame * hop
    first = tuple(x for x in clip.labels if x.time < at)
    rest = tuple(x._replace(time=x.time - at) for x in clip.labels if x.time >= at)
    halves = ((slice(None, frame), first), (slice(frame, None), rest))
    return [
        replace(clip, frames=clip.frames[s], velocity=clip.velocity[s], prominence=clip.prominence[s], labels=labels)
        for s, labels in halves
    ]


def crops(
    clips: Sequence[Clip], length: int, batch: int, augment: Augment, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Draw crops of `length` frames, each clip as often as it is long, and change them as `augment` says.

    Clips that are shorter end in silence, about which nothing is asked. Returns what `training.augment.remix` does.
    """
    places = np.array([max(1, len(clip.frames) - length + 1) for clip in clips])
    frames, velocity, prominence = [], [], []
    for number in rng.choice(len(clips), batch, p=places / places.sum()):
        clip, start = clips[number], int(rng.integers(places[number]))
        part = slice(start, start + length)
        missing = ((0, max(0, length - len(clip.frames))), (0, 0))
        frames.append(np.pad(clip.frames[part], missing, constant_values=FLOOR_DB))
        velocity.append(np.pad(clip.velocity[part], missing))
        prominence.append(np.pad(clip.prominence[part], missing, constant_values=UNKNOWN))
    drums, hits, clear = (torch.from_numpy(np.stack(parts)) for parts in (frames, velocity, prominence))
    return remix(drums, torch.full_like(drums, FLOOR_DB), hits, clear, augment, rng)


def tune(
    network: DrumNet,
    clips: Sequence[Clip],
    others: Sequence[Clip],
    tuning: Tuning,
    tell: Callable[[], object] = lambda: None,
) -> DrumNet:
    """Return a copy of `network` that has learned from `clips` and says about `others` what `network` does.

    Parameters
    ----------
    network : DrumNet
    clips : sequence of Clip
        The new music.
    others : sequence of Clip
        Other music, which may be none; its labels are not used.
    tuning : Tuning
    tell : callable
        Called after each step.
    """
    rng = np.random.default_rng(tuning.seed)
    before, after = copy.deepcopy(network).eval(), copy.deepcopy(network).eval()
    learned = DrumLoss(tuning.delay, tuning.positive, velocity=0.0)
    optimiser = torch.optim.Adam(after.parameters(), lr=tuning.rate)
    schedule = one_cycle(optimiser, tuning.rate, tuning.steps)
    for _ in range(tuning.steps):
        near = crops(clips, tuning.length, tuning.batch, tuning.near, rng)
        logits, hardness, _ = after(near["frames"], after.init_state(tuning.batch))
        loss = learned(logits, hardness, near["velocity"], near["heard"])["loss"]
        count = tuning.batch // 2 if others else tuning.batch
        far = crops(clips, tuning.length, count, tuning.far, rng)["frames"]
        if others:
            far = torch.cat([far, crops(others, tuning.length, tuning.batch - count, tuning.far, rng)["frames"]])
        loss = loss + tuning.keep * change(before, after, far)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(after.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        tell()
    return blend(before, after, tuning.share)


def change(before: DrumNet, after: DrumNet, frames: Tensor) -> Tensor:
    """Return how differently two networks hear `frames`: divergence of onsets, squared error of their velocities."""
    with torch.no_grad():
        expected, struck, _ = before(frames, before.init_state(len(frames)))
    logits, hardness, _ = after(frames, after.init_state(len(frames)))
    probability = torch.sigmoid(expected)
    onset = F.binary_cross_entropy_with_logits(logits, probability)
    least = F.binary_cross_entropy_with_logits(expected, probability)
    error = ((hardness - struck).square() * probability).sum() / probability.sum().clamp(min=1)
    return onset - least + 0.3 * error


def blend(first: DrumNet, second: DrumNet, share: float) -> DrumNet:
    """Return a network with the weights of both, `share` of the second."""
    result = copy.deepcopy(first)
    new = second.state_dict()
    result.load_state_dict(
        {name: old + share * (new[name] - old) if old.is_floating_point() else old
         for name, old in first.state_dict().items()}
    )  # fmt: skip
    return result.eval()


def activations(network: DrumNet, frames: F32) -> tuple[F32, F32]:
    """Return the onset activations [time, labels] of a network and its timbres, as `models.restored.hear` does."""
    answers, timbres = hear(network, frames)
    return answers[0], timbres
