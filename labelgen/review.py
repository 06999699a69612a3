"""Look at labels as a person would check them: a picture and clicks for a chunk, a report for a whole set.

For each chunk a PNG (waveform, spectrogram, labels by colour with velocity as height, and the busiest
seconds enlarged) and a FLAC: left the mix, right the mix turned down with a click on each label, a
pitch of its own for each drum. For the set ``report.md`` with plots: what there is, of what, and what was refused.
"""

import argparse
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mir_eval.sonify
import numpy as np
import numpy.typing as npt
import soundfile as sf
from matplotlib.figure import Figure

from dance.colours import COLOURS as COLOUR  # a drum has one colour everywhere
from dance.commands.arguments import natural
from dance.labels import OTHER
from labelgen.chunks import MANIFEST, NAMES, Chunk, Label, Manifest, as_chunk, read_labels, whole
from labelgen.files import printable
from labelgen.review_picture import picture

Audio = npt.NDArray[np.float32]

PITCH = {"kick": 220.0, "tom": 440.0, "snare": 880.0, OTHER: 1320.0, "cymbal": 2640.0, "hihat": 3520.0}
LEVELS = 8  # loudnesses of clicks


# ------------------------------------------------------------------------------------------------------------------
# one chunk


def clicks(labels: Iterable[Label], samples: int, rate: int) -> Audio:
    """Return a click for each label, louder with velocity, each drum at its own pitch."""
    time = np.arange(int(0.06 * rate)) / rate
    track = np.zeros(samples)
    groups = defaultdict(list)
    for label in labels:
        groups[label.label, math.ceil(max(label.velocity, 0.01) * LEVELS)].append(label.time)
    for (name, level), times in groups.items():
        click = np.sin(2 * np.pi * PITCH[name] * time) * np.exp(-time / 0.012)
        track += level / LEVELS * mir_eval.sonify.clicks(np.array(times), rate, click, samples)
    return track.astype(np.float32)


def listen(path: Path, audio: Audio, labels: Sequence[Label], rate: int) -> None:
    """Write a stereo FLAC: left the mix, right the mix 12 dB down under the clicks."""
    mix = audio / max(1e-6, float(np.abs(audio).max()))
    right = 0.25 * mix + 0.6 * clicks(labels, len(mix), rate)
    right /= max(1.0, float(np.abs(right).max()))
    with whole(path) as partial:
        sf.write(partial, 0.9 * np.stack([mix, right], axis=1), rate, format="FLAC")


# ------------------------------------------------------------------------------------------------------------------
# a whole set


@dataclass
class Survey:
    """What a set holds, gathered chunk by chunk; for each song no more than a number is kept."""

    chunks: int = 0
    units: int = 0
    seconds: float = 0.0
    refused: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    chunks_with: Counter[str] = field(default_factory=Counter)
    velocity: dict[str, npt.NDArray[np.int64]] = field(default_factory=lambda: {n: np.zeros(20, int) for n in NAMES})
    tempo: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(45, int))  # 4 bpm each, from 40
    pace: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(40, int))  # half a hit a second each
    by: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    seconds_by: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    songs: set[int] = field(default_factory=set)

    def add(self, chunk: Chunk, labels: Sequence[Label]) -> None:
        """Count one chunk in."""
        self.chunks += 1
        self.seconds += chunk.seconds
        self.songs.add(hash((chunk.source, chunk.song)))
        for name, count in Counter(label.label for label in labels).items():
            self.hits[name] += count
            self.chunks_with[name] += 1
        for label in labels:
            self.velocity[label.label][min(19, int(label.velocity * 20))] += 1
        if labels:
            self.pace[min(39, int(2 * len(labels) / chunk.seconds))] += 1
        bpm = tempo(labels)
        if bpm:
            self.tempo[min(44, max(0, int((bpm - 40) / 4)))] += 1
        confidence = f"{math.floor(chunk.confidence * 10) / 10:.1f}"
        parts = "mix" + "".join(f" + {stem}" for stem in chunk.stems)
        for key, value in (
            ("source", chunk.source),
            ("method", chunk.method),
            ("split", chunk.split),
            ("confidence, at least", confidence),
            ("audio", parts),
        ):
            self.by[key][value or "-"] += 1
            self.seconds_by[key][value or "-"] += chunk.seconds
        for licence in {part.strip() for part in chunk.licence.split(";")} - {""} or {"none given"}:
            self.by["licence"][licence] += 1
            self.seconds_by["licence"][licence] += chunk.seconds

    def refuse(self, unit: str, reason: str) -> None:
        """Count one refused unit in, under its reason without the particulars."""
        self.refused += 1
        kind = re.sub(r"(?<![A-Za-z])[-+]?\d[\d.,]*", "N", re.sub(r"'[^']*'|\"[^\"]*\"|/\S+", "…", reason))
        if kind not in self.reasons and len(self.reasons) > 200:
            kind = "other reasons"
        self.reasons[kind] += 1
        self.example.setdefault(kind, unit)


def tempo(labels: Sequence[Label]) -> float:
    """Estimate beats per minute from the labels alone; 0 where they have no pulse.

    The autocorrelation of the hits at steps of 10 ms, weighted towards 120 bpm as ears are (octaves remain a
    matter of taste).
    """
    if len(labels) < 8:
        return 0.0
    train = np.zeros(int(labels[-1].time * 100) + 2)
    for label in labels:
        train[int(label.time * 100)] += label.velocity * (2 if label.label in ("kick", "snare") else 1)
    train = np.convolve(train, np.hanning(7)[1:-1], "same")  # players are not clocks
    train -= train.mean()
    size = 1 << (2 * len(train)).bit_length()
    spectrum = np.fft.rfft(train, size)
    heard = np.fft.irfft(np.abs(spectrum) ** 2, size)[: len(train)]
    lags = np.arange(27, min(150, len(train) // 2))
    if not len(lags):
        return 0.0
    taste = np.exp(-0.5 * (np.log2(6000 / lags / 120) / 0.7) ** 2)
    best = int(np.argmax(heard[lags] * taste))
    return 6000.0 / int(lags[best]) if heard[lags[best]] > 0.1 * heard[0] else 0.0


def survey(folder: Path) -> Survey:
    """Read a whole set, one chunk at a time."""
    result = Survey()
    manifest = Manifest(folder)
    unit = None
    for row in manifest.rows():
        if "refused" in row:
            continue
        result.units += row["unit"] != unit  # the lines of a unit follow each other
        unit = row["unit"]
        chunk = as_chunk(row)
        try:
            labels = read_labels(folder / f"{chunk.name}.tsv")
        except (OSError, ValueError) as error:
            result.lost.append(f"{chunk.name}: {error}")
            continue
        if not (folder / f"{chunk.name}.flac").is_file():
            result.lost.append(f"{chunk.name}: no audio")
            continue
        result.add(chunk, labels)
    for unit, reason in manifest.refused().items():
        result.refuse(unit, reason)
    return result


def plots(path: Path, found: Survey) -> None:
    """Write one PNG with four plots of a set."""
    figure = Figure(figsize=(16, 10), dpi=100, layout="constrained")
    (balance, strength), (speed, density) = figure.subplots(2, 2)
    names = [name for name in NAMES if name != OTHER or found.hits[OTHER]]
    bars = balance.bar(names, [found.hits[n] for n in names], color=[COLOUR[n] for n in names])
    total = max(1, sum(found.hits.values()))
    balance.bar_label(bars, [f"{found.hits[n]:,}\n{found.hits[n] / total:.0%}" for n in names], padding=2)
    balance.margins(y=0.18)
    balance.set_title("labels of each drum")
    middle = (np.arange(20) + 0.5) / 20
    for name in names:
        counts = found.velocity[name]
        if counts.sum():
            strength.plot(middle, counts / counts.sum(), color=COLOUR[name], linewidth=2.2, marker="o", label=name)
    strength.set_title("velocity")
    strength.set_xlabel("velocity")
    strength.set_ylabel("share of that drum's labels")
    strength.set_xlim(0, 1)
    if strength.lines:
        strength.legend()
    speed.bar(42 + 4 * np.arange(45), found.tempo, width=3.6, color="0.4")
    speed.set_title("tempo, estimated from the labels (an octave is a matter of taste)")
    speed.set_xlabel("beats per minute")
    speed.set_ylabel("chunks")
    density.bar((np.arange(40) + 0.5) / 2, found.pace, width=0.45, color="0.4")
    density.set_title("density")
    density.set_xlabel("labels per second (the last bar: or more)")
    density.set_ylabel("chunks")
    for axes in (balance, strength, speed, density):
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    with whole(path) as partial:
        figure.savefig(partial, format="png")


def report(folder: Path, found: Survey, shown: Sequence[str]) -> str:
    """Return the report on a set as Markdown; `shown` names the chunks that pictures were made of."""
    units = found.refused + found.units
    lines = [
        f"# {folder.resolve().name}",
        "",
        f"{found.chunks:,} chunks of {len(found.songs):,} songs, {found.seconds / 3600:.2f} hours, "
        f"{sum(found.hits.values()):,} labels. Refused: {found.refused:,} of {units:,} units "
        f"({found.refused / max(1, units):.1%}).",
        "",
        "![labels, velocity, tempo, density](overview.png)",
        "",
        *_table(
            ("drum", "labels", "share", "chunks with it", "velocity: median", "10 % to 90 %"),
            [
                (
                    name,
                    f"{found.hits[name]:,}",
                    f"{found.hits[name] / max(1, sum(found.hits.values())):.1%}",
                    f"{found.chunks_with[name] / max(1, found.chunks):.1%}",
                    f"{_quantile(found.velocity[name], 0.5):.2f}",
                    f"{_quantile(found.velocity[name], 0.1):.2f} to {_quantile(found.velocity[name], 0.9):.2f}",
                )
                for name in NAMES
            ],
        ),
    ]
    for key in ("source", "method", "licence", "split", "confidence, at least", "audio"):
        lines += [f"## By {key}", ""]
        if key == "licence":
            lines += ["A chunk made of several works counts under each of their licences.", ""]
        most = found.by[key].most_common(25)
        lines += _table(
            (key, "chunks", "hours"),
            [(value, f"{count:,}", f"{found.seconds_by[key][value] / 3600:.2f}") for value, count in most],
        )
        if len(found.by[key]) > len(most):
            lines += [f"and {len(found.by[key]) - len(most)} more", ""]
    if found.refused:
        lines += ["## Refused", ""]
        lines += _table(
            ("reason", "units", "share", "for example"),
            [
                (reason, f"{count:,}", f"{count / found.refused:.1%}", found.example[reason])
                for reason, count in found.reasons.most_common(25)
            ],
        )
    if found.lost:
        lines += ["## Named by the manifest but not usable", ""]
        lines += [*(f"- {printable(text)}" for text in found.lost[:25]), ""]
        if len(found.lost) > 25:
            lines += [f"and {len(found.lost) - 25} more", ""]
    if shown:
        lines += ["## Chunks drawn at random", ""]
        for name in shown:
            lines += [
                f"[listen: left the mix, right with clicks]({name}.clicks.flac)",
                "",
                f"![{name}]({name}.png)",
                "",
            ]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(printable(cell).replace("|", "\\|") for cell in cells) + " |"

    return [line(header), line(["---"] * len(header)), *map(line, rows), ""]


def _quantile(counts: npt.NDArray[np.int64], share: float) -> float:
    """Return the velocity below which `share` of the hits are, from their histogram."""
    if not counts.sum():
        return math.nan
    below = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    return float(np.interp(share, below, np.linspace(0, 1, len(below))))


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python labelgen/review.py data/chunks/midi --out review\n"
        "  python labelgen/review.py data/chunks/midi --chunk song-0123456789abcdef-0-00 --out review\n",
    )
    add = result.add_argument
    add("set", type=Path, metavar="SET", help="folder of chunks")
    add("--chunk", action="append", metavar="NAME", help="show only this chunk, without a report; may be repeated")
    add("--out", type=Path, default=Path("review"), help="folder for pictures, sound and report (default: %(default)s)")
    add(
        "--draw",
        type=natural,
        default=3,
        metavar="N",
        help="number of chunks drawn for pictures in the report (default: %(default)s)",
    )
    add("--seed", type=natural, default=0, help="decides which are drawn (default: %(default)s)")
    return result


def show(folder: Path, chunk: Chunk, out: Path) -> None:
    """Write picture and clicks of one chunk."""
    audio, rate = sf.read(folder / f"{chunk.name}.flac", dtype="float32", always_2d=True)
    mono = np.ascontiguousarray(audio.mean(axis=1))
    labels = read_labels(folder / f"{chunk.name}.tsv")
    picture(out / f"{chunk.name}.png", chunk, mono, labels, rate)
    listen(out / f"{chunk.name}.clicks.flac", mono, labels, rate)


def drawn(folder: Path, count: int, seed: int) -> dict[str, Chunk]:
    """Draw chunks of a set, each with the same chance, in one pass."""
    rng = np.random.default_rng(seed)
    kept: list[Mapping[str, object]] = []
    rows = (row for row in Manifest(folder).rows() if "refused" not in row)
    for number, row in enumerate(rows):
        if len(kept) < count:
            kept.append(row)
        elif (place := int(rng.integers(number + 1))) < count:
            kept[place] = row
    return {str(row["name"]): as_chunk(row) for row in kept}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        if not (args.set / MANIFEST).is_file():
            raise ValueError(f"{args.set} is not a set of chunks: it has no {MANIFEST}")
        args.out.mkdir(parents=True, exist_ok=True)
        if args.chunk:
            rows = (row for row in Manifest(args.set).rows() if row.get("name") in args.chunk)
            chosen = {row["name"]: as_chunk(row) for row in rows}
            missing = [name for name in args.chunk if name not in chosen]
            if missing:
                raise ValueError(f"{args.set} has no chunk {missing[0]}")
        else:
            chosen = drawn(args.set, args.draw, args.seed)
        shown = []
        for name, chunk in chosen.items():
            try:
                show(args.set, chunk, args.out)
            except (OSError, ValueError, sf.LibsndfileError) as error:
                if args.chunk:
                    raise ValueError(f"{name}: {error}") from None
                continue  # the report names it
            shown.append(name)
            print(args.out / f"{name}.png")
        if not args.chunk:
            found = survey(args.set)
            plots(args.out / "overview.png", found)
            with whole(args.out / "report.md") as partial:
                partial.write_text(report(args.set, found, shown), encoding="utf-8")
            print(args.out / "report.md")
    except (OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
