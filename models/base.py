"""The interface of all streaming networks, and the heads that they share.

A network maps log-mel frames [batch, time, bands] in dB to onset logits and velocities
[batch, time, labels]. `forward` takes a state and returns the next one, so that any split of a stream
gives the same result; `step` is one frame of it, with probabilities: what is exported.

Contents
--------
State, DrumNet, Heads
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

State = list[Tensor]


class DrumNet(nn.Module, ABC):
    """A causal network that hears drums.

    Attributes
    ----------
    bands, labels : int
        Sizes of a frame and of an output.
    """

    bands: int
    labels: int

    @abstractmethod
    def init_state(self, batch: int = 1) -> State:
        """Return the state at the start of a stream: zeros, silence."""

    @abstractmethod
    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return onset logits, velocities and the next state.

        Parameters
        ----------
        frames : Tensor [batch, time, bands]
            In dB.
        state : list of Tensor
            From `init_state` or an earlier call.
        """

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return onset probabilities, velocities [batch, labels] and the next state for one frame."""
        logits, velocity, state = self.forward(frame[:, None], state)
        return torch.sigmoid(logits[:, 0]), velocity[:, 0], state


class Heads(nn.Module):
    """Onset logits and velocities from features [batch, time, channels].

    Parameters
    ----------
    channels, labels : int
    timbre : int
        Dimensions of what is told about the sound itself, for hits to be compared by (`dance.votes`): features less
        their mean, in principal components of equal spread. Fitted by ``training/survey.py``, not trained.
    """

    def __init__(self, channels: int, labels: int, timbre: int = 0) -> None:
        super().__init__()
        self.onset = nn.Linear(channels, labels)
        self.velocity = nn.Linear(channels, labels)
        self.timbre = nn.Linear(channels, timbre).requires_grad_(False) if timbre else None
        nn.init.constant_(self.onset.bias, -3.0)  # onsets are rare: start from their base rate

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and velocities 0..1, each [batch, time, labels]."""
        return self.onset(features), torch.sigmoid(self.velocity(features))
