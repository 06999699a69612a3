"""What hits that sound alike were taken for, and how that moves onset activations.

A drum sounds similar each time it is hit. Where the network hesitates over a hit in a mix, it has heard the same drum
more clearly before; and a sound taken for a snare once is not a snare if twenty others like it were not. Here each
frame that may be a hit is compared with earlier hits by the network's timbre, and its activations move towards what
these were taken for. Only the past is used, so no delay is added.

Contents
--------
Votes, FAINTEST
"""

from typing import Self

from . import _context
from .spec import ModelSpec

FAINTEST = _context.FAINTEST
"""Activation from which a peak is remembered."""

_SHARPNESS = 8.0  # a hit at right angles weighs e^-8, one at 0.9 half
_HITS = 256
_FIRST, _MEMORY = 1.0, 20.0  # seconds: of nothing before the stream, in the mean timbre; and how long hits vote


class Votes(_context.Votes):
    """Weighs activations by hits that sounded alike; see `dance._context.Votes` for the method and the other methods.

    Parameters
    ----------
    spec : ModelSpec
        Its `votes` say how much: 0 leaves activations as they are.
    size : int
        Dimensions of a timbre, 0 where the model tells none.
    """

    def __new__(cls, spec: ModelSpec, size: int) -> Self:
        """Turn seconds into frames, and set buffers aside."""
        hop = spec.features.hop_seconds
        return super().__new__(
            cls, len(spec.labels), size, spec.votes, _SHARPNESS, _HITS, _FIRST / hop, round(_MEMORY / hop)
        )
