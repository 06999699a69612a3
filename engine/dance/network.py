"""One step of the streaming model in an ``.onnx`` file, its state kept inside.

The file has an input ``frame`` float32 [1, bands] in dB, outputs ``onset`` and ``velocity`` float32 [1, labels] in
0..1, perhaps an output ``timbre`` float32 [1, n], by which sounds are compared, and for every further input X (a state,
zero at first) an output ``next_X`` of the same shape. Its metadata hold a ModelSpec as JSON under the key ``dance``.

ONNX Runtime takes any graph of that form. For a temporal convolutional network, such as the released model, a compiled
step is used instead.

Contents
--------
Network
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import SpecError
from .onnx_file import OnnxFile
from .onnx_session import METADATA, OnnxSession
from .spec import ModelSpec
from .tcn import TCN


class Network:
    """A model as a function of one frame.

    Parameters
    ----------
    path : path-like
        The ``.onnx`` file.
    compiled : bool
        Whether to use the compiled step where there is one; otherwise ONNX Runtime does every graph.

    Attributes
    ----------
    spec : ModelSpec
    compiled : bool
        Whether the compiled step is used.
    timbre : float32 [1, n]
        Of the last frame; the next step overwrites it. Empty if the model tells none.

    Raises
    ------
    SpecError
        If the file cannot be read or is not a model of the form above.
    """

    def __init__(self, path: str | os.PathLike[str], *, compiled: bool = True) -> None:
        self.spec, self._network = _open(Path(path), compiled)
        self.compiled = isinstance(self._network, TCN)
        self._onset, self._velocity = np.zeros((2, 1, len(self.spec.labels)), np.float32)
        self.timbre = np.zeros((1, self._network.size), np.float32)

    def step(self, frame: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Take in one frame.

        Parameters
        ----------
        frame : float32 [bands]

        Returns
        -------
        onset, velocity : float32 [1, labels]
            Valid until the next step, which overwrites them.

        Raises
        ------
        TypeError
            If the frame is not float32; nothing is converted silently.
        ValueError
            If it has another shape.
        """
        if frame.dtype != np.float32:
            raise TypeError(f"a frame must be float32, not {frame.dtype}")
        self._network.step(frame, self._onset[0], self._velocity[0], self.timbre[0])
        return self._onset, self._velocity

    def reset(self) -> None:
        """Begin a new stream: all states are zero."""
        self._network.reset()
        for result in (self._onset, self._velocity, self.timbre):
            result.fill(0)


def _open(path: Path, compiled: bool) -> tuple[ModelSpec, TCN | OnnxSession]:
    if not path.is_file():
        raise SpecError(f"no model file {path}")
    if compiled:
        try:
            file = OnnxFile.read(path)
        except (OSError, ValueError):
            file = None  # ONNX Runtime says better what is wrong
        if file and TCN.described(file):
            spec = ModelSpec.from_json(file.metadata.get(METADATA, ""))
            return spec, TCN(file, spec.features.bands, len(spec.labels))
    session = OnnxSession(path)
    return session.spec, session
