"""What every network first does with a log-mel frame: level, rise, and level against its recent mean.

The level tells the timbre, the rise the attack, and the difference from a running mean finds drums in
mixes that are dark or loud throughout. Frames are in dB as `dance.features.LogMel` gives them; silence
maps to 0. The mean is an exponential one, corrected for its start as in Kingma & Ba, "Adam" (2015): in a
young stream it is the mean of what there was, so that crops of a few seconds teach what hours will show.

Below a floor that follows the loudest band of late nothing is told apart. Renderings, most of what is learned from,
are silent where records have noise, rooms and codecs: what stirs that deep means a drum there and nothing here.
Full scale is as loud as it counts, so that a broken input does not leave a stream deaf for minutes.

Contents
--------
Frontend, FADE_DB, FULL_SCALE
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SILENCE_DB = -100.0
SCALE_DB = 30.0
FADE_DB = 0.05
"""By which the loudest band of late is forgotten each frame: 5 dB a second."""
FULL_SCALE = -SILENCE_DB / SCALE_DB
"""Level of 0 dB, beyond which nothing raises the floor."""


class Frontend(nn.Module):
    """Turn frames [batch, time, bands] in dB into inputs [batch, time, 3 * bands].

    Parameters
    ----------
    bands : int
    mean_frames : float
        Time constant of the running mean in frames.
    depth_db : float, optional
        How far the floor lies below the loudest band of late, forgotten by `FADE_DB` a frame; none if None.
    """

    def __init__(self, bands: int, mean_frames: float, depth_db: float | None = None) -> None:
        super().__init__()
        self.bands = bands
        self.depth = None if depth_db is None else depth_db / SCALE_DB
        self.decay = 1 - 1 / mean_frames

    def init_state(self, batch: int) -> list[Tensor]:
        """Return the state before a stream: the last level; decayed sums of levels and of their weights, the peak."""
        return [torch.zeros(batch, self.bands), torch.zeros(batch, self.bands + 2)]

    def forward(self, frames: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return inputs and the next state; any number of frames, in a row equal to one by one."""
        last, memory = state
        sums, peak = memory[:, :-1], memory[:, -1:]
        level = (frames - SILENCE_DB) / SCALE_DB
        before = torch.cat([last[:, None], level[:, :-1]], dim=1)
        last = level[:, -1]
        if self.depth is not None:
            peak = self._fading_peaks(level, peak)
            floor = peak[:, :, None] - self.depth
            level, before = torch.maximum(level, floor), torch.maximum(before, floor)  # a floor that rises is no attack
        rise = torch.relu(level - before)
        sums = self._decayed_sums(F.pad(level, (0, 1), value=1.0), sums)
        means = sums[:, :, :-1] / sums[:, :, -1:]
        return torch.cat([level, 2 * rise, level - means], dim=-1), [
            last,
            torch.cat([sums[:, -1], peak[:, -1:]], dim=1),
        ]

    def _fading_peaks(self, level: Tensor, before: Tensor) -> Tensor:
        """Return the loudest band of late [batch, time] at each frame."""
        faded = FADE_DB / SCALE_DB * torch.arange(1, level.shape[1] + 1, device=level.device)
        return torch.maximum((level.amax(2).clamp(max=FULL_SCALE) + faded).cummax(1).values, before) - faded

    def _decayed_sums(self, values: Tensor, before: Tensor) -> Tensor:
        time = values.shape[1]
        if time == 1:
            return self.decay * before[:, None] + (1 - self.decay) * values
        # the recursion unrolled: a lower triangular matrix of decays, fast for training's short crops
        lag = torch.arange(time, device=values.device)
        power = lag[:, None] - lag[None, :]
        weights = torch.where(power >= 0, (1 - self.decay) * self.decay ** power.clamp(min=0).float(), 0.0)
        start = self.decay ** (lag + 1).float()
        with torch.autocast(values.device.type, enabled=False):  # half the digits would not do for a quotient of sums
            return torch.einsum("tu,bun->btn", weights, values) + start[None, :, None] * before[:, None]
