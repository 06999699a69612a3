"""Targets with a delay, and the loss on them.

A drum hit in frame ``k`` is to be reported in frame ``k + delay``: the label delay is the latency that
the network is trained for. Its neighbours count half, since the evidence rarely ends on a frame's edge.

Contents
--------
SHOULDER, delayed, targets, asked, disorder, WARMUP, DrumLoss
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHOULDER = 0.5
"""Onset target of the frames before and after a hit's."""


def delayed(values: Tensor, delay: int | Sequence[int]) -> Tensor:
    """Return values [batch, time, labels] so many frames later, all labels alike or each by its own delay."""
    if not isinstance(delay, int):
        if len(delay) != values.shape[2]:
            raise ValueError(f"{len(delay)} delays for {values.shape[2]} labels")
        return torch.cat([delayed(values[:, :, [k]], frames) for k, frames in enumerate(delay)], dim=2)
    return F.pad(values, (0, 0, delay, 0))[:, : values.shape[1]]


def targets(velocity: Tensor, delay: int | Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return onset and velocity targets [batch, time, labels].

    Parameters
    ----------
    velocity : Tensor [batch, time, labels]
        Velocity in the frame in which a drum is hit, else 0.
    delay : int or sequence of int
        Frames between hit and report, for each label if there are several.
    """
    late = delayed(velocity, delay)
    onset = (late > 0).to(late.dtype)
    before = F.pad(onset[:, 1:], (0, 0, 0, 1))
    after = F.pad(onset[:, :-1], (0, 0, 1, 0))
    held = torch.maximum(F.pad(late[:, 1:], (0, 0, 0, 1)), F.pad(late[:, :-1], (0, 0, 1, 0)))
    return torch.maximum(onset, SHOULDER * torch.maximum(before, after)), torch.maximum(late, held)


def asked(velocity: Tensor, heard: Tensor, delay: int | Sequence[int]) -> Tensor:
    """Return where the loss counts [batch, time, labels]: 0 around hits that are not heard, unless one that is is near.

    Parameters
    ----------
    velocity, heard : Tensor [batch, time, labels]
        As `DrumLoss` takes them.
    delay : int or sequence of int
        Label delay in frames.
    """

    def around(values: Tensor, reach: int) -> Tensor:
        late = delayed(values, delay).transpose(1, 2)
        return F.max_pool1d(late, 2 * reach + 1, 1, reach).transpose(1, 2)

    unheard, clear = 1 - heard, heard * (velocity > 0)
    return 1 - around(unheard, 2) * (1 - around(clear, 1))


def disorder(hardness: Tensor, struck: Tensor, near: Tensor) -> Tensor:
    """Return how far velocities are from following the played ones inside each crop: 1 minus their correlation.

    How loud a song is as a whole cannot be known, which hits in it are the louder ones can: this error leaves out
    the first and asks for the second. Mean over crops and labels with enough hits of different velocities; a scalar.

    Parameters
    ----------
    hardness, struck : Tensor [batch, time, labels]
        Velocity of the network and of the label.
    near : Tensor [batch, time, labels]
        Where velocities count.
    """
    counts = near.to(hardness.dtype)
    total = counts.sum(1, keepdim=True)

    def centred(values: Tensor) -> Tensor:
        return (values - (values * counts).sum(1, keepdim=True) / total.clamp(min=1)) * counts

    a, b = centred(hardness), centred(struck)
    spread = b.square().sum(1)
    together = (a * b).sum(1) / (a.square().sum(1) * spread + _STEADY).sqrt()
    varied = (total[:, 0] >= _FEWEST) & (spread > _VARIED * total[:, 0])
    return ((1 - together) * varied).sum() / varied.sum().clamp(min=1)


_FEWEST, _VARIED, _STEADY = 9, 1e-3, 1e-4  # three hits with their shoulders; squared velocity; keeps the root smooth


WARMUP = 20
"""First frames of a crop that do not count: the network has not heard enough yet."""


class DrumLoss(nn.Module):
    """Binary cross entropy of onsets, squared error of velocity where there are onsets, disorder of velocities.

    Parameters
    ----------
    delay : int or sequence of int
        Label delay in frames, for each label if there are several.
    positive : float
        Weight of a hit against silence.
    velocity : float
        Weight of the velocity's error.
    order : float
        Weight of the velocities' `disorder` inside a crop.
    importance : sequence of float
        Weight of each label's onsets; empty: 1 each.
    """

    def __init__(
        self,
        delay: int | Sequence[int],
        positive: float,
        velocity: float = 0.3,
        order: float = 0.0,
        importance: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.delay, self.velocity, self.order = delay, velocity, order
        self.positive = torch.tensor(positive)
        self.importance = torch.tensor(importance or (1.0,))

    def forward(
        self,
        logits: Tensor,
        hardness: Tensor,
        velocity: Tensor,
        heard: Tensor,
        boldness: Tensor | float = 1.0,
    ) -> dict[str, Tensor]:
        """Return ``loss``, ``onset`` and ``velocity``, and ``order`` where it counts; scalars.

        Parameters
        ----------
        logits, hardness, velocity : Tensor [batch, time, labels]
        heard : Tensor [batch, time, labels]
            0 for hits that nobody can hear, and where a label is not known: there nothing is asked of the network.
        boldness : Tensor [batch, 1, labels] or float
            How many times `positive` a hit weighs in each crop.
        """
        onset, struck = targets(velocity, self.delay)
        cut = slice(WARMUP, None)
        bce = F.binary_cross_entropy_with_logits(
            logits[:, cut], onset[:, cut], pos_weight=self.positive.to(logits) * boldness, reduction="none"
        )
        counts = asked(velocity, heard, self.delay)[:, cut]
        bce = (bce * counts * self.importance.to(bce)).sum() / counts.sum().clamp(min=1)
        near = (onset > 0)[:, cut] & (counts > 0)
        error = ((hardness - struck)[:, cut].square() * near).sum() / near.sum().clamp(min=1)
        parts = {"loss": bce + self.velocity * error, "onset": bce, "velocity": error}
        if self.order:
            parts["order"] = disorder(hardness[:, cut], struck[:, cut], near)
            parts["loss"] = parts["loss"] + self.order * parts["order"]
        return parts
