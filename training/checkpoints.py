"""Checkpoint files: weights and the configuration that they belong to.

Contents
--------
read_checkpoint, write_checkpoint, newest, WholeFiles
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

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
    # torch, writing to a file itself, says of a full disk only that writing failed
    torch.save(dict(content), memory := io.BytesIO())
    with whole(path) as partial:
        partial.write_bytes(memory.getbuffer())


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the checkpoint from which the run in `folder` goes on and what it holds; None if there is none.

    That is ``last.ckpt``, or where it is missing or damaged, as after a power cut, the newest of the others.

    Raises
    ------
    ValueError
        If none can be read; the message is of the first.
    """
    steps = {path: path.stem.removeprefix("step=") for path in folder.glob("step=*.ckpt")}
    numbered = sorted((path for path, step in steps.items() if step.isdecimal()), key=lambda path: -int(steps[path]))
    refused = None
    for path in (folder / "last.ckpt", *numbered):
        if path.exists():
            try:
                return path, read_checkpoint(path)
            except ValueError as error:
                refused = refused or error
    if refused:
        raise refused
    return None


class WholeFiles(TorchCheckpointIO):
    """Lets Lightning write checkpoints whole or not at all.

    Lightning writes to the system's temporary folder first; if that is another file system, it then copies, and who
    is killed meanwhile leaves half a checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        write_checkpoint(checkpoint, Path(path))
