"""The picture of one chunk: waveform, spectrogram, labels by colour with velocity as height, the busiest part enlarged.

Contents
--------
picture
"""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dance.colours import COLOURS as COLOUR  # a drum has one colour everywhere
from dance.features import log_mel, mel_filters
from dance.labels import OTHER
from dance.spec import FeatureSpec
from labelgen.chunks import NAMES, Chunk, Label, whole
from labelgen.files import printable

Audio = npt.NDArray[np.float32]

ENLARGED = 3.0  # seconds
DECIBELS = 75.0  # from black to white


def picture(path: Path, chunk: Chunk, audio: Audio, labels: Sequence[Label], rate: int) -> None:
    """Write a PNG of a chunk."""
    seconds = len(audio) / rate
    spec = FeatureSpec()
    figure = Figure(figsize=(18, 12), dpi=100, layout="constrained")
    wave, spectrum, rows, detail = figure.subplots(4, 1, height_ratios=(2, 4, 4, 3))
    for axes in (spectrum, rows):
        axes.sharex(wave)
    _waveform(wave, audio, rate, 0.0)
    wave.set_xlim(0, seconds)

    frames = log_mel(audio, spec, rate)
    top = float(frames.max(initial=-100.0))
    spectrum.imshow(
        frames.T,
        origin="lower",
        aspect="auto",
        extent=(0, len(frames) * spec.hop_seconds, -0.5, spec.bands - 0.5),
        cmap="magma",
        vmin=top - DECIBELS,
        vmax=top,
    )
    size = 1 << math.ceil(math.log2(spec.window_seconds * rate))
    peaks = mel_filters(spec, rate, size).argmax(axis=1) * rate / size
    marks = [hertz for hertz in (100, 300, 1000, 3000, 10000) if hertz < spec.f_max]
    spectrum.set_yticks(np.interp(marks, peaks, np.arange(spec.bands)), [f"{hertz} Hz" for hertz in marks])

    counts = Counter(label.label for label in labels)
    shown = [name for name in NAMES if name != OTHER or counts[OTHER]]
    for row, name in enumerate(reversed(shown)):
        mine = [label for label in labels if label.label == name]
        rows.axhline(row, color="0.8", linewidth=0.6)
        rows.axhline(row + 0.85, color="0.93", linewidth=0.6)
        rows.vlines([x.time for x in mine], row, [row + 0.85 * x.velocity for x in mine], COLOUR[name], linewidth=2.2)
    rows.set_yticks(range(len(shown)), [f"{name}  ({counts[name]})" for name in reversed(shown)])
    for text in rows.get_yticklabels():
        text.set_color(COLOUR[text.get_text().split()[0]])
        text.set_fontweight("bold")
    rows.set_ylim(-0.1, len(shown))
    rows.set_xlabel("seconds    (labels: velocity as height, the faint line above each row is 1)")

    start = _busiest(labels, seconds)
    end = min(seconds, start + ENLARGED)
    for axes in (wave, rows):
        axes.axvspan(start, end, color="0.85", zorder=0)
    part = audio[int(start * rate) : int(end * rate)]
    _waveform(detail, part, rate, start)
    reach = 1.05 * float(np.abs(part).max(initial=1e-3))
    lanes = {name: 1 - 2 * (k + 0.5) / len(shown) for k, name in enumerate(shown)}
    for label in labels:
        if start <= label.time < end:
            colour = COLOUR[label.label]
            detail.axvline(label.time, color=colour, linewidth=1.4, alpha=0.35 + 0.65 * label.velocity)
            detail.plot([label.time], [reach * lanes[label.label]], "o", color=colour, markersize=7, mec="white")
    detail.set_xlim(start, end)
    detail.set_ylim(-reach, reach)
    detail.set_xlabel(f"seconds    (the shaded {end - start:.1f} s enlarged: does each line stand on an attack?)")
    used = [name for name in shown if counts[name]]
    if used:
        handles = [Line2D([], [], color=COLOUR[name], marker="o", linewidth=2) for name in used]
        detail.legend(handles, used, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(used), frameon=False)
    about = (
        f"{chunk.method}, confidence {chunk.confidence:.2f}",
        f"{seconds:.1f} s, {len(labels)} labels",
        _short(printable(chunk.source), 60),
        _short(chunk.licence or "no licence given", 80),
    )
    title = f"{chunk.name}\n{_short(printable(chunk.song), 160)}\n{'  |  '.join(about)}"
    figure.suptitle(title, fontsize=12, parse_math=False)  # names may hold dollars
    with whole(path) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name may need letters that the font lacks
        figure.savefig(partial, format="png")


def _waveform(axes: Axes, audio: Audio, rate: int, start: float) -> None:
    step = max(1, len(audio) // 4000)
    blocks = audio[: len(audio) // step * step].reshape(-1, step)
    time = start + (np.arange(len(blocks)) + 0.5) * step / rate
    axes.fill_between(time, blocks.min(axis=1), blocks.max(axis=1), color="0.35", linewidth=0.3, zorder=1)
    axes.set_ylabel("amplitude")
    axes.grid(axis="x", color="0.9", linewidth=0.5)


def _busiest(labels: Sequence[Label], seconds: float) -> float:
    """Return where the most different drums, then the most hits, are within `ENLARGED` seconds."""
    starts = [max(0.0, min(label.time - 0.1, seconds - ENLARGED)) for label in labels]
    if not starts:
        return 0.0

    def content(start: float) -> tuple[int, int]:
        inside = [label.label for label in labels if start <= label.time < start + ENLARGED]
        return len(set(inside)), len(inside)

    return max(starts[:: max(1, len(starts) // 200)], key=content)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
