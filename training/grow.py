"""Lengthen a trained TCN: blocks that change nothing yet are added behind its own, for training to go on with.

The new blocks end in weights of zero, so that the longer network says what the shorter one said (Chen, Goodfellow &
Shlens, "Net2Net", 2016; Goyal et al., "Accurate, large minibatch SGD", 2017). That is how a network learns to wait:
with --delay it is asked for its answer later, and blocks of a dilation of half the difference carry what it knows
there. A teacher that has heard what follows a hit labels songs for one that may not wait (`labelgen/pseudo.py`).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from models.tcn import TCN
from training.train import DrumTask


def grow(checkpoint: Path, dilations: Sequence[int], delay: int | None = None) -> dict[str, object]:
    """Return weights and configuration of the longer network, a checkpoint to begin from.

    Parameters
    ----------
    checkpoint : Path
    dilations : sequence of int
        One new block each.
    delay : int, optional
        Label delay in frames that the network is to be trained for.

    Raises
    ------
    ValueError
        If the checkpoint holds no TCN.
    """
    task = DrumTask.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
    if not isinstance(task.network, TCN):
        raise ValueError(f"{checkpoint}: not a TCN; others cannot be lengthened")
    config = dict(task.hparams["config"])
    own = task.network.config.dilations
    config["sizes"] = {**config["sizes"], "dilations": [*own, *dilations]}
    config["delay"] = config["delay"] if delay is None else delay
    longer = DrumTask(config)
    assert isinstance(longer.network, TCN)
    longer.network.load_state_dict(task.network.state_dict(), strict=False)
    for block in list(longer.network.blocks)[len(own) :]:
        torch.nn.init.zeros_(block.mix.weight)
        torch.nn.init.zeros_(block.mix.bias)
    version = torch.load(checkpoint, map_location="cpu", weights_only=True)["pytorch-lightning_version"]
    return {
        "state_dict": longer.state_dict(),
        "hyper_parameters": {"config": config},
        "pytorch-lightning_version": version,
    }


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n"
        "  python training/grow.py checkpoints/released/dance.ckpt --dilations 5 5 10 --delay 12 --out late.ckpt\n"
        "  python training/train.py --config late.json --init late.ckpt --name late\n",
    )
    result.add_argument("checkpoint", type=Path, metavar="CKPT", help="a TCN of training/train.py")
    result.add_argument("--dilations", type=int, nargs="+", required=True, help="one new block each")
    result.add_argument("--delay", type=int, help="label delay in frames from now on (default: as before)")
    result.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        torch.save(grow(args.checkpoint, args.dilations, args.delay), args.out)
    except (OSError, ValueError) as error:
        print(f"grow: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
