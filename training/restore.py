"""Make a checkpoint, for training to go on from, of a model file and the configuration of its training.

A model file has its normalisation folded into the weights, and training normalises by what it sees in each batch: as it
stands, the file's network would become another one with the first batch. So the mean and spread of every channel are
measured on crops of the training sets and written into the normalisation, whose scale and shift undo them. What comes
out says what the file says, and still does when trained.
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import soundfile as sf
import torch
from torch import Tensor, nn

from dance.network import Network
from models.base import DrumNet
from models.restored import restored
from training.checkpoints import write_checkpoint
from training.config import TrainConfig, read_settings
from training.task import DrumTask, Mixes, checkpoint

BATCHES = 20
OF_THE_FILE = ("channels", "dilations", "mean_frames", "depth_db", "usual_db", "timbre")
"""Sizes of a TCN that its model file tells; `mean_frames` is the default in all that can be restored."""


def restore(model: Path, config: TrainConfig) -> dict[str, Any]:
    """Return weights and configuration, a checkpoint of `training.train`.

    Parameters
    ----------
    model : Path
        A file of ``training/export.py``.
    config : TrainConfig
        Its sets are measured on. The sizes of the network are those of the file.

    Raises
    ------
    ValueError
        If the file holds no TCN, or one of other labels or features than the configuration's.
    OSError, LibsndfileError
        If a set cannot be read.
    """
    network = restored(model)
    if network is None:
        raise ValueError(f"{model}: not a TCN; only TCNs can be restored")
    spec = Network(model).spec
    for name, theirs, asked in (
        ("architecture", "tcn", config.architecture),
        ("labels", spec.labels, config.labels),
        ("features", spec.features, config.features),
    ):
        if theirs != asked:
            raise ValueError(f"{model}: not a network of the configuration: {name} is {theirs}, there {asked}")
    known = {name: value for name, value in asdict(network.config).items() if name in OF_THE_FILE}
    task = DrumTask(asdict(replace(config, sizes={**config.sizes, **known})))
    task.network.load_state_dict(network.state_dict())
    data = Mixes(replace(config, valid=()))
    data.setup("fit")
    measure(task.network.eval(), (batch["frames"] for batch in itertools.islice(data.train, BATCHES)))
    return checkpoint(task)


@torch.no_grad()
def measure(network: DrumNet, batches: Iterable[Tensor]) -> None:
    """Give every normalisation the statistics of what it hears, and a scale and shift that undo them.

    Parameters
    ----------
    network : DrumNet
        In evaluation mode.
    batches : iterable of Tensor
        Frames [batch, time, bands].
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def note(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        heard = inputs[0].double()
        sums[norm] += torch.stack([torch.full_like(heard[0], len(heard)), heard.sum(0), heard.square().sum(0)])

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    for frames in batches:
        network(frames, network.init_state(len(frames)))
    for hook in hooks:
        hook.remove()
    for norm, (count, total, squares) in sums.items():
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        slope = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        norm.bias += slope * (mean - norm.running_mean)
        norm.weight.copy_(slope * torch.sqrt(variance + norm.eps))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python training/restore.py checkpoints/released/late.onnx --config checkpoints/released/late.json "
        "--out late.ckpt\n"
        "  python training/train.py --config checkpoints/released/late.json --init late.ckpt --name late\n",
    )
    result.add_argument(
        "model",
        type=Path,
        metavar="MODEL.onnx",
        help="model file of a TCN, written by training/export.py",
    )
    result.add_argument("--config", type=Path, metavar="JSON", required=True,
                        help="settings for the training to come, as for training/train.py, without sizes")  # fmt: skip
    result.add_argument("--out", type=Path, required=True, metavar="CKPT", help="the checkpoint to write")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        config = TrainConfig.from_dict(read_settings(args.config))
        made = restore(args.model, config)
        write_checkpoint(made, args.out)
    except (OSError, ValueError, sf.LibsndfileError) as error:
        print(f"restore: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    depth_db = made["hyper_parameters"]["config"]["sizes"]["depth_db"]
    if depth_db != config.sizes.get("depth_db"):  # which changes no weight, so that training would not notice
        print(f"{args.out}: depth_db is {depth_db}, as in the file; to train it on, let the sizes of --config say so")
    return 0


if __name__ == "__main__":
    sys.exit(main())
