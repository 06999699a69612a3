"""Checkpoint files: weights and the configuration that they belong to.

Contents
--------
read_checkpoint, write_checkpoint
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from labelgen.chunks import whole


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `training.train`.

    Raises
    ------
    ValueError
        If it is none.
    OSError
        If it cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"no such checkpoint: {path}")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the unpickler raises whatever the bytes provoke
        raise ValueError(f"{path}: not a checkpoint of training/train.py ({type(error).__name__})") from None
    if not isinstance(loaded, dict) or not {"state_dict", "hyper_parameters"} <= set(loaded):
        raise ValueError(f"{path}: not a checkpoint of training/train.py")
    return loaded


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write what `training.task.checkpoint` returns; what was there stays until the new file is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        torch.save(dict(content), partial)
