"""Networks read back from a shred classifier's ``.onnx`` file, to go on training where it ended.

The export has folded each normalisation into the convolution before it, and has put the gates of the recurrent
layer into the order of ONNX. Here the gates are put back, and each normalisation is one that changes nothing but
adds the bias; it has to stay in evaluation mode (`freeze`), since statistics of a batch would undo the folding.

Contents
--------
read_networks, freeze
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from models.shred import ShredConfig, ShredNet

CONVOLUTIONS = 4


def read_networks(path: Path, config: ShredConfig) -> list[ShredNet]:
    """Return the networks whose mean the classifier at `path` is.

    Parameters
    ----------
    path : Path
        Written by ``training/train_shreds.py``.
    config : ShredConfig
        Of each network.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    graph = onnx.load(path).graph
    weights = {x.name: numpy_helper.to_array(x) for x in graph.initializer}
    inputs = {kind: [n.input for n in graph.node if n.op_type == kind] for kind in ("Conv", "Gemm", "MatMul", "GRU")}
    nets = []
    for number in range(len(inputs["Gemm"])):
        state: dict[str, Tensor] = {}
        net = ShredNet(config)

        def put(name: str, values: npt.NDArray[np.float32], state: dict[str, Tensor] = state) -> None:
            state[name] = torch.from_numpy(values.copy())

        for layer, names in enumerate(inputs["Conv"][CONVOLUTIONS * number :][:CONVOLUTIONS]):
            put(f"shape.{3 * layer}.weight", weights[names[1]])
            put(f"shape.{3 * layer + 1}.bias", weights[names[2]])
        put("describe.2.weight", weights[inputs["Gemm"][number][1]])
        put("describe.2.bias", weights[inputs["Gemm"][number][2]])
        for name, dense in zip(("alone", "together"), inputs["MatMul"][2 * number :], strict=False):
            put(f"{name}.weight", weights[dense[1]].T)
            put(f"{name}.bias", weights[f"nets.{number}.{name}.bias"])
        inner, recurrent, biases = (weights[name] for name in inputs["GRU"][number][1:4])
        for way, suffix in enumerate(("", "_reverse")):
            put(f"around.weight_ih_l0{suffix}", _gates(inner[way]))
            put(f"around.weight_hh_l0{suffix}", _gates(recurrent[way]))
            for name, values in zip(("ih", "hh"), np.split(biases[way], 2), strict=True):
                put(f"around.bias_{name}_l0{suffix}", _gates(values))
        try:
            net.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise ValueError(f"{path}: not networks of these sizes ({str(error).splitlines()[-1].strip()})") from None
        nets.append(net.eval())
    if not nets:
        raise ValueError(f"{path}: no networks of a shred classifier in it")
    return nets


def _gates(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Put gates (update, reset, new) into torch's order (reset, update, new)."""
    update, reset, new = np.split(values, 3)
    return np.concatenate([reset, update, new])


def freeze(net: ShredNet) -> None:
    """Let the normalisations of a network in training do what they do in use."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
