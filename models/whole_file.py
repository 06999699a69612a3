"""A model file that hears whole recordings: at once if it holds a TCN that can be restored, else frame by frame.

Contents
--------
WholeFile
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from dance.network import Network
from models.restored import hear, restored

F32 = npt.NDArray[np.float32]


class WholeFile:
    """A model, loaded.

    Parameters
    ----------
    path : Path
        A file of ``training/export.py``.
    at_once : bool
        False: frame by frame in any case, as the engine does it.

    Attributes
    ----------
    spec : ModelSpec
    timbre : int
        Dimensions of the timbres that it tells; 0 if it tells none.

    Raises
    ------
    SpecError
        If the file is no model.
    """

    def __init__(self, path: Path, at_once: bool = True) -> None:
        self._network = Network(path)
        self._restored = restored(path) if at_once else None
        self.spec = self._network.spec
        self.timbre = self._network.timbre.shape[1]

    def hear(self, frames: F32) -> tuple[F32, F32]:
        """Return what the model says about a recording [time, bands] in dB; see `models.restored.hear`."""
        if self._restored is not None:
            return hear(self._restored, frames)
        self._network.reset()
        answers = np.empty((2, len(frames), len(self.spec.labels)), np.float32)
        timbres = np.empty((len(frames), self.timbre), np.float32)
        for at, frame in enumerate(frames):
            answers[:, at] = np.concatenate(self._network.step(frame))
            timbres[at] = self._network.timbre[0]
        return answers, timbres
