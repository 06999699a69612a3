"""How present each drum is at any time: derived from the labels, never stored.

Contents
--------
presence_target
"""

import torch
from torch import Tensor


def presence_target(velocity: Tensor, decay_frames: float) -> Tensor:
    """Return a target that jumps to the velocity at a hit and decays after it, as `Detector.presence` does.

    Parameters
    ----------
    velocity : Tensor [..., time, labels]
        Velocity in the frame in which a drum is hit, else 0.
    decay_frames : float
        Frames in which the presence falls to 1 / e (``ModelSpec.presence_seconds / hop_seconds``).

    Returns
    -------
    Tensor [..., time, labels]
        In frame k the largest of ``velocity[j] * exp(-(k - j) / decay_frames)`` over all j <= k: a soft hit
        does not lower what a loud one before it left.
    """
    if not decay_frames > 0:
        raise ValueError(f"decay_frames is {decay_frames}, not above zero")
    # as a sum of logarithms the decay is a straight line, and the largest so far is one operation
    age = torch.arange(velocity.shape[-2], dtype=torch.float64, device=velocity.device)[:, None] / decay_frames
    return (torch.cummax(velocity.double().log() + age, dim=-2).values - age).exp().to(velocity.dtype)
