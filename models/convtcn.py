"""Convolutions over time and frequency, then dilated convolutions over time.

The first layers look for the same shape at any height of the spectrum, as in the convolutional recurrent networks of
Vogl, Widmer & Knees, "Towards multi-instrument drum transcription" (2018), so that an unseen drum, tuned
otherwise, is less of a stranger. What follows is the stack of `models.tcn`.

Contents
--------
ConvTCNConfig, ConvTCN
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.base import DrumNet, Heads, State
from models.frontend import Frontend
from models.tcn import Block


@dataclass(frozen=True)
class ConvTCNConfig:
    """Sizes of a `ConvTCN`.

    Attributes
    ----------
    bands, labels : int
    filters : tuple of int
        Channels of the convolutions over time and frequency; each halves the number of bands.
    channels : int
        Width of the residual stream.
    dilations : tuple of int
        One block each.
    dropout : float
    mean_frames : float
        Time constant of the frontend's running mean.
    """

    bands: int = 80
    labels: int = 5
    filters: tuple[int, ...] = (16, 24, 32)
    channels: int = 96
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)
    dropout: float = 0.1
    mean_frames: float = 200.0


class Patch(nn.Module):
    """A convolution over three frames, the last of them the present one, and five bands; every second band is kept."""

    def __init__(self, inputs: int, outputs: int, bands: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, (3, 5), stride=(1, 2), padding=(0, 2), bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.shape = (inputs, 2, bands)

    def init_state(self, batch: int) -> Tensor:
        """Return zeros [batch, inputs, 2, bands]."""
        return torch.zeros(batch, *self.shape)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map [batch, inputs, time, bands] to [batch, outputs, time, bands / 2]."""
        padded = torch.cat([state.to(x.dtype), x], dim=2)
        return torch.relu(self.norm(self.conv(padded))), padded[:, :, -2:]


class ConvTCN(DrumNet):
    """Frontend, convolutions over time and frequency, dilated blocks, heads."""

    def __init__(self, config: ConvTCNConfig) -> None:
        super().__init__()
        self.config = config
        self.bands, self.labels = config.bands, config.labels
        self.frontend = Frontend(config.bands, config.mean_frames)
        patches, bands, inputs = [], config.bands, 3
        for outputs in config.filters:
            patches.append(Patch(inputs, outputs, bands))
            inputs, bands = outputs, (bands + 1) // 2
        self.patches = nn.ModuleList(patches)
        self.join = nn.Conv1d(inputs * bands, config.channels, 1)
        self.blocks = nn.ModuleList(Block(config.channels, d, config.dropout) for d in config.dilations)
        self.heads = Heads(config.channels, config.labels)

    def init_state(self, batch: int = 1) -> State:
        """Return the state at the start of a stream: zeros, silence."""
        layers = [*self.patches, *(block.past for block in self.blocks)]
        return self.frontend.init_state(batch) + [layer.init_state(batch) for layer in layers]

    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return onset logits, velocities and the next state; see `DrumNet.forward`."""
        x, following = self.frontend(frames, state[:2])
        past = iter(state[2:])
        y = x.unflatten(2, (3, self.bands)).transpose(1, 2)  # [batch, 3, time, bands]
        for patch in self.patches:
            y, last = patch(y, next(past))
            following.append(last)
        y = self.join(y.transpose(2, 3).flatten(1, 2))
        for block in self.blocks:
            y, last = block(y, next(past))
            following.append(last)
        logits, velocity = self.heads(torch.relu(y).transpose(1, 2))
        return logits, velocity, following
