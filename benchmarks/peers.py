"""Ours beside other detectors, on the same labelled recordings: F, decision delay, cost, memory.

Installs what is to be had as a package, each with its own environment, in a temporary folder (``--keep`` for one
that stays); what cannot be installed or does not run is a row that says why. All run on one thread.

F (within 50 ms): of all hits together, whatever drum (hits less than 30 ms apart are one), and of kick, snare and hihat
where the detector names drums. Onset detectors also report notes of other instruments, beat trackers do not report
hits between the beats: for them F says how well they serve in our place, not how well they do what they are made for.
Delay: from the labelled hit to the last sample that had to be heard, in blocks as a device gives them; median and p95.
Cost: CPU time of the detection, as a share of the recording's length and as a multiple of ours; the best of three.

What names drums well is made for whole recordings; to use it live, people run it on the last seconds again and again
(``librosa_rolling`` shows the manner with a detector that can be had). No such transcriber is to be had as a package
with its weights: below the table, ours is held against what has been published of one, by division, not by
measurement.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import RATE, ROOT, SONG, guard, mono
from dance.detector import RELEASED, Detector
from dance.score import TOLERANCE, match
from training.evaluate import find, read_truth

DRUMS = ("kick", "snare", "hihat")
TOGETHER = 0.03
"""Hits of several drums closer than this, in seconds, are one to a detector that names no drum."""
RUNS = 3
TRANSCRIBER_SHARE, TRANSCRIBER_MB = 0.5, 1200.0
"""An offline transcriber on a rolling buffer, as published: half a core, 1.2 GB."""
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}


@dataclass(frozen=True)
class Peer:
    """A detector and how to install it.

    Attributes
    ----------
    name : str
        A function of `peer_runner`.
    what : str
        For the table.
    steps : tuple of str
        Arguments of one ``pip install`` after the other; without any, this environment has it.
    settings : dict
        Environment variables for pip.
    environment : str
        Name of another detector whose installation serves this one.
    """

    name: str
    what: str
    steps: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    environment: str = ""


# madmom's last release has C files from before Python 3.11 and names from before NumPy 1.24.
MADMOM = ("numpy<1.24 setuptools<81 wheel cython<3 scipy mido", "--no-build-isolation --no-deps madmom")
AGAIN = {"CYTHON_FORCE_REGEN": "1"}
PEERS = (
    Peer("dance", "drums, velocity"),
    Peer("band_energy", "three bands against their mean"),
    Peer("aubio", "onsets", ("numpy<2 setuptools<81 wheel", "--no-build-isolation aubio")),
    Peer("librosa", "onsets, whole recording", ("librosa",)),
    Peer("librosa_rolling", "onsets, last 4 s every 0.1 s", ("librosa",), environment="librosa"),
    Peer("madmom", "onsets, recurrent network", MADMOM, AGAIN),
    Peer(
        "beatnet",
        "beats, network and particles",
        (*MADMOM, f"--constraint {ROOT / 'constraints.txt'} librosa<0.11 numba torch matplotlib pyaudio numpy<1.24 "
                  "setuptools<81", "--no-deps BeatNet"),
        AGAIN,
    ),
)  # fmt: skip


class UnavailableError(Exception):
    """A detector could not be installed or failed; the message says why."""


@dataclass
class Row:
    """What one detector did on all recordings.

    Attributes
    ----------
    pairs, truth, heard : dict
        Counts for each drum and for all hits together, ``"any"``.
    delays : list of float
        In seconds; of all hits together.
    whole : bool
        It wants the whole recording.
    cpu, memory : float
        Seconds and MB.
    """

    pairs: dict[str, int] = field(default_factory=dict)
    truth: dict[str, int] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    whole: bool = False
    cpu: float = 0.0
    memory: float = 0.0

    def f_measure(self, label: str) -> float:
        """Return F of a drum, or of ``"any"``."""
        both = self.truth.get(label, 0) + self.heard.get(label, 0)
        return 2 * self.pairs.get(label, 0) / both if both else 1.0

    def add(self, truth: Sequence[tuple[float, str]], hits: Sequence[tuple[float, float | None, str]]) -> None:
        """Count the hits of one recording.

        Parameters
        ----------
        truth : list of (time, label)
        hits : list of (time, reported, label)
        """
        for label in DRUMS:
            true = sorted(time for time, name in truth if name == label)
            mine = sorted(time for time, _, name in hits if name == label)
            self._count(label, true, mine)
        true = together(sorted(time for time, _ in truth))
        # of hits that count as one, the first report is what a program would act on
        ordered = sorted(hits, key=lambda hit: hit[0])
        mine = together([hit[0] for hit in ordered])
        reports = dict(reversed([(hit[0], hit[1]) for hit in ordered]))
        for i, j in self._count("any", true, mine):
            reported = reports[mine[j]]
            if reported is None:
                self.whole = True
            else:
                self.delays.append(reported - true[i])

    def _count(self, label: str, true: Sequence[float], mine: Sequence[float]) -> list[tuple[int, int]]:
        pairs = match(true, mine, TOLERANCE)
        for counts, number in ((self.pairs, len(pairs)), (self.truth, len(true)), (self.heard, len(mine))):
            counts[label] = counts.get(label, 0) + number
        return pairs


def together(times: Sequence[float]) -> list[float]:
    """Return the first of each group of ascending times in which all are closer than `TOGETHER` to the first."""
    result: list[float] = []
    for time in times:
        if not result or time - result[-1] >= TOGETHER:
            result.append(time)
    return result


def install(peer: Peer, folder: Path) -> Path:
    """Return the Python that has the detector, after installing it where that has not been done.

    Raises
    ------
    UnavailableError
        If pip fails.
    """
    if not peer.steps:
        return Path(sys.executable)
    environment = folder / (peer.environment or peer.name)
    python, done = environment / "bin" / "python", environment / "installed"
    if done.exists():
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(environment)], {})
    for step in peer.steps:
        print(f"peers: {peer.name}: pip install {step}", file=sys.stderr)
        _run([str(python), "-m", "pip", "install", "--quiet", *step.split()], peer.settings)
    done.touch()
    return python


def detect(peer: Peer, python: Path, audio: Path, model: Path) -> dict[str, Any]:
    """Return the answer of `peer_runner` with the least CPU time of some runs.

    Raises
    ------
    UnavailableError
        If the detector fails.
    """
    settings = {**ONE_THREAD, "PYTHONWARNINGS": "ignore", "DANCE_MODEL": str(model)}
    command = [str(python), str(Path(__file__).with_name("peer_runner.py")), peer.name, str(audio)]
    answers = [json.loads(_run([*command, "--rate", str(RATE)], settings).splitlines()[-1]) for _ in range(RUNS)]
    return min(answers, key=lambda answer: answer["cpu"])


def show(rows: dict[str, Row | str], seconds: float) -> Table:
    """Return the table; a row is a text where there are no figures."""
    columns = ("detector", "reports", "F any", *(f"F {drum}" for drum in DRUMS), "delay ms (p95)",
               "% of real time", "times ours", "memory MB")  # fmt: skip
    table = Table(*columns, box=None, header_style="bold")
    ours = rows.get("dance")
    for peer in PEERS:
        row = rows.get(peer.name)
        if row is None:
            continue
        if isinstance(row, str):
            table.add_row(peer.name, f"not run: {row}")
            continue
        drums = [f"{row.f_measure(drum):.3f}" if any(row.heard.get(name) for name in DRUMS) else "-" for drum in DRUMS]
        delay = "-"
        if row.whole:
            delay = "at the end"
        elif row.delays:
            delay = "{:.0f} ({:.0f})".format(*(1000 * np.percentile(row.delays, q) for q in (50, 95)))
        ratio = f"{row.cpu / ours.cpu:.2f}" if isinstance(ours, Row) else "-"
        share = f"{100 * row.cpu / seconds:.2f}"
        table.add_row(
            peer.name, peer.what, f"{row.f_measure('any'):.3f}", *drums, delay, share, ratio, f"{row.memory:.0f}"
        )
    return table


def beside_transcriber(ours: Row, seconds: float) -> str:
    """Return how ours compares with the published figures of an offline transcriber."""
    share = ours.cpu / seconds
    return (
        f"an offline transcriber on a rolling buffer is published as {TRANSCRIBER_SHARE:.0%} of a core and "
        f"{TRANSCRIBER_MB:.0f} MB (not run here):\n"
        f"ours takes {TRANSCRIBER_SHARE / share:.0f} times less time (floor 25, aim 50) and "
        f"{TRANSCRIBER_MB / ours.memory:.0f} times less memory (floor 10, aim 15)"
    )


def _run(command: Sequence[str], settings: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        reasons = [line.strip() for line in lines if "error:" in line.lower()]
        raise UnavailableError((reasons or lines or ["no message"])[0 if reasons else -1][:200])
    return done.stdout


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python benchmarks/peers.py --only dance band_energy aubio librosa\n"
        "  python benchmarks/peers.py --audio recordings/ --labels labels/ --keep peers/",
    )
    add = result.add_argument
    add("--audio", type=Path, default=SONG.parent, help="a recording or a folder of them (default: the demo song)")
    add("--labels", type=Path, help="its labels, or the folder with them (default: beside the audio)")
    add("--only", nargs="+", choices=[peer.name for peer in PEERS], help="these detectors (default: all; beatnet "
        "brings torch, more than 1 GB)")  # fmt: skip
    add("--model", type=Path, default=RELEASED, help="our model (default: the released one)")
    add("--keep", type=Path, metavar="FOLDER", help="install into this folder, or use what it has from an earlier run")
    return result


def labelled(audio: Path, labels: Path | None) -> list[tuple[Path, Path]]:
    """Return recordings with their label files.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not audio.exists():
        raise ValueError(f"no such file or folder: {audio}")
    if audio.is_dir():
        return find(audio, labels or audio)
    beside = labels or audio.parent
    if beside.is_dir():
        named = [beside / f"{audio.stem}{suffix}" for suffix in (".tsv", ".txt")]
        beside = next(filter(Path.is_file, named), named[0])
    if not beside.is_file():
        raise ValueError(f"no labels {beside}; name them with --labels")
    return [(audio, beside)]


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    rows: dict[str, Row | str] = {}
    seconds = 0.0
    Detector.load(args.model, sample_rate=RATE)
    pairs = labelled(args.audio, args.labels)
    with tempfile.TemporaryDirectory(prefix="dance-") as name:
        tracks = []
        for number, (audio, labels) in enumerate(pairs):
            samples = mono(audio, RATE)
            seconds += len(samples) / RATE
            np.save(Path(name) / f"{number}.npy", samples)
            truth = [(hit.time, hit.label) for hit in read_truth(labels) if hit.label != "other"]
            tracks.append((Path(name) / f"{number}.npy", truth))
        for peer in PEERS:
            if args.only and peer.name not in args.only:
                continue
            row = Row()
            try:
                python = install(peer, args.keep or Path(name))
                for track, truth in tracks:
                    answer = detect(peer, python, track, args.model)
                    row.add(truth, answer["hits"])
                    row.cpu += answer["cpu"]
                    row.memory = max(row.memory, answer["memory"])
                rows[peer.name] = row
            except UnavailableError as error:
                rows[peer.name] = str(error)
    Console(width=150).print(show(rows, seconds))
    ours, aubio = rows.get("dance"), rows.get("aubio")
    if isinstance(ours, Row):
        print(f"\n{beside_transcriber(ours, seconds)}")
    if isinstance(ours, Row) and isinstance(aubio, Row):
        print(f"\nour CPU time is {ours.cpu / aubio.cpu:.1f} times aubio's (floor 12, aim 5)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
