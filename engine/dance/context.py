"""Weighs onset activations by the song so far: similar-sounding hits, repetition, and evidence of drums.

Contents
--------
Context, weighed
"""

import numpy as np
from numpy.typing import NDArray

from .evidence import Evidence
from .expectation import Expectation
from .spec import ModelSpec
from .votes import Votes

_F32 = NDArray[np.float32]


class Context:
    """Weighs activations, frame by frame or many at once.

    Parameters
    ----------
    spec : ModelSpec
        Its `votes`, `expectation` and `evidence` say how much.
    size : int
        Dimensions of a timbre, 0 where the model has none.
    """

    def __init__(self, spec: ModelSpec, size: int) -> None:
        self._votes = Votes(spec, size)
        self._expectation = Expectation(spec)
        self._evidence = Evidence(spec)

    def process(self, onsets: _F32, timbres: _F32) -> None:
        """Weigh activations [frames, labels] in place, given the timbres [frames, size]."""
        self._votes.process(onsets, timbres, onsets)
        self._expectation.process(onsets, onsets)
        self._evidence.process(onsets, onsets)

    def skip(self, frames: int) -> None:
        """Pass over lost frames."""
        self._votes.skip(frames)
        self._expectation.skip(frames)
        self._evidence.skip(frames)

    def reset(self) -> None:
        """Begin a new stream: nothing was heard before."""
        self._votes.reset()
        self._expectation.reset()
        self._evidence.reset()


def weighed(spec: ModelSpec, onsets: _F32, timbres: _F32 | None = None) -> _F32:
    """Return the activations of a whole recording as a `Detector` decides on them.

    Parameters
    ----------
    spec : ModelSpec
    onsets : float32 [frames, labels]
        What the network says.
    timbres : float32 [frames, size], optional
        Without them no hit votes, as with a model that has none.
    """
    if timbres is None:
        timbres = np.empty((len(onsets), 0), np.float32)
    found = np.array(onsets, np.float32, order="C")
    Context(spec, timbres.shape[1]).process(found, np.ascontiguousarray(timbres))
    return found
