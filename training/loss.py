"""Targets with a delay, and the loss on them.

A drum hit in frame ``k`` is to be reported in frame ``k + delay``: the label delay is the latency that
the network is trained for. Its neighbours count half, since the evidence rarely ends on a frame's edge.

Contents
--------
targets, asked, DrumLoss
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def targets(velocity: Tensor, delay: int, shoulder: float = 0.5) -> tuple[Tensor, Tensor]:
    """Return onset and velocity targets [batch, time, labels].

    Parameters
    ----------
    velocity : Tensor [batch, time, labels]
        Velocity in the frame in which a drum is hit, else 0.
    delay : int
        Frames between hit and report.
    shoulder : float
        Onset target of the frames before and after.
    """
    late = F.pad(velocity, (0, 0, delay, 0))[:, : velocity.shape[1]]
    onset = (late > 0).to(late.dtype)
    before = F.pad(onset[:, 1:], (0, 0, 0, 1))
    after = F.pad(onset[:, :-1], (0, 0, 1, 0))
    held = torch.maximum(F.pad(late[:, 1:], (0, 0, 0, 1)), F.pad(late[:, :-1], (0, 0, 1, 0)))
    return torch.maximum(onset, shoulder * torch.maximum(before, after)), torch.maximum(late, held)


def asked(velocity: Tensor, heard: Tensor, delay: int) -> Tensor:
    """Return where the loss counts [batch, time, labels]: 0 around hits that are not heard, unless one that is is near.

    Parameters
    ----------
    velocity, heard : Tensor [batch, time, labels]
        As `DrumLoss` takes them.
    delay : int
        Label delay in frames.
    """
    length = velocity.shape[1]

    def around(values: Tensor, reach: int) -> Tensor:
        late = F.pad(values, (0, 0, delay, 0))[:, :length].transpose(1, 2)
        return F.max_pool1d(late, 2 * reach + 1, 1, reach).transpose(1, 2)

    unheard, clear = 1 - heard, heard * (velocity > 0)
    return 1 - around(unheard, 2) * (1 - around(clear, 1))


class DrumLoss(nn.Module):
    """Binary cross entropy of onsets, squared error of velocity where there are onsets.

    Parameters
    ----------
    delay : int
        Label delay in frames.
    positive : float
        Weight of a hit against silence.
    velocity : float
        Weight of the velocity's error.
    warmup : int
        First frames of a crop that do not count: the network has not heard enough yet.
    """

    def __init__(self, delay: int, positive: float, velocity: float = 0.3, warmup: int = 20) -> None:
        super().__init__()
        self.delay, self.velocity, self.warmup = delay, velocity, warmup
        self.positive = torch.tensor(positive)

    def forward(
        self, logits: Tensor, hardness: Tensor, velocity: Tensor, heard: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``loss``, ``onset`` and ``velocity``, scalars.

        Parameters
        ----------
        logits, hardness, velocity : Tensor [batch, time, labels]
        heard : Tensor [batch, time, labels], optional
            0 for hits that nobody can hear, and where a label is not known: there nothing is asked of the network.
        """
        onset, struck = targets(velocity, self.delay)
        cut = slice(self.warmup, None)
        bce = F.binary_cross_entropy_with_logits(
            logits[:, cut], onset[:, cut], pos_weight=self.positive.to(logits), reduction="none"
        )
        near = (onset > 0)[:, cut]
        if heard is None:
            bce = bce.mean()
        else:
            counts = asked(velocity, heard, self.delay)[:, cut]
            bce = (bce * counts).sum() / counts.sum().clamp(min=1)
            near = near & (counts > 0)
        error = ((hardness - struck)[:, cut].square() * near).sum() / near.sum().clamp(min=1)
        return {"loss": bce + self.velocity * error, "onset": bce, "velocity": error}
