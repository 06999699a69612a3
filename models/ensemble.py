"""Several networks that hear the same frames and are asked together: the mean of their answers.

Networks that differ err at different places, so that their mean is better than the best of them; it costs what all
of them cost (Dietterich, "Ensemble Methods in Machine Learning", 2000).

Contents
--------
Ensemble
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.base import DrumNet, State


class Ensemble(DrumNet):
    """The mean of the probabilities and velocities of several networks.

    Parameters
    ----------
    members : sequence of DrumNet
        Of the same bands and labels.

    Raises
    ------
    ValueError
        If there are no members, or if they differ in bands or labels.
    """

    def __init__(self, members: Sequence[DrumNet]) -> None:
        super().__init__()
        shapes = {(member.bands, member.labels) for member in members}
        if len(shapes) != 1:
            raise ValueError("an ensemble needs members of the same bands and labels")
        self.members = nn.ModuleList(members)
        self.bands, self.labels = shapes.pop()

    def init_state(self, batch: int = 1) -> State:
        """Return the states of all members, one after the other."""
        return [state for member in self.members for state in member.init_state(batch)]

    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return the logits of the mean probability, mean velocities and the next state; see `DrumNet.forward`."""
        onsets, velocities, following = [], [], []
        for member in self.members:
            count = len(member.init_state())
            logits, velocity, after = member(frames, state[:count])
            state = state[count:]
            onsets.append(torch.sigmoid(logits.float()))
            velocities.append(velocity)
            following += after
        return torch.logit(torch.stack(onsets).mean(0), eps=1e-7), torch.stack(velocities).mean(0), following
