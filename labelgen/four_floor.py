"""Labelled chunks from whole mixes of four-to-the-floor music: house, techno, trance, disco.

Where a kick falls on every beat of a steady tempo, the mix labels itself. One period and phase are fitted
to the attacks of the lowest band over a whole stretch of the track, so the grid is exact to a millisecond
and needs no beat tracker's frames (librosa's are 23 ms); then the track has to prove that it is what it
should be, or is refused with the reason. A claim is made only where it holds: runs of at least
`RUN` beats that all have their kick; breaks, fills without kicks and anything off the grid are in no chunk.

Within a run every hit is moved to its audible attack. Labels: ``kick`` on the beats, and between them what
sounds like those; ``snare`` (or clap) where every second beat has one; ``hihat`` for what sounds like the
attacks half-way between beats. ``details["complete"]`` names the labels of which the chunk holds every hit:
a trainer should not take the absence of others for silence. Tracks without a backbeat are ``kick-only``.

Files longer than 400 s are read in stretches of at most that, each fitted and tested by itself: memory does
not grow with length, and a DJ's set may change its tempo.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dance.commands.arguments import positive
from labelgen.attack import (
    FRAME,
    SHARP,
    Rises,
    attack_at,
    new_spectrum,
    peaks_of,
    ring,
    rises_of,
    strongest,
)
from labelgen.chunks import Chunk, ChunkWriter, Label, chunk_name
from labelgen.files import MUSIC, find_files, missing, regular_file
from labelgen.recordings import RATE, Recording
from labelgen.work import add_work_options, chunk_seconds, run_command

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

TEMPO = (90.0, 180.0)
"""Beats a minute."""
STRETCH = 400.0
"""Seconds analysed at once, at most."""
RUN = 7
"""Beats in a row that must have their kick."""
KICK_RISE = 8.0  # dB that the lowest band rises with a kick
CLICK, CLICK_RISE = 0.04, 6.0  # seconds that a kick's click may come before its tone; dB that it rises
KICK_LEVEL = 8.0  # dB that a kick may be softer, in the lowest band, than the loud ones
REACH = 0.02  # seconds that an attack may lie off the grid
LAME = 3.0  # dB that every second kick may differ: a clap changes what is measured
LEAST = 0.5  # confidence below which a track is refused
STEADY = 0.85  # share that counts as always
LEAD = 0.03  # seconds of a chunk before its first kick, and left out before the beat that follows its last
SIMILAR = 6.0  # dB by which hits of one drum may differ
BODY, SIZZLE = slice(11, 15), slice(17, 20)  # bands of a snare
DEEP, TONE, AIR = slice(0, 4), slice(0, 8), slice(13, 20)  # bands of a kick's tone, narrowly and widely, and of a hat
GAIN = 5.0  # dB that a backbeat adds to the body's bands
TILT = (-10.0, 15.0)  # dB of body over sizzle that a backbeat adds
LARGEST = 16 << 30  # bytes


class Grid(NamedTuple):
    """Beats at ``phase + k * period`` seconds."""

    period: float
    phase: float

    def beats(self, seconds: float) -> F64:
        """Return the beats of a recording."""
        first = np.ceil((-REACH - self.phase) / self.period)
        return self.phase + self.period * np.arange(first, np.floor((seconds - REACH - self.phase) / self.period) + 1)


@dataclass(frozen=True)
class Kicks:
    """What the grid's beats hold.

    Attributes
    ----------
    beats : float array
        Attack of each beat's kick, or the beat itself, in seconds.
    present : bool array
        Whether there is a kick.
    level : float array
        dB in the lowest band.
    """

    beats: F64
    present: npt.NDArray[np.bool_]
    level: F64

    def runs(self) -> list[tuple[int, int]]:
        """Return first and last beat (exclusive) of the runs of at least `RUN` kicks."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.present.astype(int), [0]])))
        return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= RUN]


def candidates(times: F64, weights: F64, seconds: float, tempo: tuple[float, float] = TEMPO) -> list[Grid]:
    """Return the likeliest grids: peaks of the spectrum of the attacks at `times`, in all four sixteenths."""
    step = 1 / (6 * max(seconds, 4.0))
    frequencies = np.arange(tempo[0] / 60, 2 * tempo[1] / 60, step)
    # a bass as strong as the kick, between the kicks, hides the beat itself: look at twice the beat too
    spectrum = np.concatenate(
        [np.exp(-2j * np.pi * part[:, None] * times) @ weights for part in np.array_split(frequencies, 64) if len(part)]
    )
    strength = np.abs(spectrum)
    peaks = np.flatnonzero(
        (strength >= np.roll(strength, 1)) & (strength >= np.roll(strength, -1)) & (strength > 0.3 * weights.sum())
    )
    grids = []
    for at in sorted(peaks, key=lambda k: -strength[k])[:12]:
        first = -np.angle(spectrum[at]) / (2 * np.pi * frequencies[at])
        for octave in (1, 2):
            period = octave / frequencies[at]
            if 60 / tempo[1] <= period <= 60 / tempo[0]:
                grids += [Grid(period, float((first + k * period / 4) % period)) for k in range(4)]
    return grids


def fit(grid: Grid, times: F64, weights: F64) -> Grid:
    """Move `grid` onto the attacks near it: weighted least squares, three times, each time nearer."""
    period, phase = grid
    for reach in (0.035, 0.02, 0.012):
        beat = np.round((times - phase) / period)
        off = times - phase - beat * period
        near = np.abs(off) < reach
        if near.sum() < 4 or np.ptp(beat[near]) < 4:
            break
        slope, offset = np.polyfit(beat[near], off[near], 1, w=np.sqrt(weights[near]))
        period, phase = period + slope, phase + offset
    return Grid(float(period), float(phase % period))


def kicks_on(grid: Grid, rises: Rises, seconds: float) -> Kicks:
    """Look for a kick on each beat of `grid`."""
    beats = grid.beats(seconds)
    found = [strongest(rises.rise["low"], beat, REACH) for beat in beats]
    times, rise = np.array([t for t, _ in found]), np.array([r for _, r in found])
    level = np.array([rises.level["low"][min(round(t / FRAME), len(rises.level["low"]) - 1)] for t in times], float)
    heard = rise >= KICK_RISE
    loud = np.percentile(level[heard], 75) if heard.any() else 0.0
    present = heard & (level >= loud - KICK_LEVEL)
    return Kicks(np.where(present, times, beats), present, level)


def best_grid(rises: Rises, tempo: tuple[float, float] = TEMPO) -> tuple[Grid, Kicks] | None:
    """Return the grid whose beats hold the most kicks, and those; None if nothing repeats."""
    low = rises.rise["low"]
    peaks = peaks_of(low, KICK_RISE, 0.08)
    if len(peaks) < RUN:
        return None
    times = peaks * FRAME
    loud = np.percentile(rises.level["low"][peaks], 75)
    weights = np.minimum(low[peaks], 20.0) * np.clip(1 + (rises.level["low"][peaks] - loud) / 12, 0.05, 1)
    best: tuple[float, Grid, Kicks] | None = None
    for guess in candidates(times, weights.astype(float), rises.seconds, tempo):
        grid = fit(guess, times, weights)
        if 60 / tempo[1] <= grid.period <= 60 / tempo[0]:
            kicks = kicks_on(grid, rises, rises.seconds)
            score = merit(kicks, rises)
            if best is None or score > best[0]:
                best = score, grid, kicks
    return on_clicks(best[1], best[2], rises) if best else None


def on_clicks(grid: Grid, kicks: Kicks, rises: Rises) -> tuple[Grid, Kicks]:
    """Move grid and kicks from where the low tone rises to where the attack is heard.

    A kick that falls into the last one's tone rises late, and by another amount each time; its click does
    not. Where most kicks have a click, and at the same distance from the grid, that is the attack.
    """
    if kicks.present.sum() < RUN:
        return grid, kicks
    mid = rises.rise["mid"]
    exact = grid.beats(rises.seconds)
    offsets = np.arange(-round(CLICK / FRAME), round(CLICK / FRAME / 2) + 1)
    frames = np.round(exact[kicks.present] / FRAME).astype(int)[:, None] + offsets
    typical = np.median(np.where(frames >= 0, mid[np.clip(frames, 0, len(mid) - 1)], 0), axis=0)
    if typical.max() < CLICK_RISE:
        return grid, kicks
    lag = float(offsets[typical.argmax()] * FRAME)
    found = [strongest(mid, beat + lag, 0.008) for beat in exact]
    clicks = np.array([strongest(rises.edge["mid"], t + SHARP, 2 * SHARP)[0] for t, _ in found])
    sharp = kicks.present & (np.array([r for _, r in found]) >= CLICK_RISE)
    slope, offset = np.polyfit(np.arange(len(exact))[sharp], (clicks - exact)[sharp], 1)
    moved = Grid(grid.period + float(slope), float((exact[0] + offset) % (grid.period + slope)))
    places = exact + offset + slope * np.arange(len(exact))
    return moved, replace(kicks, beats=np.where(sharp, clicks, np.maximum(places, 0.0)))


def merit(kicks: Kicks, rises: Rises) -> float:
    """Return how much the beats of a grid look like kicks; comparable within one recording."""
    there = kicks.beats[kicks.present]
    if len(there) < 2:
        return 0.0
    # share and number decide between a beat, its half and its third; click and evenness between kicks and a
    # bass that answers them
    share, held = kicks.present.mean(), sum(b - a for a, b in kicks.runs()) / len(kicks.present)
    click = np.mean([min(strongest(rises.rise["mid"], t, REACH)[1], 20.0) for t in there])
    return float(
        share * np.sqrt(len(there)) * (1 + held) * (5 + click) * np.exp(-np.std(kicks.level[kicks.present]) / 3)
    )


@dataclass(frozen=True)
class Run:
    """Beats in a row that all have their kick.

    Attributes
    ----------
    start, stop : float
        Seconds.
    cuts : tuple of float
        Moments just before a beat, where the run may be cut.
    labels : tuple of Label
        Seconds from the recording's start.
    complete : tuple of str
        Labels of which every hit is given.
    """

    start: float
    stop: float
    cuts: tuple[float, ...]
    labels: tuple[Label, ...]
    complete: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """What a stretch of music was found to be.

    Attributes
    ----------
    tempo : float
        Beats a minute, 0 if there are none.
    confidence : float
        0..1: share of kicks that are regular, times their evenness, times how little the off-beats look like them.
    refused : str
        Why this is not four-to-the-floor; empty if it is.
    kick_only : bool
        No snare or clap was found on every second beat.
    runs : tuple of Run
    """

    tempo: float
    confidence: float
    refused: str = ""
    kick_only: bool = False
    runs: tuple[Run, ...] = ()


def read_stretch(samples: F32, rises: Rises, tempo: tuple[float, float] = TEMPO) -> Reading:
    """Decide whether `samples` are four-to-the-floor, and label what is."""
    found = best_grid(rises, tempo)
    if found is None:
        return Reading(0.0, 0.0, f"fewer than {RUN} low attacks, or none that repeat")
    grid, kicks = found
    kicks = with_tone(samples, kicks)
    bpm, runs = 60 / grid.period, kicks.runs()
    likeliest = f"at the likeliest tempo, {bpm:.2f} beats a minute,"
    if not runs:
        share = float(kicks.present.mean())
        return Reading(bpm, 0.0, f"{likeliest} {share:.0%} of beats have a kick, but never {RUN} in a row")
    inside = np.zeros(len(kicks.beats), bool)
    for first, last in runs:
        inside[first:last] = True
    regular = float(inside.sum() / kicks.present.sum())
    odd = np.arange(len(inside)) % 2 == 1
    medians = [float(np.median(kicks.level[inside & half])) for half in (odd, ~odd)]
    uneven = 1.48 * float(np.median(np.abs(kicks.level - np.where(odd, *medians))[inside]))
    lame = max(0.0, abs(medians[0] - medians[1]) - LAME)
    rival = max(
        merit(kicks_on(grid._replace(phase=grid.phase + q * grid.period / 4), rises, rises.seconds), rises)
        for q in (1, 2, 3)
    ) / merit(kicks, rises)
    confidence = regular * float(np.exp(-((uneven / 3) ** 2) - (lame / 3) ** 2)) * (1 - min(1.0, rival) ** 2)
    if confidence < LEAST:
        return Reading(
            bpm,
            confidence,
            f"{likeliest} confidence is {confidence:.2f}, below {LEAST}: {regular:.0%} of kicks are in runs of {RUN}, "
            f"they vary by {uneven:.1f} dB, every second one by {abs(medians[0] - medians[1]):.1f} dB, and attacks "
            f"between the beats look {rival:.0%} as much like kicks",
        )
    snares = backbeat(samples, kicks, inside, odd)
    hats = offbeat_hats(samples, rises, grid, kicks, inside)
    extra = extra_kicks(samples, rises, grid, kicks, inside)
    edges = kicks.beats - LEAD
    result = []
    for first, last in runs:
        start = max(0.0, edges[first])
        stop = min(rises.seconds, kicks.beats[last - 1] + grid.period - LEAD)
        beats = range(first, last)
        labels = [Label(float(kicks.beats[k]), "kick", float(kicks.level[k])) for k in beats]
        labels += [_label(rises, t, "kick") for t in extra if start < t < stop]
        labels += [_label(rises, float(kicks.beats[k]), "snare") for k in beats if snares is not None and snares[k]]
        labels += [_label(rises, t, "hihat") for t in hats if start < t < stop]
        complete = ["kick"]
        if snares is not None:
            half = [k for k in beats if snares[odd].any() == odd[k]]
            if np.mean(snares[half]) >= STEADY:
                complete.append("snare")
        result.append(Run(start, stop, tuple(edges[first + 1 : last]), tuple(sorted(labels)), tuple(complete)))
    return Reading(bpm, confidence, "", snares is None, tuple(result))


_HEARD = {"kick": ("mid", "low"), "snare": ("mid", "high"), "hihat": ("high",)}
"""Bands that tell a drum's attack, the sharper first."""


def _label(rises: Rises, time: float, name: str) -> Label:
    """Label the drum near `time` at its audible attack; the velocity is in dB for now, see `_velocities`."""
    early = 0.012 if name == "kick" else 0.0
    at = attack_at(rises, time - early, _HEARD[name], 0.012 + early)
    level = rises.level[_HEARD[name][-1] if name == "kick" else _HEARD[name][0]]
    return Label(at, name, float(level[min(round(at / FRAME), len(level) - 1)]))


def _velocities(runs: Sequence[Run]) -> list[list[Label]]:
    """Turn dB into velocity: the loudest of a drum is 1, and 40 dB are a factor of ten, as on most synthesisers."""
    loud: dict[str, float] = {}
    for label in (x for run in runs for x in run.labels):
        loud[label.label] = max(loud.get(label.label, -200.0), label.velocity)
    return [
        [x._replace(velocity=float(np.clip(10 ** ((x.velocity - loud[x.label]) / 40), 0.05, 1))) for x in run.labels]
        for run in runs
    ]


def with_tone(samples: F32, kicks: Kicks) -> Kicks:
    """Leave out beats whose attack has not the tone below 130 Hz that kicks have: a snare in a break."""
    if not kicks.present.any():
        return kicks
    power = np.array([np.sum(10 ** (ring(samples, round(t * RATE))[DEEP] / 10)) for t in kicks.beats])
    tone = 10 * np.log10(power + 1e-9)
    return replace(kicks, present=kicks.present & (tone >= np.median(tone[kicks.present]) - KICK_LEVEL))


def backbeat(
    samples: F32, kicks: Kicks, inside: npt.NDArray[np.bool_], odd: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_] | None:
    """Return which beats have a snare or clap under the kick; None if there is no backbeat.

    A snare or clap rings on between 1 and 3.2 kHz when the kick's click is over, and above 6.5 kHz too, though
    no hat has as much below: so a chord or a hat on every second beat is told from it.
    """
    power = np.array([10 ** (ring(samples, round(t * RATE)) / 10) for t in kicks.beats])
    body = 10 * np.log10(power[:, BODY].sum(axis=1) + 1e-9)
    second = bool(np.median(body[inside & odd]) > np.median(body[inside & ~odd]))
    with_snare, without = inside & (odd == second), inside & (odd != second)
    gain = float(np.median(body[with_snare]) - np.median(body[without]))
    above = np.mean(body[with_snare][:, None] > body[without])
    added = np.maximum(np.median(power[with_snare], axis=0) - np.median(power[without], axis=0), 1e-9)
    tilt = 10 * float(np.log10(added[BODY].sum() / added[SIZZLE].sum()))
    if gain < GAIN or above < STEADY or not TILT[0] < tilt < TILT[1]:
        return None
    return with_snare & (body > np.median(body[without]) + gain / 2)


def extra_kicks(samples: F32, rises: Rises, grid: Grid, kicks: Kicks, inside: npt.NDArray[np.bool_]) -> list[float]:
    """Return the attacks between the beats of runs that sound and weigh like the kicks on them."""
    # a snare on every second beat colours the kick there
    spectra = np.stack([new_spectrum(samples, round(t * RATE))[TONE] for t in kicks.beats])
    halves = [inside & (np.arange(len(inside)) % 2 == k) for k in (0, 1)]
    typical = [np.median(spectra[half], axis=0) for half in halves]
    level = np.median(kicks.level[inside])
    result = []
    for frame in peaks_of(rises.rise["low"], KICK_RISE, 0.06):
        time = float(frame * FRAME)
        if not _between(time, grid, kicks, inside, 0.06) or rises.level["low"][frame] < level - 6:
            continue
        tone = new_spectrum(samples, round(time * RATE))[TONE]
        if min(_difference(tone, kick) for kick in typical) < SIMILAR:
            result.append(time)
    return result


def offbeat_hats(samples: F32, rises: Rises, grid: Grid, kicks: Kicks, inside: npt.NDArray[np.bool_]) -> list[float]:
    """Return the attacks that sound like those half-way between beats, if there are any."""
    peaks = [float(f * FRAME) for f in peaks_of(rises.rise["high"], 8.0, 0.03)]
    peaks = [t for t in peaks if _between(t, grid, kicks, inside, 0.03)]
    half = [t for t in peaks if abs((t - grid.phase) / grid.period % 1 - 0.5) * grid.period < REACH]
    if len(half) < inside.sum() / 4:
        return []
    spectra = {t: new_spectrum(samples, round(t * RATE))[AIR] for t in peaks}
    typical = np.median([spectra[t] for t in half], axis=0)
    # level may differ from hit to hit, colour may not
    return [t for t in peaks if t in half or _difference(spectra[t] - np.mean(spectra[t] - typical), typical) < SIMILAR]


def _between(time: float, grid: Grid, kicks: Kicks, inside: npt.NDArray[np.bool_], away: float) -> bool:
    """Tell whether `time` is within a run and at least `away` seconds from beats."""
    first = round((kicks.beats[0] - grid.phase) / grid.period)
    place = (time - grid.phase) / grid.period - first
    beat = int(np.floor(place))
    off = abs(place - round(place)) * grid.period
    return 0 <= beat < len(inside) and bool(inside[beat]) and off > away


def _difference(a: F32, b: F32) -> float:
    """Return by how many dB two spectra differ where either is loud."""
    top = np.maximum(a, b)
    return float(np.sqrt(np.mean(np.square(a - b)[top > top.max() - 15])))


def label_recording(recording: Recording, tempo: tuple[float, float] = TEMPO) -> list[tuple[float, Reading]]:
    """Read a recording stretch by stretch; return the start of each and what it is."""
    count = int(np.ceil(recording.seconds / STRETCH))
    bounds = np.linspace(0, recording.seconds, count + 1)
    readings = []
    for start, stop in pairwise(bounds):
        samples = recording.read(start, stop)
        readings.append((float(start), read_stretch(samples, rises_of(_slices(samples)), tempo)))
    return readings


def _slices(samples: F32) -> Iterator[F32]:
    size = 1 << 19
    for first in range(0, len(samples), size):
        yield samples[first : first + size]


@dataclass(frozen=True)
class Options:
    """What a worker needs to know."""

    out: Path
    seconds: float
    tempo: tuple[float, float]
    licence: str


class Track(NamedTuple):
    """One recording: where it lies, its name in the library, the library's name."""

    path: Path
    key: str
    source: str


def make_chunks(track: Track, options: Options) -> list[Chunk]:
    """Write the chunks of one track.

    Raises
    ------
    ValueError
        If it is no recording or not four-to-the-floor, with the reason.
    """
    regular_file(track.path, LARGEST)
    recording = Recording(track.path)
    readings = label_recording(recording, options.tempo)
    if all(reading.refused for _, reading in readings):
        best = max((reading for _, reading in readings), key=lambda r: r.confidence)
        raise ValueError(f"not four-to-the-floor: {best.refused}")
    writer = ChunkWriter(options.out, RATE)
    chunks = []
    for begin, reading in readings:
        for run, labels in zip(reading.runs, _velocities(reading.runs), strict=True):
            for start, stop in pieces(run, options.seconds):
                title = chunk_name(track.key, f"{len(chunks):03d}")
                audio = recording.read(begin + start, begin + stop)
                inside = [x._replace(time=max(0.0, x.time - start)) for x in labels if start <= x.time < stop]
                writer.write(title, {"": audio}, inside)
                details = {
                    "start": round(begin + start, 3),
                    "tempo": round(reading.tempo, 3),
                    "kick_only": reading.kick_only,
                    "complete": list(run.complete),
                }
                chunks.append(
                    Chunk(
                        name=title,
                        unit=track.key,
                        source=track.source,
                        song=track.key,
                        licence=options.licence,
                        method="four_floor",
                        confidence=round(reading.confidence, 3),
                        seconds=len(audio) / RATE,
                        details=details,
                    )
                )
    return chunks


def pieces(run: Run, longest: float) -> list[tuple[float, float]]:
    """Cut a run before beats into pieces of about `longest` seconds at most."""
    starts = [run.start]
    for cut, following in zip(run.cuts, (*run.cuts[1:], run.stop), strict=True):
        if following - starts[-1] > longest:
            starts.append(cut)
    return list(zip(starts, (*starts[1:], run.stop), strict=True))


def find_tracks(inputs: Sequence[Path]) -> Iterator[tuple[str, Track]]:
    """List the recordings of `inputs`, files or folders at any depth."""
    source = inputs[0].absolute().name if len(inputs) == 1 and inputs[0].is_dir() else ""
    for key, path in find_files(inputs, MUSIC):
        yield key, Track(path, key, source or path.parent.name)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python labelgen/four_floor.py ~/music/techno --out data/chunks/techno\n",
    )
    add = result.add_argument
    add("inputs", nargs="+", type=Path, metavar="INPUT", help="recordings, or folders of them at any depth")
    add("--out", type=Path, default=Path("data/chunks/four_floor"), help="folder of the set (default: %(default)s)")
    add("--seconds", type=chunk_seconds, default=30.0, help="longest chunk (default: %(default)s)")
    add("--tempo", type=positive(float), nargs=2, default=TEMPO, metavar=("MIN", "MAX"), help="beats a minute to look "
        "for; more than an octave lets a tempo be taken for its half (default: 90 180)")  # fmt: skip
    add("--licence", default="", help="terms of the recordings, kept with every chunk")
    add_work_options(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    low, high = args.tempo
    wrong = missing(args.inputs)
    if not 30 <= low < high <= 400:
        wrong = "--tempo needs two values between 30 and 400, the lower first"
    total = 0 if wrong else sum(1 for _ in find_tracks(args.inputs))
    if not wrong and not total:
        wrong = f"no recordings ({' '.join(MUSIC)}) in {args.inputs[0]}"
    if wrong:
        print(f"labelgen: {wrong}", file=sys.stderr)
        return 2
    options = Options(args.out.absolute(), args.seconds, (low, high), args.licence)
    make = partial(make_chunks, options=options)
    return run_command(args, make, find_tracks(args.inputs), total=total, inputs=args.inputs, by_file=True)


if __name__ == "__main__":
    sys.exit(main())
