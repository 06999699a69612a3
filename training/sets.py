"""What the sets of a run hold, as their manifests tell it before hours are spent on features.

Contents
--------
look_over
"""

from collections.abc import Sequence
from pathlib import Path

from labelgen.chunks import Chunk, Manifest
from training.config import TrainConfig


def look_over(config: TrainConfig) -> list[str]:
    """Return the sets that are too short for a crop, which batches pass over.

    Raises
    ------
    ValueError
        If a set is empty or missing, or if no set for training, or none for validation, has drums, or accompaniment
        without drums; the message says how to get it.
    """
    found = {folder: Manifest(Path(folder)).chunks() for folder in dict.fromkeys((*config.train, *config.valid))}
    if missing := [folder for folder, chunks in found.items() if not chunks]:
        raise ValueError(f"no chunks in {', '.join(missing)}; make some with labelgen")
    short = [folder for folder, chunks in found.items() if sum(c.seconds for c in chunks) < config.seconds]
    for use, folders in (("train", config.train), ("valid", config.valid)):
        long = [folder for folder in folders if folder not in short]
        if folders and not long:
            raise ValueError(f"no set of {use} is as long as a crop ({config.seconds:g} s): {', '.join(folders)}")
        if long:
            _has_both(use, long, [chunk for folder in long for chunk in found[folder]])
    return short


def _has_both(use: str, folders: Sequence[str], chunks: Sequence[Chunk]) -> None:
    if not any("backing" in chunk.stems for chunk in chunks):
        raise ValueError(
            f"no set of {use} has accompaniment without drums ({', '.join(folders)}): make one with --stems, or add "
            "music without drums (labelgen/drumless.py)"
        )
    if all("backing" in chunk.stems and "drums" not in chunk.stems for chunk in chunks):
        raise ValueError(f"no set of {use} has drums ({', '.join(folders)}): add one with them")
