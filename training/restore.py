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

import torch
from torch import Tensor, nn

from models.base import DrumNet
from models.restored import restored
from training.checkpoints import write_checkpoint
from training.train import DrumTask, Mixes, TrainConfig, checkpoint, read_settings

BATCHES = 20


def restore(model: Path, config: TrainConfig) -> dict[str, Any]:
    """Return weights and configuration, a checkpoint of `training.train`.

    Parameters
    ----------
    model : Path
        A file of ``training/export.py``.
    config : TrainConfig
        Of a network of the same shape; its sets are measured on.

    Raises
    ------
    ValueError
        If the file holds no TCN, or one of another shape than the configuration's.
    OSError
        If a set cannot be read.
    """
    network = restored(model)
    if network is None:
        raise ValueError(f"{model}: not a TCN; others cannot be restored")
    task = DrumTask(asdict(config))
    try:
        task.network.load_state_dict(network.state_dict())
    except RuntimeError as error:
        raise ValueError(f"{model}: not the network of the configuration ({error})") from None
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
    result.add_argument("model", type=Path, metavar="MODEL.onnx", help="a TCN of training/export.py")
    result.add_argument("--config", type=Path, metavar="JSON", required=True,
                        help="settings of the training to come, as for training/train.py")  # fmt: skip
    result.add_argument("--out", type=Path, required=True, metavar="CKPT", help="the checkpoint to write")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        config = TrainConfig.from_dict(read_settings(args.config))
        write_checkpoint(restore(args.model, config), args.out)
    except (OSError, ValueError) as error:
        print(f"restore: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
