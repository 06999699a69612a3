"""Average the weights of checkpoints of one architecture, or the answers of any.

Runs that began from a common one lie in one basin, and the mean of their weights is often better than each (Wortsman
et al., "Model soups", ICML 2022) at the cost of one. With --answers the networks stay apart and are asked together
(`models.ensemble`): better, at the cost of all. What is not said of all is that of the first.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from training.checkpoints import read_checkpoint, write_checkpoint


def average(checkpoints: Sequence[Path]) -> dict[str, object]:
    """Return weights and configuration of the mean, a checkpoint to export or to begin from.

    Raises
    ------
    ValueError
        If the checkpoints hold different networks.
    """
    loaded = [read_checkpoint(path) for path in checkpoints]
    first, *others = (each["state_dict"] for each in loaded)
    if any({k: v.shape for k, v in first.items()} != {k: v.shape for k, v in each.items()} for each in others):
        raise ValueError("the checkpoints hold different networks")
    mean = {
        name: torch.stack([value, *(each[name] for each in others)]).mean(dim=0) if value.is_floating_point() else value
        for name, value in first.items()
    }
    kept = ("hyper_parameters", "pytorch-lightning_version")
    return {"state_dict": mean, **{name: loaded[0][name] for name in kept}}


def together(checkpoints: Sequence[Path]) -> dict[str, object]:
    """Return weights and configuration of the ensemble, a checkpoint as any other.

    Raises
    ------
    ValueError
        If the networks hear other features, know other labels or answer after other delays.
    """
    loaded = [read_checkpoint(path) for path in checkpoints]
    configs = [each["hyper_parameters"]["config"] for each in loaded]
    for path, config in zip(checkpoints, configs, strict=True):
        for name in ("features", "labels", "delay"):
            if config[name] != configs[0][name]:
                raise ValueError(
                    f"{path}: {name} is {config[name]}, that of {checkpoints[0]} {configs[0][name]}; they have to agree"
                )
    members = [{"architecture": config["architecture"], **config["sizes"]} for config in configs]
    config = {**configs[0], "architecture": "ensemble", "sizes": {"members": members}, "weights": ()}
    config["train"] = tuple(dict.fromkeys(name for each in configs for name in each["train"]))
    weights = {
        name.replace("network.", f"network.members.{number}.", 1): value
        for number, each in enumerate(loaded)
        for name, value in each["state_dict"].items()
    }
    version = loaded[0]["pytorch-lightning_version"]
    return {"state_dict": weights, "hyper_parameters": {"config": config}, "pytorch-lightning_version": version}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python training/average.py checkpoints/a/last.ckpt checkpoints/b/last.ckpt --out mean.ckpt\n"
        "  python training/average.py --answers tcn.ckpt convtcn.ckpt --out both.ckpt\n",
    )
    result.add_argument("checkpoints", nargs="+", type=Path, metavar="CKPT")
    result.add_argument("--answers", action="store_true", help="average what the networks say, not their weights")
    result.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        write_checkpoint((together if args.answers else average)(args.checkpoints), args.out)
    except (OSError, ValueError) as error:
        print(f"average: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
