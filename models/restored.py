"""An exported TCN as a network again: to hear whole recordings at once, several times faster than frame by frame.

`models.streaming` folds normalisations into weights and moves biases; here they are put back where a `TCN` has them,
with normalisations that do nothing. Needs no checkpoint.

Contents
--------
restored, hear, PIECE
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from dance.network import Network
from models.base import DrumNet
from models.frontend import SCALE_DB
from models.tcn import TCN, TCNConfig

F32 = npt.NDArray[np.float32]
PIECE = 1000  # frames that are heard at once: the frontend's mean takes the square of it
SAME = 1e-4  # largest difference to what the file itself answers


def restored(path: Path) -> TCN | None:
    """Return the network of a file of ``training/export.py``, or None if it holds no TCN that this can restore.

    Raises
    ------
    SpecError
        If the file is no model.
    """
    exported = Network(path, compiled=False)
    weights = {x.name: torch.from_numpy(numpy_helper.to_array(x).copy()) for x in onnx.load(path).graph.initializer}
    try:
        network = _assembled(weights, exported.spec.features.bands, len(exported.spec.labels))
    except (KeyError, RuntimeError):  # of another architecture
        return None
    frames = np.random.default_rng(0).normal(-50, 15, (100, network.bands)).astype(np.float32)
    answers = [np.concatenate(exported.step(frame)) for frame in frames]
    return network if np.abs(np.stack(answers, 1) - hear(network, frames)[0]).max() < SAME else None


def hear(network: DrumNet, frames: F32) -> tuple[F32, F32]:
    """Return what a network says about a whole recording, a TCN's timbres included.

    Parameters
    ----------
    network : DrumNet
    frames : float32 [time, bands]
        In dB.

    Returns
    -------
    answers : float32 [2, time, labels]
        Onset probabilities and velocities.
    timbres : float32 [time, n]
        n is 0 where the network tells none.
    """
    answers = np.empty((2, len(frames), network.labels), np.float32)
    timbres = np.empty((len(frames), network.config.timbre if isinstance(network, TCN) else 0), np.float32)
    state = network.init_state(1)
    with torch.no_grad():
        for start in range(0, len(frames), PIECE):
            piece = slice(start, start + PIECE)
            part = torch.from_numpy(frames[None, piece])
            if isinstance(network, TCN):
                features, state = network.features(part, state)
                logits, velocity = network.heads(features)
                if network.heads.timbre is not None:
                    timbres[piece] = network.heads.timbre(features[0]).numpy()
            else:
                logits, velocity, state = network(part, state)
            answers[:, piece] = torch.cat([torch.sigmoid(logits), velocity]).numpy()
    return answers, timbres


@torch.no_grad()
def _assembled(weights: dict[str, Tensor], bands: int, labels: int) -> TCN:
    """Return the TCN whose `StreamingTCN` these are; KeyError or RuntimeError if they are of something else."""
    before, skipped, taps = (weights[f"stack.{name}"] for name in ("before", "skipped", "taps"))
    channels = skipped.shape[1]
    dilations = (taps[1::2] - taps[::2]).tolist()
    depth_db = round(float(weights["frontend.depth"]) * SCALE_DB, 3) if "frontend.depth" in weights else None
    usual = weights.get("frontend.lift.usual", torch.empty(0)) * SCALE_DB
    timbre = {name: weights[name] for name in ("heads.timbre.weight", "heads.timbre.bias") if name in weights}
    size = len(timbre["heads.timbre.bias"]) if timbre else 0
    config = TCNConfig(bands, labels, channels, tuple(dilations), depth_db=depth_db,
                       usual_db=tuple(usual.tolist()), timbre=size)  # fmt: skip
    network = TCN(config).eval()
    network.stem.conv.weight.copy_(weights["weight"].view(3, 3 * bands, channels).permute(2, 1, 0))
    _passing(network.norm, weights["bias"][0])
    following = torch.cat([skipped[1:], weights["stack.last"][None]])
    for number, block in enumerate(network.blocks):
        now = weights[f"stack.now.{number}"].T
        first, second = before[number].split(channels)
        block.past.conv.weight.copy_(torch.stack([first.T, second.T, now], dim=2))
        _passing(block.norm, weights["stack.biases"][number] - now @ skipped[number])
        block.mix.weight.copy_(weights[f"stack.mix.{number}"].T[:, :, None])
        block.mix.bias.copy_(following[number] - skipped[number])
    for name, part in (("weight", weights["heads.both.weight"]), ("bias", weights["heads.both.bias"])):
        onset, velocity = part.split(labels)
        getattr(network.heads.onset, name).copy_(onset)
        getattr(network.heads.velocity, name).copy_(velocity)
    network.load_state_dict(timbre, strict=False)
    return network


def _passing(norm: nn.BatchNorm1d, bias: Tensor) -> None:
    """Let a normalisation add `bias` and do nothing else."""
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.fill_(1)
    norm.bias.copy_(bias)
