"""Average the weights of checkpoints of one architecture, or the answers of any.

Runs that began from a common one lie in one basin, and the mean of their weights is often better than each (Wortsman
et al., "Model soups", ICML 2022) at the cost of one. With --answers the networks stay apart and are asked together
(`models.ensemble`): better, at the cost of all. All other settings are those of the first.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from training.checkpoints import write_checkpoint
from training.task import DrumTask, beyond_shapes, checkpoint, load_task


def load(checkpoints: Sequence[Path]) -> list[DrumTask]:
    """Return the tasks of checkpoints whose answers can be compared.

    Raises
    ------
    ValueError
        If they hear other features, know other labels or answer after other delays.
    """
    tasks = [load_task(path) for path in checkpoints]
    for path, task in zip(checkpoints, tasks, strict=True):
        for name in ("features", "labels", "delays"):
            theirs, first = (getattr(each.config, name) for each in (task, tasks[0]))
            if theirs != first:
                raise ValueError(f"{path}: {name} are {theirs}, those of {checkpoints[0]} {first}; they have to agree")
    return tasks


def average(checkpoints: Sequence[Path]) -> dict[str, Any]:
    """Return weights and configuration of the mean, a checkpoint to export or to begin from.

    Raises
    ------
    ValueError
        If the checkpoints hold different networks.
    """
    tasks = load(checkpoints)
    first, *others = (task.state_dict() for task in tasks)
    shapes = [{name: value.shape for name, value in each.items()} for each in (first, *others)]
    for path, task, shape in zip(checkpoints, tasks, shapes, strict=True):
        if shape != shapes[0] or beyond_shapes(task) != beyond_shapes(tasks[0]):
            raise ValueError(f"{path} holds another network than {checkpoints[0]}; with --answers any go together")
    mean = {
        name: torch.stack([value, *(each[name] for each in others)]).mean(dim=0) if value.is_floating_point() else value
        for name, value in first.items()
    }
    return {**checkpoint(tasks[0]), "state_dict": mean}


def together(checkpoints: Sequence[Path]) -> dict[str, Any]:
    """Return weights and configuration of the ensemble, a checkpoint as any other.

    Raises
    ------
    ValueError
        If the networks hear other features, know other labels or answer after other delays.
    """
    tasks = load(checkpoints)
    configs = [asdict(task.config) for task in tasks]
    members = [{"architecture": config["architecture"], **config["sizes"]} for config in configs]
    config = {**configs[0], "architecture": "ensemble", "sizes": {"members": members}}
    config |= {"weights": (), "boldness": (), "louder_db": ()}  # which are of the sets of one
    config["train"] = tuple(dict.fromkeys(name for each in configs for name in each["train"]))
    weights = {
        name.replace("network.", f"network.members.{number}.", 1): value
        for number, task in enumerate(tasks)
        for name, value in task.state_dict().items()
    }
    return {**checkpoint(tasks[0]), "state_dict": weights, "hyper_parameters": {"config": config}}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python training/average.py checkpoints/a/last.ckpt checkpoints/b/last.ckpt --out mean.ckpt\n"
        "  python training/average.py --answers tcn.ckpt convtcn.ckpt --out both.ckpt\n",
    )
    result.add_argument("checkpoints", nargs="+", type=Path, metavar="CKPT", help="checkpoints to average")
    result.add_argument("--answers", action="store_true", help="average the networks' answers, not their weights")
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
