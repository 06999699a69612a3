"""A temporal convolutional network of a model file, compiled: several times as fast as its graph in ONNX Runtime.

``training/export.py`` writes the graph of any network. Beside that of a `models.tcn.TCN` it writes into the metadata,
as JSON, what the graph's constants do not say by their names: the dilations and the numbers of the frontend. With
both, `dance._tcn` does the step.

Contents
--------
TCN, DESCRIPTION
"""

import json
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import _tcn
from .errors import SpecError
from .onnx_file import OnnxFile

DESCRIPTION = "dance.tcn"
"""Key of what ``training/export.py`` says."""


class TCN(_tcn.TCN):
    """One step of a stream, its state kept inside; see `dance._tcn.TCN` for the methods.

    Parameters
    ----------
    file : OnnxFile
        One that is `described`.
    bands, labels : int

    Raises
    ------
    SpecError
        If what the file says of its network does not fit its arrays.
    """

    def __new__(cls, file: OnnxFile, bands: int, labels: int) -> Self:
        """Put the weights into the order in which they are used."""
        try:
            description = json.loads(file.metadata[DESCRIPTION])
            return super().__new__(cls, **_arguments(file.arrays, description), bands=bands, labels=labels)
        except (AttributeError, LookupError, MemoryError, OverflowError, TypeError, ValueError) as error:
            raise SpecError(f"{file.path}: the network is not what it says ({error!r}); export it again") from None

    @staticmethod
    def described(file: OnnxFile) -> bool:
        """Return whether a file says that it holds such a network."""
        return DESCRIPTION in file.metadata


def _arguments(arrays: Any, description: dict[str, Any]) -> dict[str, Any]:
    """Return what `_tcn.TCN` takes, but for bands and labels."""
    dilations, lift = description["dilations"], description["lift"]
    if lift is not None:
        lift = lift | {name: arrays[f"frontend.lift.{name}"].ravel() for name in ("usual", "middle", "lows")}
    weights = [arrays["weight"]]
    for block in range(len(dilations)):
        weights += [arrays["stack.before"][block], arrays[f"stack.now.{block}"], arrays[f"stack.mix.{block}"]]
    heads = ["heads.both", *(["heads.timbre"] if "heads.timbre.weight" in arrays else [])]
    short, scales = _short(np.concatenate(weights))
    heads_short, heads_scales = _short(np.concatenate([arrays[f"{name}.weight"] for name in heads]).T)
    return {
        "frontend": description["frontend"],
        "lift": lift,
        "dilations": dilations,
        "weights": short,
        "scales": scales,
        "biases": np.concatenate([arrays["bias"], arrays["stack.biases"]]),
        "skipped": np.concatenate([arrays["stack.skipped"], arrays["stack.last"][None]]),
        "heads": heads_short,
        "heads_scales": heads_scales,
        "heads_bias": np.concatenate([arrays[f"{name}.bias"] for name in heads]),
    }


def _short(weights: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return weights [rows, columns] in 16 bits, and what each row is to be multiplied by to be them again."""
    largest = np.abs(weights).max(axis=1)
    scales = np.where(largest > 0, largest, 1) / np.iinfo(np.int16).max
    short = np.round(weights / scales[:, None]).astype(np.int16, order="C")
    return short, scales.astype(np.float32)
