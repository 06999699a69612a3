"""Chunks of noise, by rule: what a microphone, a record player or a room adds that is no drum.

Crackle and rumble of vinyl, tape hiss, mains hum, typing, rain, applause and wind. As backings they lie under drums
and music at any level (`training.augment`); alone they teach that clicks and bursts without a drum's body are none.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import oaconvolve

from dance.commands.arguments import natural, positive
from labelgen.by_rule import Wave, banded, between
from labelgen.chunks import Chunk, ChunkWriter, chunk_name
from labelgen.recordings import RATE
from labelgen.work import add_work_options, chunk_seconds, run_command, sample_rate

Random = np.random.Generator


def _events(count: int, rate: int, per_second: float, spread_db: float, rng: Random) -> Wave:
    """Return single samples at random moments, their levels normal in dB."""
    audio = np.zeros(count)
    at = rng.integers(0, count, rng.poisson(per_second * count / rate))
    np.add.at(audio, at, 10 ** (rng.normal(0, spread_db, len(at)) / 20) * rng.choice([-1, 1], len(at)))
    return audio


def _level(audio: Wave, db: float) -> Wave:
    return audio * (10 ** (db / 20) / max(1e-9, float(np.abs(audio).max())))


def crackle(count: int, rate: int, rng: Random) -> Wave:
    """Return an old record without music: pops, dust, rumble that comes again with each turn."""
    pops = banded(
        _events(count, rate, between(rng, 0.5, 30), 6, rng), rate, between(rng, 200, 2000), between(rng, 4000, 16000), 1
    )
    dust = banded(_events(count, rate, between(rng, 30, 800), 4, rng), rate, 1500, None, 1)
    rumble = banded(rng.normal(0, 1, count), rate, 15, between(rng, 50, 150))
    turn = rng.choice([33.33, 45.0, 78.0]) / 60
    rumble *= 1 + rng.uniform(0, 0.8) * np.sin(2 * np.pi * turn * np.arange(count) / rate)
    return _level(pops, 0) + _level(dust, rng.uniform(-35, -8)) + _level(rumble, rng.uniform(-45, -12))


def hiss(count: int, rate: int, rng: Random) -> Wave:
    """Return a tape without music, or fans: noise of one colour, hardly changing."""
    noise = rng.normal(0, 1, count)
    low, high = (None, between(rng, 300, 12000)) if rng.random() < 0.6 else (1500, None)
    coloured = banded(noise, rate, low, high, 1)
    slow = np.interp(np.arange(count), np.linspace(0, count, 24), rng.normal(0, rng.uniform(0, 2), 24))
    return coloured * 10 ** (slow / 20)


def hum(count: int, rate: int, rng: Random) -> Wave:
    """Return mains hum with its harmonics."""
    time, base = np.arange(count) / rate, rng.choice([50.0, 60.0])
    fall = rng.uniform(0.3, 2)
    waves: Wave = sum(
        np.sin(2 * np.pi * (base * k * time + rng.random())) * k**-fall for k in range(1, int(rng.integers(4, 60)))
    )
    return waves + 10 ** (rng.uniform(-60, -30) / 20) * rng.normal(0, 1, count)


def _bursts(audio: Wave, rate: int, seconds: float, low: float, high: float, rng: Random) -> Wave:
    """Let each event be a short burst of noise."""
    length = round(6 * seconds * rate)
    body = rng.normal(0, 1, length) * np.exp(-np.arange(length) / (seconds * rate))
    return banded(oaconvolve(audio, body)[: len(audio)], rate, low, high, 1)


def typing(count: int, rate: int, rng: Random) -> Wave:
    """Return somebody typing: down and up of keys in words and pauses."""
    events, now, pace = np.zeros(count), rng.uniform(0, 1), between(rng, 0.08, 0.25)
    while now < count / rate - 0.2:
        force = 10 ** (rng.normal(0, 3) / 20)
        for moment, share in ((now, 1.0), (now + rng.uniform(0.05, 0.12), rng.uniform(0.2, 0.8))):
            events[min(count - 1, int(moment * rate))] += force * share
        now += pace * rng.lognormal(0, 0.4) + (rng.exponential(0.8) if rng.random() < 0.12 else 0)
    low = between(rng, 300, 2500)
    return _bursts(events, rate, between(rng, 0.001, 0.006), low, low * rng.uniform(2, 5), rng)


def rain(count: int, rate: int, rng: Random) -> Wave:
    """Return drops on something, and the far ones as noise."""
    drops = _bursts(_events(count, rate, between(rng, 15, 300), 5, rng), rate, 0.002, 1000, 9000, rng)
    return _level(drops, 0) + _level(banded(rng.normal(0, 1, count), rate, 800, None, 1), rng.uniform(-30, -6))


def applause(count: int, rate: int, rng: Random) -> Wave:
    """Return many people clapping, too many to tell one from another."""
    audio = np.zeros(count)
    for low in between(rng, 500, 1200) * rng.uniform(0.7, 1.6, 3):
        hands = _events(count, rate, between(rng, 60, 400), 5, rng)
        audio += _level(_bursts(hands, rate, between(rng, 0.003, 0.012), low, 3 * low, rng), rng.uniform(-6, 0))
    return audio


def wind(count: int, rate: int, rng: Random) -> Wave:
    """Return gusts over a microphone."""
    gusts = np.interp(np.arange(count), np.linspace(0, count, 40), rng.normal(0, rng.uniform(3, 10), 40))
    return banded(rng.normal(0, 1, count), rate, 20, between(rng, 80, 600)) * 10 ** (gusts / 20)


KINDS: dict[str, Callable[[int, int, Random], Wave]] = {
    kind.__name__: kind for kind in (crackle, hiss, hum, typing, rain, applause, wind)
}


@dataclass(frozen=True)
class Noise:
    """One chunk to make."""

    kind: str
    number: int
    seed: int
    seconds: float
    sample_rate: int
    out: Path


def make(noise: Noise) -> list[Chunk]:
    """Write one chunk."""
    rng = np.random.default_rng([noise.seed, list(KINDS).index(noise.kind), noise.number])
    audio = KINDS[noise.kind](round(noise.seconds * noise.sample_rate), noise.sample_rate, rng)
    key = f"{noise.kind}-{noise.number}"
    return ChunkWriter(noise.out, noise.sample_rate).write_drumless(
        chunk_name(key, "00"),
        audio.astype(np.float32),
        unit=key,
        source=f"labelgen/noises.py: {noise.kind}",
        song=key,
        licence="MIT",
        method="noise",
        seed=noise.seed,
    )


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python labelgen/noises.py --count 15 --out data/chunks/noises\nkinds: " + ", ".join(KINDS),
    )
    add = result.add_argument
    add("--count", type=positive(int), default=15, help="chunks of each kind (default: %(default)s)")
    add(
        "--kinds",
        nargs="+",
        choices=list(KINDS),
        default=list(KINDS),
        metavar="KIND",
        help="make only these kinds of noise",
    )
    add("--seconds", type=chunk_seconds, default=30.0, help="length of each chunk (default: %(default)s)")
    add("--sample-rate", type=sample_rate, default=RATE, help="hertz (default: %(default)s)")
    add("--seed", type=natural, default=0, help="decides every random choice (default: %(default)s)")
    add("--out", type=Path, default=Path("data/chunks/noises"), help="folder of the set (default: %(default)s)")
    add_work_options(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    jobs = [
        (f"{kind}-{number}", Noise(kind, number, args.seed, args.seconds, args.sample_rate, args.out.absolute()))
        for kind in dict.fromkeys(args.kinds)
        for number in range(args.count)
    ]
    return run_command(args, make, jobs, inputs=())


if __name__ == "__main__":
    sys.exit(main())
