"""Average the weights of checkpoints of one architecture, runs that began from a common one.

Such runs lie in one basin, and their mean is often better than each (Wortsman et al., "Model soups",
ICML 2022) at the cost of one. The result keeps the configuration of the first.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch


def average(checkpoints: Sequence[Path]) -> dict[str, object]:
    """Return weights and configuration of the mean, a checkpoint to export or to begin from.

    Raises
    ------
    ValueError
        If the checkpoints hold different networks.
    """
    loaded = [torch.load(path, map_location="cpu", weights_only=True) for path in checkpoints]
    first, *others = (each["state_dict"] for each in loaded)
    if any({k: v.shape for k, v in first.items()} != {k: v.shape for k, v in each.items()} for each in others):
        raise ValueError("the checkpoints hold different networks")
    mean = {
        name: torch.stack([value, *(each[name] for each in others)]).mean(dim=0) if value.is_floating_point() else value
        for name, value in first.items()
    }
    kept = ("hyper_parameters", "pytorch-lightning_version")
    return {"state_dict": mean, **{name: loaded[0][name] for name in kept}}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python training/average.py checkpoints/a/last.ckpt checkpoints/b/last.ckpt --out mean.ckpt",
    )
    result.add_argument("checkpoints", nargs="+", type=Path, metavar="CKPT")
    result.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        torch.save(average(args.checkpoints), args.out)
    except (OSError, ValueError) as error:
        print(f"average: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
