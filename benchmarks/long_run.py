"""A long concert in accelerated time: the clock must still be exact at the end, and memory flat.

One recording is heard over and over by one detector, without a pause or a reset, in blocks as a sound card gives
them. Its length is a whole number of frames, so every round must give the same events at the same samples of the
round: each is compared with the third (the first begins in a silence that the others do not have, and the network's
memory of it fades). The largest difference of a confidence is told; velocities follow the hits before.

Exit code 1 if a round differs (confidences: by more than 0.001), or if resident memory grew by more
than ``--growth`` after the first twentieth of the rounds.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.common import SONG, guard, mono
from dance import Event
from dance.commands.arguments import count, within
from dance.detector import RELEASED, Detector

COLUMNS = ("rate", "hours", "rounds", "events a round", "rounds that differ", "deviation", "MB early", "MB late",
           "x real time")  # fmt: skip
REFERENCE = 2  # the round that all later ones are compared with
WARM = 0.05  # of the rounds: afterwards, memory should stay as it is
ROUNDING = 1e-3  # what confidences may differ by; velocities are not compared


@dataclass(frozen=True)
class Outcome:
    """What a run showed.

    Attributes
    ----------
    samples : int
        Heard in all.
    events : int
        In each round.
    different : int
        Rounds after the reference whose events differ from it.
    deviation : float
        Largest difference of a confidence.
    early, late : int
        Resident bytes of the process, early on and at the end.
    """

    samples: int
    events: int
    different: int
    deviation: float
    early: int
    late: int


def whole_frames(samples: npt.NDArray[np.float32], detector: Detector) -> npt.NDArray[np.float32]:
    """Return the recording, cut so that after it frames end at the same samples again."""
    hop = detector.spec.features.hop_seconds * detector.sample_rate
    # A hop need not be a whole number of samples; this many hops are.
    hops = next(n for n in range(1, 10_001) if abs(n * hop - round(n * hop)) < 1e-6)
    unit = round(hops * hop)
    return samples[: len(samples) // unit * unit]


def rounds(detector: Detector, samples: npt.NDArray[np.float32], count: int, block: int = 256) -> Iterator[list[Event]]:
    """Hear `samples` `count` times on end and yield the events of each round."""
    for _ in range(count):
        events = []
        for first in range(0, len(samples), block):
            events += detector.process(samples[first : first + block])
        yield events


def run(detector: Detector, samples: npt.NDArray[np.float32], count: int) -> Outcome:
    """Hear `count` rounds, more than `REFERENCE` + 1, and compare them."""
    clock: list[tuple[str, int, int]] = []
    values = np.zeros(0)
    different, deviation, early = 0, 0.0, 0
    for number, events in enumerate(tqdm(rounds(detector, samples, count), total=count, leave=False)):
        start = number * len(samples)
        heard = [(event.label, event.sample - start, event.reported - start) for event in events]
        strengths = np.array([event.confidence for event in events])
        if number == REFERENCE:
            clock, values = heard, strengths
        elif number > REFERENCE:
            if heard != clock:
                different += 1
            elif heard:
                deviation = max(deviation, float(np.abs(strengths - values).max()))
        if number == max(REFERENCE, round(WARM * count)):
            early = resident()
    return Outcome(count * len(samples), len(clock), different, deviation, early, resident())


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/long_run.py --hours 8",
    )
    add = result.add_argument
    add(
        "--hours",
        type=within(float, 0),
        default=0.5,
        help="of audio, at each rate; 0: as short as can be (default: %(default)s)",
    )
    add("--rates", type=count, nargs="+", default=[44100, 48000], help="(default: %(default)s)")
    add(
        "--growth",
        type=within(float, 0),
        default=2.0,
        metavar="MB",
        help="of memory that is allowed (default: %(default)s)",
    )
    add("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    add("--song", type=Path, default=SONG, help="recording to hear again and again (default: the demo song)")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    prepared = []
    for rate in args.rates:  # a mistake in the last is told before the first has run
        detector = Detector.load(args.model, sample_rate=rate)
        samples = whole_frames(mono(args.song, rate), detector)
        if not len(samples):
            raise ValueError(f"{args.song} is shorter than a frame")
        prepared.append((detector, samples))
    failed = False
    print("".join(f"{column:>{len(column) + 2}}" for column in COLUMNS))
    for detector, samples in prepared:
        rate = detector.sample_rate
        count = max(REFERENCE + 2, round(args.hours * 3600 * rate / len(samples)))
        began = time.perf_counter()
        outcome = run(detector, samples, count)
        seconds = outcome.samples / rate
        failed |= bool(outcome.different) or outcome.deviation > ROUNDING
        failed |= outcome.late - outcome.early > args.growth * 1e6
        cells = (
            str(rate),
            f"{seconds / 3600:.2f}",
            str(count),
            str(outcome.events),
            str(outcome.different),
            f"{outcome.deviation:.0e}",
            f"{outcome.early / 1e6:.1f}",
            f"{outcome.late / 1e6:.1f}",
            f"{seconds / (time.perf_counter() - began):.0f}",
        )
        print("".join(f"{cell:>{len(column) + 2}}" for cell, column in zip(cells, COLUMNS, strict=True)), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
