"""A picture of what was heard: spectrogram above, detected events below, velocity as height.

Contents
--------
draw
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .colours import colour
from .events import Event
from .features import LogMel, centres
from .files import replacing
from .sources import SoundFile
from .spec import FeatureSpec
from .tables import Hit

_COLUMNS = 3000  # more would not show; frames are merged so that memory stays bounded
_RANGE = 75.0  # dB from black to white
_HERTZ = (100, 300, 1000, 3000, 10000)


def draw(
    path: Path,
    sound: SoundFile,
    features: FeatureSpec,
    labels: Sequence[str],
    events: Sequence[Event],
    hits: Sequence[Hit] = (),
) -> None:
    """Write a PNG.

    Parameters
    ----------
    path : Path
    sound : SoundFile
        Read to its end.
    features : FeatureSpec
    labels : sequence of str
        One row each.
    events : sequence of Event
    hits : sequence of Hit
        The true ones, shown as marks under the bars.
    """
    levels, seconds = _spectrogram(sound, features)
    figure = Figure(figsize=(16, 9), dpi=100, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 4))
    above.imshow(
        levels.T,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, features.bands),
        cmap="magma",
        vmin=levels.max() - _RANGE,
        interpolation="nearest",
    )
    shown = [hertz for hertz in _HERTZ if features.f_min < hertz < features.f_max]
    rows = np.interp(shown, centres(features), np.arange(features.bands) + 0.5)
    above.set_yticks(rows, [f"{hertz} Hz" for hertz in shown])
    above.set_title(Path(sound.name).name, parse_math=False)
    for row, label in enumerate(reversed(labels)):
        mine = [event for event in events if event.label == label]
        true = [hit.time for hit in hits if hit.label == label]
        below.axhline(row, color="0.85", linewidth=0.5)
        below.vlines(
            [event.time for event in mine],
            row,
            [row + 0.8 * event.velocity for event in mine],
            colour(label),
            linewidth=2,
        )
        below.plot(true, [row - 0.07] * len(true), "^", color="0.2", markersize=3)
    below.set_yticks(range(len(labels)), list(reversed(labels)))
    below.set_ylim(-0.2, len(labels))
    below.set_xlim(0, seconds)
    below.set_xlabel("seconds" + ("    (bars: heard, velocity as height; triangles: true hits)" if hits else ""))
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _spectrogram(sound: SoundFile, features: FeatureSpec) -> tuple[NDArray[np.float32], float]:
    """Return levels in dB, [columns, bands], each column the loudest of some frames, and their length."""
    mel = LogMel(features, sound.sample_rate)
    merge = math.ceil(sound.seconds / features.hop_seconds / _COLUMNS)
    columns = np.full((_COLUMNS, mel.bands), 10 * math.log10(features.floor), np.float32)
    block = np.empty(1 << 14, np.float32)
    frames = np.empty((mel.frames_after(len(block)) + 1, mel.bands), np.float32)
    ended = False
    while not ended:
        first = mel.frame
        read = sound.read(block, 0.0)
        ended = read.ended
        done = mel.process(block[: read.count], frames)
        # The header may have understated the length: what comes beyond merges into the last column.
        column = np.minimum(np.arange(first, first + done) // merge, _COLUMNS - 1)
        np.maximum.at(columns, column, frames[:done])
    used = min(max(1, math.ceil(mel.frame / merge)), _COLUMNS)
    return columns[:used], used * merge * features.hop_seconds
