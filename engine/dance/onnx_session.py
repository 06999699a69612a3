"""One step of any streaming model by ONNX Runtime, its states kept inside.

Contents
--------
OnnxSession, METADATA
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import SpecError
from .spec import ModelSpec

if TYPE_CHECKING:
    import onnxruntime

METADATA = "dance"
"""Key of the ModelSpec."""
_NEXT = "next_"
_TIMBRE = "timbre"


class OnnxSession:
    """A graph and what it remembers of its stream.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    spec : ModelSpec
    size : int
        Dimensions of the timbre.

    Raises
    ------
    SpecError
        If the file cannot be read or is not a model of the form that `dance.network` describes.
    """

    def __init__(self, path: Path) -> None:
        session = _open(path)
        self.spec = _spec(session, path)
        inputs, outputs = _shapes(session, self.spec, path)
        self._session = session
        self._frame = np.zeros(inputs.pop("frame"), np.float32)
        self._results = {
            name: np.zeros(outputs[name], np.float32) for name in ("onset", "velocity", _TIMBRE) if name in outputs
        }
        self.size = self._results[_TIMBRE].size if _TIMBRE in outputs else 0
        # A step reads one set of states and writes the other. Bound once, a call costs half of what passing
        # arrays does, and allocates no tensors.
        self._states = [{name: np.zeros(shape, np.float32) for name, shape in inputs.items()} for _ in range(2)]
        self._bindings = [self._bind(self._states[k], self._states[1 - k]) for k in range(2)]
        self._turn = 0
        # The first call is many times slower than all others.
        self._session.run_with_iobinding(self._bindings[0])
        self.reset()

    def step(
        self,
        frame: NDArray[np.float32],
        onset: NDArray[np.float32],
        velocity: NDArray[np.float32],
        timbre: NDArray[np.float32],
    ) -> None:
        """Take in one frame [bands]; fill onset and velocity [labels] and timbre [size]."""
        np.copyto(self._frame[0], frame)
        self._session.run_with_iobinding(self._bindings[self._turn])
        self._turn = 1 - self._turn
        for result, out in zip(self._results.values(), (onset, velocity, timbre), strict=False):
            np.copyto(out, result[0])

    def reset(self) -> None:
        """Begin a new stream: all states are zero."""
        self._turn = 0
        for states in self._states:
            for state in states.values():
                state.fill(0)

    def _bind(
        self, before: dict[str, NDArray[np.float32]], after: dict[str, NDArray[np.float32]]
    ) -> "onnxruntime.IOBinding":
        """Tie inputs and outputs to the memory of our arrays (on a CPU these tensors are views)."""
        import onnxruntime

        binding = self._session.io_binding()
        for name, array in {"frame": self._frame, **before}.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        for name, array in {**self._results, **{_NEXT + name: array for name, array in after.items()}}.items():
            binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        return binding


def _open(path: Path) -> "onnxruntime.InferenceSession":
    import onnxruntime  # slow to load, and of no use before there is a model

    options = onnxruntime.SessionOptions()
    # A step is too small to share; waiting threads would only heat the machine.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own classes share no base but this
        raise SpecError(f"{path} is not a model that ONNX Runtime can run: {error}") from None


def _spec(session: "onnxruntime.InferenceSession", path: Path) -> ModelSpec:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if text is None:
        raise SpecError(f"{path} does not describe itself (no metadata {METADATA!r}); make it with training/export.py")
    return ModelSpec.from_json(text)


def _shapes(
    session: "onnxruntime.InferenceSession", spec: ModelSpec, path: Path
) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Return the shapes of inputs and outputs after checking that they are those of a streaming step."""
    inputs = {node.name: node.shape for node in session.get_inputs()}
    outputs = {node.name: node.shape for node in session.get_outputs()}
    for node in [*session.get_inputs(), *session.get_outputs()]:
        if node.type != "tensor(float)" or not all(isinstance(size, int) for size in node.shape):
            raise SpecError(f"{path}: {node.name} must be float32 of fixed shape, not {node.type} {node.shape}")
    results = [1, len(spec.labels)]
    expected = {"onset": results, "velocity": results}
    expected |= {_NEXT + name: shape for name, shape in inputs.items() if name != "frame"}
    if inputs.get("frame") != [1, spec.features.bands]:
        raise SpecError(f"{path}: input frame must be [1, {spec.features.bands}], not {inputs.get('frame')}")
    timbre = outputs.get(_TIMBRE)
    if timbre and timbre[:-1] == [1]:
        expected[_TIMBRE] = timbre
    if outputs != expected:
        raise SpecError(f"{path}: outputs must be {expected}, not {outputs}")
    return inputs, outputs
