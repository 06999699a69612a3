"""A small recurrent network: a causal convolution over log-mel frames, then gated recurrent units.

The smallest cost for a step, and the state is a few numbers; for boards of the Zero class.

Contents
--------
GRUConfig, GRU
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.base import DrumNet, Heads, State
from models.frontend import Frontend
from models.tcn import CausalConv


@dataclass(frozen=True)
class GRUConfig:
    """Sizes of a `GRU`.

    Attributes
    ----------
    bands, labels : int
    channels : int
        Width of the convolution and of each recurrent layer.
    layers : int
    dropout : float
    mean_frames : float
        Time constant of the frontend's running mean.
    """

    bands: int = 80
    labels: int = 5
    channels: int = 96
    layers: int = 2
    dropout: float = 0.1
    mean_frames: float = 200.0


class GRU(DrumNet):
    """Frontend, a causal convolution, recurrent layers, heads."""

    def __init__(self, config: GRUConfig) -> None:
        super().__init__()
        self.config = config
        self.bands, self.labels = config.bands, config.labels
        self.frontend = Frontend(config.bands, config.mean_frames)
        self.stem = CausalConv(3 * config.bands, config.channels, 3, 1)
        self.norm = nn.BatchNorm1d(config.channels)
        self.gru = nn.GRU(config.channels, config.channels, config.layers, batch_first=True, dropout=config.dropout)
        self.heads = Heads(config.channels, config.labels)

    def init_state(self, batch: int = 1) -> State:
        """Return the state at the start of a stream: zeros, silence."""
        hidden = torch.zeros(self.config.layers, batch, self.config.channels)
        return [*self.frontend.init_state(batch), self.stem.init_state(batch), hidden]

    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return onset logits, velocities and the next state; see `DrumNet.forward`."""
        x, following = self.frontend(frames, state[:2])
        y, last = self.stem(x.transpose(1, 2), state[2])
        y, hidden = self.gru(torch.relu(self.norm(y)).transpose(1, 2), state[3])
        logits, velocity = self.heads(y)
        return logits, velocity, [*following, last, hidden]
