"""Make a trained TCN longer and wider without changing what it says, for training to go on with.

Blocks that are added behind its own end in weights of zero, and nothing that was there listens to channels that are
added: the larger network says what the smaller one said (Chen, Goodfellow & Shlens, "Net2Net", 2016; Goyal et al.,
"Accurate, large minibatch SGD", 2017). That is also how a network learns to wait: with --delay it is asked for its
answer later, and blocks of a dilation of half the difference carry what it knows there. A teacher that has heard
what follows a hit labels songs for one that may not wait (`labelgen/pseudo.py`).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from dance.commands.arguments import natural, positive
from models.tcn import TCN
from training.checkpoints import write_checkpoint
from training.task import DrumTask, load_task
from training.task import checkpoint as as_checkpoint


def _enlarged(old: Tensor, new: Tensor) -> Tensor:
    """Return `new` with `old` in its first rows and columns, which hear nothing of the other columns."""
    result = new.clone()
    corner = tuple(slice(size) for size in old.shape[:2])
    if old.ndim > 1:
        result[: old.shape[0]] = 0
    result[corner] = old
    return result


def grow(
    checkpoint: Path,
    dilations: Sequence[int] = (),
    channels: int | None = None,
    delay: int | Sequence[int] | None = None,
) -> dict[str, object]:
    """Return weights and configuration of the larger network, a checkpoint to begin from.

    Parameters
    ----------
    checkpoint : Path
    dilations : sequence of int
        One new block each.
    channels : int, optional
        Width of the residual stream.
    delay : int or sequence of int, optional
        Label delay in frames that the network is to be trained for, for each label if there are several.

    Raises
    ------
    ValueError
        If it is no checkpoint, or holds no TCN or a wider one.
    """
    task = load_task(checkpoint)
    if not isinstance(task.network, TCN):
        raise ValueError(f"{checkpoint}: not a TCN; only TCNs can be enlarged")
    own = task.network.config
    if channels is not None and channels < own.channels:
        raise ValueError(f"{checkpoint}: has {own.channels} channels already; {channels} would be fewer")
    config = asdict(task.config)
    config["sizes"] |= {"dilations": [*own.dilations, *dilations], "channels": channels or own.channels}
    if delay is not None:
        config["delay"] = delay
    larger = DrumTask(config)
    assert isinstance(larger.network, TCN)
    fresh = larger.network.state_dict()
    weights = {
        name: _enlarged(old, fresh[name]) if old.ndim else old for name, old in task.network.state_dict().items()
    }
    larger.network.load_state_dict(weights, strict=False)
    for block in list(larger.network.blocks)[len(own.dilations) :]:
        torch.nn.init.zeros_(block.mix.weight)
        torch.nn.init.zeros_(block.mix.bias)
    return as_checkpoint(larger)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python training/grow.py checkpoints/released/dance.ckpt --channels 128 --dilations 32 64 --out large.ckpt\n"
        "  python training/grow.py checkpoints/released/dance.ckpt --dilations 5 5 10 --delay 12 --out late.ckpt\n"
        "  python training/train.py --train data/chunks/mine --init late.ckpt --name late\n",
    )
    result.add_argument(
        "checkpoint",
        type=Path,
        metavar="CKPT",
        help="checkpoint of a TCN, written by training/train.py",
    )
    result.add_argument("--dilations", type=positive(int), nargs="+", default=[], help="dilations of new blocks")
    result.add_argument("--channels", type=positive(int), help="width of the residual stream (default: as before)")
    result.add_argument("--delay", type=natural, nargs="+", metavar="FRAMES",
                        help="new label delay: one for all labels, or one for each (default: as before)")  # fmt: skip
    result.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    delay = args.delay[0] if args.delay and len(args.delay) == 1 else args.delay
    try:
        write_checkpoint(grow(args.checkpoint, args.dilations, args.channels, delay), args.out)
    except (OSError, ValueError) as error:
        print(f"grow: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
