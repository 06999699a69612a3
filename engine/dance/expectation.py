"""What the last bars make us expect, and how that moves onset activations.

Most music repeats itself after a beat, a bar or two. A network that sees three seconds knows what a hit sounds like,
but not that this song has its snare on every second beat. Here each activation is weighed by what followed the same
rhythm before. Where a hit is expected more surely than the repetition is exact, an activation rises; where the
repetition contains no hit, it falls, the more so the more exact the repetition is. Where nothing repeats, as in speech,
all activations fall a little. Only the past is used, so no delay is added.

Contents
--------
Expectation
"""

from typing import Self

from . import _context
from .spec import ModelSpec

_SHORTEST, _LONGEST = 0.2, 8.0  # seconds: from a note of a fast song to four bars at 120 beats a minute
_SIMILAR, _MEAN = 3.0, 5.0  # seconds: how long it listens for repetition, and the mean that does not count as such
_SHARPNESS = 20.0
_LEAST = 6  # frames: a lag must be longer than the smoothing


class Expectation(_context.Expectation):
    """Weighs activations by what repeats; see `dance._context.Expectation` for the method and the other methods.

    Parameters
    ----------
    spec : ModelSpec
        Its `expectation` says how much: 0 leaves activations as they are.
    """

    def __new__(cls, spec: ModelSpec) -> Self:
        """Turn seconds into frames, and set buffers aside."""
        hop = spec.features.hop_seconds
        shortest, longest = max(round(_SHORTEST / hop), _LEAST), round(_LONGEST / hop)
        return super().__new__(
            cls, len(spec.labels), spec.expectation, shortest, longest, _SIMILAR / hop, _MEAN / hop, _SHARPNESS
        )
