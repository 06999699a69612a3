"""A causal temporal convolutional network: dilated residual blocks over log-mel frames.

After Bai, Kolter & Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
Sequence Modeling" (2018), with batch normalisation, which costs nothing once exported.

Contents
--------
TCNConfig, CausalConv, normalised, Block, TCN
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import DrumNet, Heads, State
from models.frontend import Frontend


@dataclass(frozen=True)
class TCNConfig:
    """Sizes of a `TCN`.

    Attributes
    ----------
    bands, labels : int
    channels : int
        Width of the residual stream.
    dilations : tuple of int
        One block each.
    dropout : float
    mean_frames : float
        Time constant of the frontend's running mean.
    depth_db : float, optional
        How deep the frontend hears (`models.frontend`).
    usual_db : tuple of float
        The spectrum that its lows are lifted to; empty: they are not.
    timbre : int
        Dimensions of the timbre (`models.base.Heads`).
    """

    bands: int = 80
    labels: int = 5
    channels: int = 96
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8, 16)
    dropout: float = 0.1
    mean_frames: float = 200.0
    depth_db: float | None = None
    usual_db: tuple[float, ...] = ()
    timbre: int = 0


class CausalConv(nn.Module):
    """A convolution over time that sees only the past; its state is the frames it still needs."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, bias=False)
        self.shape = (inputs, (kernel - 1) * dilation)

    def init_state(self, batch: int) -> Tensor:
        """Return zeros [batch, inputs, history]."""
        return torch.zeros(batch, *self.shape)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map [batch, inputs, time] to [batch, outputs, time]; in memory channels lie side by side."""
        padded = torch.cat([state.to(x.dtype).transpose(1, 2), x.transpose(1, 2)], dim=1).transpose(1, 2)
        # as an image of one row, channels last: a quarter off the time of a training step in bfloat16 on a CPU
        y = F.conv2d(padded.unsqueeze(2), self.conv.weight.unsqueeze(2), dilation=(1, *self.conv.dilation))
        return y.squeeze(2), padded[:, :, -self.shape[1] :]


def normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a BatchNorm1d to [batch, channels, time] whose channels lie side by side, and leave them there."""
    rows = x.transpose(1, 2)
    return torch.as_tensor(norm(rows.flatten(0, 1))).view(rows.shape).transpose(1, 2)


class Block(nn.Module):
    """Dilated convolution, normalisation, rectifier, 1x1 convolution, around a residual stream."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = CausalConv(channels, channels, 3, dilation)
        self.norm = nn.BatchNorm1d(channels)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.drop = nn.Dropout1d(dropout)  # whole channels: neighbouring frames would give a single one away

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map [batch, channels, time] to the same shape."""
        y, state = self.past(x, state)
        y = self.drop(torch.relu(normalised(self.norm, y))).transpose(1, 2)
        y = F.linear(y, self.mix.weight.squeeze(2), self.mix.bias)
        return x + y.transpose(1, 2), state


class TCN(DrumNet):
    """Frontend, a causal convolution, dilated blocks, heads."""

    def __init__(self, config: TCNConfig) -> None:
        super().__init__()
        self.config = config
        self.bands, self.labels = config.bands, config.labels
        self.frontend = Frontend(config.bands, config.mean_frames, config.depth_db, config.usual_db)
        self.stem = CausalConv(3 * config.bands, config.channels, 3, 1)
        self.norm = nn.BatchNorm1d(config.channels)
        self.blocks = nn.ModuleList(Block(config.channels, d, config.dropout) for d in config.dilations)
        self.heads = Heads(config.channels, config.labels, config.timbre)

    def init_state(self, batch: int = 1) -> State:
        """Return the state at the start of a stream: zeros, silence."""
        convs = [self.stem, *(block.past for block in self.blocks)]
        return self.frontend.init_state(batch) + [conv.init_state(batch) for conv in convs]

    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return onset logits, velocities and the next state; see `DrumNet.forward`."""
        features, following = self.features(frames, state)
        logits, velocity = self.heads(features)
        return logits, velocity, following

    def features(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what the heads hear, [batch, time, channels], and the next state."""
        x, following = self.frontend(frames, state[:2])
        y, last = self.stem(x.transpose(1, 2), state[2])
        following.append(last)
        y = torch.relu(normalised(self.norm, y))
        for block, past in zip(self.blocks, state[3:], strict=True):
            y, last = block(y, past)
            following.append(last)
        return torch.relu(y).transpose(1, 2), following
