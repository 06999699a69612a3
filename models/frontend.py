"""What every network first does with a log-mel frame: level, rise, and level against its recent mean.

The level tells the timbre, the rise the attack, and the difference from a running mean finds drums in
mixes that are dark or loud throughout. Frames are in dB as `dance.features.LogMel` gives them; silence
maps to 0. The mean is an exponential one, corrected for its start as in Kingma & Ba, "Adam" (2015): in a
young stream it is the mean of what there was, so that crops of a few seconds teach what hours will show.

Below a floor that follows the loudest band of late nothing is told apart. Renderings, most of what is learned from,
are silent where records have noise, rooms and codecs: what stirs that deep means a drum there and nothing here.
Full scale is as loud as it counts, so that a broken input does not leave a stream deaf for minutes.

Small speakers and microphones have no lows, and a kick without them is none to a network that knows it by them. Where
the lows of what was loud in the last minute lie further below its middle than music's usually do, they are lifted.

Contents
--------
Frontend, Lift, FADE_DB, FULL_SCALE, fading_peaks, decayed_sums
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SILENCE_DB = -100.0
SCALE_DB = 30.0
FADE_DB = 0.05
"""By which the loudest band of late is forgotten each frame: 5 dB a second."""
FULL_SCALE = -SILENCE_DB / SCALE_DB
"""Level of 0 dB, beyond which nothing raises the floor."""


class Lift(nn.Module):
    """How much louder each band should be, by what the channel took from the lows.

    Parameters
    ----------
    usual_db : sequence of float [bands]
        Mean spectrum of loud frames of music.
    """

    LOWS = (0.09, 0.15)  # of the bands: up to here lifted in full, from there on not at all
    MIDDLE = (0.19, 0.75)  # of the bands: what lows are compared with
    LOUD_DB, LEAST_DB = 30.0, 25.0  # a frame counts this far below the loudest of late, this far above silence
    FRAMES, TRUST = 6000.0, 300.0  # time constant of the mean; how many frames it takes to be half trusted
    SHARE, FREE_DB, MOST_DB = 2.0, 3.0, 20.0  # of what is missing beyond what is free, up to the most

    def __init__(self, usual_db: Sequence[float]) -> None:
        super().__init__()
        self.bands = len(usual_db)
        band = torch.arange(self.bands) / self.bands
        usual = torch.tensor(usual_db) / SCALE_DB
        middle = ((band >= self.MIDDLE[0]) & (band < self.MIDDLE[1])).float()
        middle /= middle.sum()
        first, last = self.LOWS
        self.decay = 1 - 1 / self.FRAMES
        self.register_buffer("usual", usual - middle @ usual)
        self.register_buffer("middle", middle[:, None])
        self.register_buffer("lows", ((last - band) / (last - first)).clamp(0, 1))

    def numbers(self) -> dict[str, float]:
        """Return what its arithmetic needs beside tensors; levels are parts of `SCALE_DB`."""
        return {
            "loud": self.LOUD_DB / SCALE_DB,
            "least": self.LEAST_DB / SCALE_DB,
            "decay": self.decay,
            "trust": (1 - self.decay) * self.TRUST,
            "share": self.SHARE,
            "free": self.FREE_DB / SCALE_DB,
            "most": self.MOST_DB / SCALE_DB,
        }

    @classmethod
    def loud(cls, level: Tensor, peak: Tensor) -> Tensor:
        """Return 1 for frames [..., bands] that count, given the loudest band of late [..., 1], else 0."""
        least = torch.clamp(peak - cls.LOUD_DB / SCALE_DB, min=cls.LEAST_DB / SCALE_DB)
        loudest = level.amax(-1, keepdim=True)
        return ((loudest > least) & (loudest <= FULL_SCALE)).to(level.dtype)  # what is louder is a broken input

    def forward(self, sums: Tensor) -> Tensor:
        """Return what to add to levels [..., bands], from decayed sums of loud ones and their weights last."""
        total, weight = sums.split([self.bands, 1], dim=-1)
        mean = total / weight.clamp(min=1e-9)
        missing = self.usual + mean @ self.middle - mean - self.FREE_DB / SCALE_DB
        trust = weight / (weight + (1 - self.decay) * self.TRUST)
        return (self.SHARE * missing).clamp(0, self.MOST_DB / SCALE_DB) * self.lows * trust


class Frontend(nn.Module):
    """Turn frames [batch, time, bands] in dB into inputs [batch, time, 3 * bands].

    Parameters
    ----------
    bands : int
    mean_frames : float
        Time constant of the running mean in frames.
    depth_db : float, optional
        How far the floor lies below the loudest band of late, forgotten by `FADE_DB` a frame; none if None.
    usual_db : sequence of float [bands], optional
        The spectrum that lows are lifted to (`Lift`); not lifted if empty.
    """

    def __init__(
        self, bands: int, mean_frames: float, depth_db: float | None = None, usual_db: Sequence[float] = ()
    ) -> None:
        super().__init__()
        if usual_db and len(usual_db) != bands:
            raise ValueError(f"the usual spectrum has {len(usual_db)} bands, not {bands}")
        self.bands = bands
        self.depth = None if depth_db is None else depth_db / SCALE_DB
        self.decay = 1 - 1 / mean_frames
        self.lift = Lift(usual_db) if usual_db else None

    def numbers(self) -> dict[str, float | None]:
        """Return what its arithmetic needs beside tensors; levels are parts of `SCALE_DB`."""
        return {
            "silence_db": SILENCE_DB,
            "scale_db": SCALE_DB,
            "fade": FADE_DB / SCALE_DB,
            "full_scale": FULL_SCALE,
            "decay": self.decay,
            "depth": self.depth,
        }

    def init_state(self, batch: int) -> list[Tensor]:
        """Return the state before a stream.

        The last level; decayed sums of levels and of their weights, the peak, and sums and weights of loud ones.
        """
        lift = 0 if self.lift is None else self.bands + 1
        return [torch.zeros(batch, self.bands), torch.zeros(batch, self.bands + 2 + lift)]

    def forward(self, frames: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return inputs and the next state; any number of frames, in a row equal to one by one."""
        last, memory = state
        sums, peak, loud = memory.split([self.bands + 1, 1, memory.shape[1] - self.bands - 2], dim=1)
        level = (frames - SILENCE_DB) / SCALE_DB
        if self.depth is not None or self.lift is not None:
            peaks = fading_peaks(level, peak)
            peak = peaks[:, -1:]
        if self.lift is not None:
            counts = self.lift.loud(level, peaks[:, :, None])
            loud_sums = decayed_sums(F.pad(level * counts, (0, 1)) + F.pad(counts, (self.bands, 0)), loud,
                                     self.lift.decay)  # fmt: skip
            level, loud = level + self.lift(loud_sums), loud_sums[:, -1]
        before = torch.cat([last[:, None], level[:, :-1]], dim=1)
        last = level[:, -1]
        if self.depth is not None:
            floor = peaks[:, :, None] - self.depth
            level, before = torch.maximum(level, floor), torch.maximum(before, floor)  # a floor that rises is no attack
        rise = torch.relu(level - before)
        all_sums = decayed_sums(F.pad(level, (0, 1), value=1.0), sums, self.decay)
        means = all_sums[:, :, :-1] / all_sums[:, :, -1:]
        return torch.cat([level, 2 * rise, level - means], dim=-1), [
            last,
            torch.cat([all_sums[:, -1], peak, loud], dim=1),
        ]


def fading_peaks(level: Tensor, before: Tensor) -> Tensor:
    """Return the loudest band of late [batch, time] at each frame."""
    faded = FADE_DB / SCALE_DB * torch.arange(1, level.shape[1] + 1, device=level.device)
    return torch.maximum((level.amax(2).clamp(max=FULL_SCALE) + faded).cummax(1).values, before) - faded


def decayed_sums(values: Tensor, before: Tensor, decay: float) -> Tensor:
    """Return exponential sums [batch, time, n] of values of the same shape, going on from those before [batch, n]."""
    time = values.shape[1]
    if time == 1:
        return decay * before[:, None] + (1 - decay) * values
    # the recursion unrolled: a lower triangular matrix of decays, fast for training's short crops
    lag = torch.arange(time, device=values.device)
    power = lag[:, None] - lag[None, :]
    weights = torch.where(power >= 0, (1 - decay) * decay ** power.clamp(min=0).float(), 0.0)
    start = decay ** (lag + 1).float()
    with torch.autocast(values.device.type, enabled=False):  # half the digits would not do for a quotient of sums
        return torch.einsum("tu,bun->btn", weights, values) + start[None, :, None] * before[:, None]
