"""Whether there are drums at all, and how that moves onset activations.

A strummed guitar or a close voice triggers weak drum activations again and again, but hardly ever a confident one; real
drums are confident now and then. Until the hits so far speak for drums, a hit needs more proof. A clear hit is its own
proof, so only faint ones are lost, and no delay is added.

Contents
--------
Evidence
"""

from typing import Self

from . import _context
from .spec import ModelSpec

_NEUTRAL, _LEAST = -0.25, -1.35  # log-odds of an activation of .44 and of .21
_MOST = 6.0  # a hit at .68 proves drums at once; what many have proved lasts for half a minute without any
_FADE = 20.0  # seconds


class Evidence(_context.Evidence):
    """Weighs activations by whether drums were heard; see `dance._context.Evidence` for the method and other methods.

    Parameters
    ----------
    spec : ModelSpec
        Its `evidence` says how much: 0 leaves activations as they are.
    """

    def __new__(cls, spec: ModelSpec) -> Self:
        """Turn seconds into frames."""
        hop = spec.features.hop_seconds
        return super().__new__(cls, len(spec.labels), spec.evidence, _NEUTRAL, _LEAST, _MOST, _FADE / hop)
