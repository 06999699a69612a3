"""Recordings of chunks, read whole.

Contents
--------
read_sound
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf


def read_sound(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Return the samples of a recording and their rate.

    Raises
    ------
    ValueError
        If it cannot be read; the message names the file, which libsndfile does not where a file is damaged inside.
    """
    try:
        samples, rate = sf.read(path, dtype="float32")
    except sf.LibsndfileError as error:
        raise ValueError(f"{path}: cannot be read ({error.error_string}); make the chunk again") from None
    return samples, rate
