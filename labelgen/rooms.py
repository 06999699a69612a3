"""New chunks from old ones: the same music played by a speaker in a room, as a microphone there hears it.

Drums and backing of a chunk go through one speaker, one simulated room (image sources; Allen & Berkley, "Image
method for efficiently simulating small-room acoustics", 1979) and one microphone, drawn anew for each chunk; some
microphones have automatic gain. What the mix makes of speaker, room and gain is done to each stem: the stems add up
to what the microphone hears, and can still be mixed at any balance. The direct sound keeps its time, and so do the
labels.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyroomacoustics as pra
import soundfile as sf
from pedalboard import HighpassFilter, LowpassFilter, PeakFilter, Pedalboard
from scipy.signal import oaconvolve

from dance.commands.arguments import natural, share
from labelgen.chunks import Chunk, ChunkWriter, chunks_of, digest, read_labels
from labelgen.work import add_work_options, run_command

Audio = npt.NDArray[np.float32]
ORDER = 12  # reflections, the first tenth of a second: what comes later, quieter, takes the square of the time
SMALLEST, LARGEST = (2.5, 2.2, 2.2), (9.0, 7.0, 3.5)  # metres
WALL = 0.3  # metres that speaker and microphone keep from the walls
AUTOMATIC = 0.6  # share of microphones with automatic gain
BLOCK = 0.002  # seconds for which a gain is computed


@dataclass(frozen=True)
class Hearing:
    """A chunk to be heard in a room, where it lies, and where the new one goes, under which name."""

    chunk: Chunk
    folder: Path
    name: str
    out: Path
    seed: int


def room_impulse_response(sample_rate: int, rng: np.random.Generator) -> tuple[Audio, dict[str, float]]:
    """Return the impulse response of a random room from its direct sound on, at most 1, and what was drawn.

    Parameters
    ----------
    sample_rate : int
    rng : numpy.random.Generator

    Returns
    -------
    samples : float32 [n]
    details : dict
        ``metres`` from speaker to microphone, and the room's reverberation time (Sabine's, before soft things) in
        ``seconds``.
    """
    size = rng.uniform(SMALLEST, LARGEST)
    seconds = float(rng.uniform(0.15, 0.7))
    while True:
        try:
            absorption, order = pra.inverse_sabine(seconds, size)
            break
        except ValueError:  # so short a reverberation would need walls that swallow more than everything
            seconds *= 1.2
    # soft things swallow highs first
    bands = [125, 250, 500, 1000, 2000, 4000, 8000]
    damping = np.clip(absorption * np.geomspace(1, rng.uniform(1, 2.5), len(bands)), 0.01, 0.99)
    walls = pra.Material({"coeffs": damping.tolist(), "center_freqs": bands})
    room = pra.ShoeBox(size, fs=sample_rate, materials=walls, max_order=min(order, ORDER), air_absorption=True)
    speaker = rng.uniform(WALL, size - WALL)
    wanted = rng.uniform(0.3, 4)
    places = rng.uniform(WALL, size - WALL, (32, 3))
    microphone = places[np.argmin(np.abs(np.linalg.norm(places - speaker, axis=1) - wanted))]
    room.add_source(speaker)
    room.add_microphone(microphone)
    room.compute_rir()
    distance = float(np.linalg.norm(microphone - speaker))
    heard = from_direct(np.asarray(room.rir[0][0]), distance, sample_rate)
    return heard / np.abs(heard).max(), {"seconds": round(seconds, 2), "metres": round(distance, 2)}


def from_direct(response: npt.NDArray[np.floating], metres: float, sample_rate: int) -> Audio:
    """Cut what a simulated response holds before the direct sound arrives, so that labels keep their times."""
    travelled = round(metres / pra.constants.get("c") * sample_rate)
    return response[travelled + pra.constants.get("frac_delay_length") // 2 :].astype(np.float32)


def chain(rng: np.random.Generator) -> Pedalboard:
    """Return the tone of a random speaker and microphone: no lows, little highs, a few resonances."""
    low = float(np.exp(rng.uniform(np.log(30), np.log(220))))
    steps: list[object] = [HighpassFilter(low) for _ in range(int(rng.integers(1, 4)))]
    steps += [PeakFilter(float(np.exp(rng.uniform(np.log(100), np.log(8000)))), float(rng.normal(0, 4)),
                         float(rng.uniform(0.5, 3))) for _ in range(3)]  # fmt: skip
    high = float(rng.uniform(7000, 18000))
    steps += [LowpassFilter(high) for _ in range(int(rng.integers(1, 3)))]
    return Pedalboard(steps)


def automatic_gain(heard: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
    """Return the gain of each sample by which a random microphone keeps what it hears at one level.

    Above a threshold 6 to 24 dB below the loud moments, the level is divided by 2 to 8: soon (1 to 20 ms), and for long
    (0.1 to 1.5 s), as voice processing does it to music.

    Parameters
    ----------
    heard : float32 [n]
    sample_rate : int
    rng : numpy.random.Generator

    Returns
    -------
    float32 [n]
        0..1
    """
    size = max(1, round(BLOCK * sample_rate))
    blocks = np.pad(heard, (0, -len(heard) % size)).reshape(-1, size)
    level = 20 * np.log10(np.abs(blocks).max(axis=1) + 1e-6)
    above = np.maximum(0, level - np.percentile(level, 95) + rng.uniform(6, 24))
    wanted = above * (1 - 1 / rng.uniform(2, 8))
    attack, release = (np.exp(-BLOCK / np.exp(rng.uniform(*np.log(span)))) for span in ((0.001, 0.02), (0.1, 1.5)))
    cut, now = np.empty(len(wanted)), 0.0
    for index, value in enumerate(wanted):
        keep = attack if value > now else release
        now = keep * now + (1 - keep) * value
        cut[index] = now
    at = np.arange(len(heard)) / size
    return np.asarray(10 ** (-np.interp(at, np.arange(len(cut)) + 1, cut) / 20), np.float32)


def hear(hearing: Hearing) -> list[Chunk]:
    """Play one chunk in a room."""
    chunk, rng = hearing.chunk, np.random.default_rng(hearing.seed)
    pra.constants.set("num_threads", 1)  # chunks are heard side by side, one process each
    tone, impulse, drawn = None, np.ones(1, np.float32), {}
    wet = {}
    rate = 0
    for part in ("", *chunk.stems):
        name = f"{chunk.name}.{part}" if part else chunk.name
        dry, rate = sf.read(hearing.folder / f"{name}.flac", dtype="float32")
        if tone is None:
            tone = chain(rng)
            impulse, drawn = room_impulse_response(rate, rng)
        wet[part] = np.asarray(tone(oaconvolve(dry, impulse)[: len(dry)].astype(np.float32), rate), np.float32)
    if rng.random() < AUTOMATIC:
        gain = automatic_gain(wet[""], rate, rng)
        wet = {part: heard * gain for part, heard in wet.items()}
    # one gain for all, so that stems still add up to what they added up to before
    peak = max(1e-6, *(float(np.abs(audio).max(initial=0)) for audio in wet.values()))
    audio = {part: heard / np.float32(1.05 * peak) for part, heard in wet.items()}
    labels = read_labels(hearing.folder / f"{chunk.name}.tsv")
    ChunkWriter(hearing.out, rate).write(hearing.name, audio, labels)
    method, details = f"{chunk.method}, room", {**chunk.details, **drawn}
    return [replace(chunk, name=hearing.name, unit=hearing.name, method=method, seed=hearing.seed, details=details)]


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python labelgen/rooms.py data/chunks/gmd data/chunks/drumless --share 0.5 "
        "--out data/chunks/rooms",
    )
    add = result.add_argument
    add("sets", nargs="+", type=Path, metavar="SET", help="sets of chunks, with stems or without")
    add("--out", type=Path, default=Path("data/chunks/rooms"), help="folder of the new set (default: %(default)s)")
    add("--share", type=share, default=1.0, help="share of the chunks to take (default: %(default)s)")
    add(
        "--seed",
        type=natural,
        default=0,
        help="decides which chunks are taken, and their rooms (default: %(default)s)",
    )
    add_work_options(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    jobs = {}
    try:
        for folder in args.sets:
            if folder.resolve() == args.out.resolve():
                raise ValueError(f"{folder} would be read and written; choose another --out")
            for chunk in sorted(chunks_of(folder), key=lambda chunk: chunk.name):
                name = f"{folder.resolve().name}-{chunk.name}"
                if name in jobs:
                    raise ValueError(f"two sets are called {folder.resolve().name}; rename one")
                rng = np.random.default_rng([args.seed, digest(name)])  # whatever else is in the set
                if rng.random() < args.share:
                    seed = int(rng.integers(2**31))
                    jobs[name] = Hearing(chunk, folder.absolute(), name, args.out.absolute(), seed)
    except (OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    return run_command(args, hear, list(jobs.items()), inputs=args.sets)


if __name__ == "__main__":
    sys.exit(main())
