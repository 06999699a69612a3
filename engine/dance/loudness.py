"""How loud a hit is among the last ones of its drum, which moves the velocity that the network gives it.

A network that hears a second of music knows how hard a drum sounds, not how loud this drum in this mix usually is.
The loudness in the drum's own bands orders the hits of a song better than the network does (``benchmarks/velocity.py
--ceiling``), but says nothing from song to song. So each takes what it knows: the velocity is the network's, raised
for hits louder than the drum's recent ones and lowered for softer ones.

Contents
--------
Loudness, RANGES, SLOPES, SPAN
"""

import math

import numpy as np
from numpy.typing import NDArray

from .features import centres
from .spec import ModelSpec

_F32 = NDArray[np.float32]

RANGES: dict[str, tuple[float, float]] = {
    "kick": (30, 320),
    "snare": (250, 4000),
    "hihat": (4300, 16000),
    "tom": (60, 1000),
    "cymbal": (3000, 16000),
}
"""Where a drum is loud, in hertz."""

SPAN = 3
"""Frames that are heard: the one that reports the hit and those before it, in one of which it was loudest."""

SLOPES: dict[str, float] = {"kick": 0.25, "snare": 0.18, "hihat": 0.13, "tom": 0.18, "cymbal": 0.13}
"""Logits of velocity for each decibel: about one for what a drum's hits spread by, 4 dB for kicks, 7 for hats."""

_MEMORY = 32  # hits


class Loudness:
    """Velocities of a stream's hits.

    Parameters
    ----------
    spec : ModelSpec
        Labels without a range in `RANGES` keep the network's velocity.
    """

    def __init__(self, spec: ModelSpec) -> None:
        at = centres(spec.features)
        ranges = [RANGES.get(label, (math.inf, -math.inf)) for label in spec.labels]
        self._bands = np.array([(at >= low) & (at <= high) for low, high in ranges], np.float32)
        self._slopes = np.array([SLOPES.get(label, 0.0) for label in spec.labels])
        self._usual = np.zeros(len(spec.labels))  # dB
        self._heard = np.zeros(len(spec.labels), int)  # hits, up to _MEMORY
        self._level = np.zeros(len(spec.labels))

    def velocities(self, frames: _F32, velocity: _F32) -> _F32:
        """Return the velocities that hits in the last of these frames would have.

        Parameters
        ----------
        frames : float32 [SPAN, bands]
            dB.
        velocity : float32 [labels]
            The network's.

        Returns
        -------
        float32 [labels]
        """
        power = np.power(10, frames * np.float32(0.1)) @ self._bands.T
        self._level = 10 * np.log10(power.max(axis=0) + 1e-10)
        louder = np.where(self._heard > 0, self._slopes * (self._level - self._usual), 0)
        own = np.clip(velocity, 1e-3, 1 - 1e-3)
        return (1 / (1 + (1 / own - 1) * np.exp(-louder))).astype(np.float32)

    def learn(self, struck: NDArray[np.bool_]) -> None:
        """Remember how loud the drums that were struck (bool [labels]) are in the frames that were given last."""
        self._heard[struck] = np.minimum(self._heard[struck] + 1, _MEMORY)
        self._usual[struck] += (self._level[struck] - self._usual[struck]) / self._heard[struck]

    def reset(self) -> None:
        """Begin a new stream."""
        self._heard.fill(0)
        self._usual.fill(0)
