"""Where labels made elsewhere lie in a recording: an offset and a drift, and whether the two belong together at all.

Time in the song is ``offset + (1 + drift) * time in the file``. Each label is looked for in the band where
its drum is heard best (`labelgen.attack`). First the pulses of the labels, up to `WINDOW` seconds of them,
are correlated with the rises of the recording, for every drift in reach; the best places grow, label by
label, to the whole song, each time fitting a line through the attacks that the labels meet, robustly;
the place where most of all labels meet an attack wins, without its drift if the labels fit as well without.
Labels beyond the recording's ends count as missed, so a loop shifted by a bar loses as soon as anything in it
is not the same in every bar.

A pair is refused where the labels meet no more attacks than labels of this density must (chance), or hardly
more than they do when played at a wrong tempo, with the same freedom to find a place. A song of the very
same tempo meets many attacks too, but loosely, and as many a beat further on: where no place stands out,
labels and attacks have to lie close together.

Contents
--------
Alignment, align
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from labelgen.attack import FRAME, Rises

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

HEARD = {"kick": ("low", "mid"), "snare": ("mid",), "tom": ("low", "mid"), "hihat": ("high",), "cymbal": ("high",)}
"""Bands in which a label's drum is heard; any other label is looked for in `mid` and `high`."""
WINDOW = 90.0  # seconds of labels that are first looked for
STEP = 0.02  # seconds by which neighbouring drifts differ at the ends of the window
NEAR = 0.015  # seconds within which a label meets an attack
ATTACK = 6.0  # dB that counts as an attack
PLACES = 12  # that are followed further
LEAST, EXACT, ALIKE = 0.7, 1.5, 0.85
"""Certainty that is needed: `LEAST` where one place stands out, `EXACT` where another fits `ALIKE` well, as with
loops and with other songs of the same tempo. Chosen on rendered songs, then checked against wrong pairs of mdb-dev."""
AS_WELL = 0.99
"""Share of the best score from which a place fits as well: of those the one that moves the labels least is taken."""
LEAD = 1.5  # how many times better than at wrong tempos the labels must fit
WRONG_TEMPOS = (0.81, 0.87, 0.93, 0.96, 1.045, 1.075, 1.14, 1.21)
"""Factors by which labels are played too fast or slow to see how well they fit by chance."""


@dataclass(frozen=True)
class Alignment:
    """Where the labels lie, and the evidence.

    Attributes
    ----------
    offset, drift : float
        Seconds, and share of a second for each second.
    score : float
        Mean strength of the recording's rises at the labels, in standard deviations.
    met : float
        Share of labels that meet an attack within `NEAR`.
    chance : float
        The same for labels placed anywhere.
    wrong : float
        The best score of the same labels at wrong tempos.
    spread : float
        Seconds: median distance of labels and the attacks that they meet.
    certainty : float
        Score, less where labels and attacks lie apart as far as by chance (half of `NEAR`).
    second : float
        Score of the second-best place, as a share of the best's.
    rival : float
        Offset in seconds of another place that fits as well, NaN if there is none.
    refused : str
        Why the pair does not belong together; empty if it does.
    """

    offset: float
    drift: float
    score: float
    met: float
    chance: float
    wrong: float
    spread: float
    certainty: float
    second: float
    rival: float
    refused: str

    def evidence(self) -> str:
        """Return the figures in words."""
        return (
            f"{self.met:.0%} of labels meet an attack within {1000 * NEAR:.0f} ms ({self.chance:.0%} by chance), "
            f"{1000 * self.spread:.1f} ms apart ({500 * NEAR:.1f} by chance); score {self.score:.2f} "
            f"({self.wrong:.2f} at wrong tempos), certainty {self.certainty:.2f} "
            f"({LEAST if self.second < ALIKE else EXACT} is needed), the second-best place fits "
            f"{self.second:.0%} as well"
        )


class _Listener:
    """A recording's rises, prepared for many questions."""

    def __init__(self, rises: Rises, names: Sequence[str]) -> None:
        self.strength: dict[str, F32] = {}
        self.coarse: dict[str, F32] = {}
        self.exact: dict[str, F32] = {}
        self.edge: dict[str, F32] = {}
        for name in sorted(set(names)):
            bands = HEARD.get(name, ("mid", "high"))
            exact = (sum(rises.rise[b] for b in bands) / len(bands)).astype(np.float32)
            self.exact[name] = exact
            # a low tone takes a period to rise: its click is sharper
            self.edge[name] = sum(_standard(rises.edge[b]) for b in bands if b != "low")
            rise = np.minimum(exact, 20.0)
            self.strength[name] = _standard(gaussian_filter1d(rise, 0.003 / FRAME))
            half = rise[: len(rise) // 2 * 2].reshape(-1, 2).max(axis=1) if len(rise) > 1 else rise
            self.coarse[name] = _standard(gaussian_filter1d(half, 0.008 / (2 * FRAME)))
        self.frames = len(rises.rise["low"])

    def at(self, name: str, times: F64) -> F32:
        """Return the strength of `name`'s rises at `times`, 0 beyond the ends."""
        frames = np.round(times / FRAME).astype(np.int64)
        inside = (frames >= 0) & (frames < self.frames)
        return np.where(inside, self.strength[name][np.clip(frames, 0, self.frames - 1)], 0.0).astype(np.float32)

    def attacks(self, name: str, times: F64, reach: float) -> tuple[F64, npt.NDArray[np.bool_]]:
        """Return the strongest rise within `reach` of each of `times`, and whether it is an attack."""
        offsets = np.arange(-round(reach / FRAME), round(reach / FRAME) + 1)
        frames = np.round(times / FRAME).astype(np.int64)[:, None] + offsets
        inside = (frames >= 0) & (frames < self.frames)
        clipped = np.clip(frames, 0, self.frames - 1)
        best = np.where(inside, self.edge[name][clipped], -np.inf).argmax(axis=1)
        rise = (self.exact[name][clipped] * inside).max(axis=1)
        # at the edge of the reach it is the slope of something else
        real = (rise >= ATTACK) & (best > 0) & (best < len(offsets) - 1)
        return frames[np.arange(len(times)), best] * FRAME, real


def _standard(values: F32) -> F32:
    return ((values - values.mean()) / (values.std() + 1e-6)).astype(np.float32)


def align(
    times: Sequence[float],
    names: Sequence[str],
    rises: Rises,
    largest_offset: float = 5.0,
    largest_drift: float = 0.01,
) -> Alignment:
    """Find labels (`times` in seconds, `names` of drums) in a recording.

    Returns
    -------
    Alignment
        The best place, with ``refused`` set if there is none.
    """
    order = np.argsort(np.asarray(times, float), kind="stable")
    hits = np.asarray(times, float)[order]
    drums = np.asarray(names)[order]
    if len(hits) < 8:
        reason = f"{len(hits)} labels; at least 8 are needed to find their place"
        return Alignment(0, 0, 0, 0, 0, 0, NEAR, 0, 0, np.nan, reason)
    listener = _Listener(rises, list(drums))
    # each drum has a say that grows with the root of its hits: hats alone would not know the bar
    groups = {str(n): hits[drums == n] for n in np.unique(drums)}
    found = _search(groups, listener, largest_offset, largest_drift)
    top = max(score for score, *_ in found)
    # where several places fit alike, nothing in the labels tells: take the one nearest to the file's own time
    alike = [f for f in found if f[0] >= AS_WELL * top]
    chosen = min(alike, key=lambda f: abs(_shift(f, hits)))
    score, offset, drift = _without_drift(groups, listener, *chosen)
    wrong = max(
        place[0]
        for factor in WRONG_TEMPOS
        if abs(factor - 1) > 2 * largest_drift
        for place in _search({n: t * factor for n, t in groups.items()}, listener, largest_offset, largest_drift, 3)
    )
    elsewhere = [f for f in found if abs(_shift(f, hits) - _shift(chosen, hits)) > 0.05]
    other = max(elsewhere, default=(0.0, 0.0, 0.0))
    second, rival = other[0] / max(score, 1e-6), other[1] if other in alike else np.nan
    met, chance, spread = _agreement(groups, listener, offset, drift)
    certainty = score * max(0.0, 1 - spread / (NEAR / 2))
    result = Alignment(offset, drift, score, met, chance, wrong, spread, certainty, second, rival, "")
    least = LEAST if result.second < ALIKE else EXACT
    if certainty < least or score < LEAD * wrong:
        return replace(result, refused=f"the labels do not belong to this recording: {result.evidence()}")
    return result


def _shift(place: tuple[float, float, float], hits: F64) -> float:
    """Return by how much a place moves the labels on average."""
    return place[1] + place[2] * float(hits.mean())


def _weights(groups: dict[str, F64]) -> dict[str, float]:
    total = sum(np.sqrt(len(t)) for t in groups.values())
    return {n: float(np.sqrt(len(t)) / total) for n, t in groups.items()}


def _score(groups: dict[str, F64], listener: _Listener, offset: float, drift: float) -> float:
    weights = _weights(groups)
    return sum(weights[n] * float(listener.at(n, offset + (1 + drift) * t).mean()) for n, t in groups.items())


def _search(
    groups: dict[str, F64], listener: _Listener, largest_offset: float, largest_drift: float, places: int = PLACES
) -> list[tuple[float, float, float]]:
    """Return (score, offset, drift) of the best places, fitted to all labels."""
    found = []
    for offset, drift in _places(groups, listener, largest_offset, largest_drift, places):
        offset, drift = _grow(groups, listener, offset, drift, largest_drift)
        found.append((_score(groups, listener, offset, drift), offset, drift))
    return found


def _without_drift(
    groups: dict[str, F64], listener: _Listener, score: float, offset: float, drift: float
) -> tuple[float, float, float]:
    """Return (score, offset, drift) of a place without its drift, which the attacks of a short song invent, if it fits.

    Attacks lie earlier than where rises are strongest, at any drift: so scores are compared at their best offsets.
    """
    hits = np.concatenate(list(groups.values()))
    steady = offset + drift * float(hits.mean())
    moves = np.arange(-NEAR, NEAR + FRAME / 2, FRAME)
    best, plain = (
        max(_score(groups, listener, base + move, slope) for move in moves)
        for base, slope in ((offset, drift), (steady, 0.0))
    )
    if plain < AS_WELL * best:
        return score, offset, drift
    for _ in range(2):
        met = [listener.attacks(name, steady + times, NEAR) for name, times in groups.items()]
        off = [(at - steady - times)[real] for (at, real), times in zip(met, groups.values(), strict=True)]
        steady += float(np.median(np.concatenate(off))) if any(map(len, off)) else 0.0
    return _score(groups, listener, steady, 0.0), steady, 0.0


def _places(
    groups: dict[str, F64], listener: _Listener, largest_offset: float, largest_drift: float, places: int
) -> list[tuple[float, float]]:
    """Correlate a window of labels with the recording at each drift; return offset and drift of the peaks."""
    hits = np.sort(np.concatenate(list(groups.values())))
    ends = np.searchsorted(hits, hits + WINDOW)
    first = int(np.argmax(ends - np.arange(len(hits))))
    start, stop = hits[first], hits[ends[first] - 1]
    middle = (start + stop) / 2
    frame = 2 * FRAME
    # the recording around the window, as far as offset and drift can move it
    margin = largest_offset + largest_drift * max(abs(stop), abs(start)) + 0.1
    lags = round(2 * margin / frame)
    length = round((stop - start) / frame) + lags + 2
    size = 1 << int(np.ceil(np.log2(length + 1)))
    begin = round((start - margin) / frame)
    weights = _weights(groups)
    audio = {}
    for name in groups:
        coarse = listener.coarse[name]
        piece = np.zeros(size, np.float32)
        source = np.arange(begin, begin + length)
        inside = (source >= 0) & (source < len(coarse))
        piece[:length][inside] = coarse[source[inside]]
        audio[name] = np.fft.rfft(piece)
    span = max(stop - start, 1.0)
    steps = int(np.ceil(largest_drift * span / 2 / STEP * 2))
    drifts = np.linspace(-largest_drift, largest_drift, 2 * steps + 1)
    table = np.empty((len(drifts), lags), np.float32)
    for row, drift in enumerate(drifts):
        total = np.zeros(size // 2 + 1, complex)
        for name, times in groups.items():
            inside = times[(times >= start) & (times <= stop)]
            if not len(inside):
                continue
            moved = middle + (1 + drift) * (inside - middle)
            frames = np.clip(np.round((moved - start + largest_drift * span) / frame).astype(int), 0, size - 1)
            pulses = np.bincount(frames, minlength=size)[:size]
            total += weights[name] / len(times) * np.conj(np.fft.rfft(pulses)) * audio[name]
        skip = round(largest_drift * span / frame)
        # lag k puts the window's pulses k frames further than `begin`
        table[row] = np.roll(np.fft.irfft(total, size), skip)[:lags]
    # one place for each lag: the best drift; then the best lags, apart
    best = table.max(axis=0)
    peaks = np.flatnonzero(best == maximum_filter1d(best, round(0.05 / frame)))
    result = []
    for lag in sorted(peaks, key=lambda k: -best[k])[:places]:
        drift = float(drifts[int(table[:, lag].argmax())])
        shift = (begin + lag) * frame - start  # of the window's middle
        result.append((float(shift - drift * middle), drift))
    return result


def _grow(
    groups: dict[str, F64], listener: _Listener, offset: float, drift: float, largest_drift: float
) -> tuple[float, float]:
    """Fit a line to the attacks that labels meet, from the densest window outwards to all labels."""
    hits = np.sort(np.concatenate(list(groups.values())))
    ends = np.searchsorted(hits, hits + WINDOW)
    first = int(np.argmax(ends - np.arange(len(hits))))
    low, high = float(hits[first]), float(hits[ends[first] - 1])
    reach = 0.03
    while True:
        last = low <= hits[0] and high >= hits[-1]
        for width in (reach, 0.02, NEAR) if last else (reach, 0.02):
            where, off = [], []
            for name, times in groups.items():
                inside = times[(times >= low) & (times <= high)]
                at, real = listener.attacks(name, offset + (1 + drift) * inside, width)
                where.append(inside[real])
                off.append(at[real] - (offset + (1 + drift) * inside[real]))
            slope, move = _line(np.concatenate(where), np.concatenate(off))
            if abs(drift + slope) <= 1.2 * largest_drift:
                offset, drift = offset + move, drift + slope
        if last:
            return offset, drift
        middle, width = (low + high) / 2, max(high - low, 1.0)
        low, high = middle - width, middle + width


def _line(times: F64, off: F64) -> tuple[float, float]:
    """Return slope and offset of a robust line (Tukey's biweight, reweighted), 0 where there is too little."""
    if len(times) < 6 or np.ptp(times) < 1:
        return 0.0, 0.0
    middle = times.mean()
    slope, level = 0.0, float(np.median(off))
    for _ in range(8):
        residual = off - level - slope * (times - middle)
        scale = max(0.001, 1.48 * float(np.median(np.abs(residual))))
        weight = np.square(np.clip(1 - np.square(residual / (4 * scale)), 0, None))
        if np.count_nonzero(weight) < 4:
            break
        slope, level = np.polyfit(times - middle, off, 1, w=np.sqrt(weight))
    return float(slope), float(level - slope * middle)


def _agreement(groups: dict[str, F64], listener: _Listener, offset: float, drift: float) -> tuple[float, float, float]:
    """Return the share of labels that meet an attack, the same by chance, and their median distance."""
    weights = _weights(groups)
    met = chance = 0.0
    apart = []
    width = 2 * round(NEAR / FRAME) + 1
    for name, times in groups.items():
        placed = offset + (1 + drift) * times
        at, real = listener.attacks(name, placed, NEAR)
        met += weights[name] * float(real.mean())
        apart.append(np.abs(at - placed)[real])
        rise = listener.exact[name]
        peaks = (rise >= ATTACK) & (rise == maximum_filter1d(rise, 5))
        chance += weights[name] * float((maximum_filter1d(peaks.astype(np.uint8), width) > 0).mean())
    close = np.concatenate(apart)
    return met, chance, float(np.median(close)) if len(close) else NEAR
