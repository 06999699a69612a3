"""New chunks from old ones: the same music played by a speaker in a room, as a microphone there hears it.

Drums and backing of a chunk go through one speaker, one simulated room (image sources; Allen & Berkley, "Image
method for efficiently simulating small-room acoustics", 1979) and one microphone, drawn anew for each chunk. All of
it is linear, so that the stems add up to what the microphone hears, and can still be mixed at any balance. The
direct sound keeps its time, and so do the labels.
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

from labelgen.chunks import Chunk, ChunkWriter, Manifest, read_labels
from labelgen.work import add_work_options, run_command

Audio = npt.NDArray[np.float32]
ORDER = 12  # reflections; what comes later is too quiet to matter in rooms of this size
SMALLEST, LARGEST = (2.5, 2.2, 2.2), (9.0, 7.0, 3.5)  # metres
WALL = 0.3  # metres that speaker and microphone keep from the walls


@dataclass(frozen=True)
class Hearing:
    """A chunk to be heard in a room, where it lies, and where the new one goes."""

    chunk: Chunk
    folder: Path
    out: Path
    seed: int


def response(sample_rate: int, rng: np.random.Generator) -> tuple[Audio, dict[str, float]]:
    """Return the impulse response of a random room from its direct sound on, at most 1, and what was drawn.

    Parameters
    ----------
    sample_rate : int
    rng : numpy.random.Generator

    Returns
    -------
    samples : float32 [n]
    details : dict
        ``reverberation`` in seconds and ``metres`` from speaker to microphone.
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
    full = np.asarray(room.rir[0][0], np.float64)
    direct = int(np.argmax(np.abs(full)))
    heard = full[direct:] / np.abs(full).max()
    distance = float(np.linalg.norm(microphone - speaker))
    return heard.astype(np.float32), {"reverberation": round(seconds, 2), "metres": round(distance, 2)}


def chain(rng: np.random.Generator) -> Pedalboard:
    """Return the tone of a random speaker and microphone: no lows, little highs, a few resonances."""
    low = float(np.exp(rng.uniform(np.log(30), np.log(220))))
    steps: list[object] = [HighpassFilter(low) for _ in range(int(rng.integers(1, 4)))]
    steps += [PeakFilter(float(np.exp(rng.uniform(np.log(100), np.log(8000)))), float(rng.normal(0, 4)),
                         float(rng.uniform(0.5, 3))) for _ in range(3)]  # fmt: skip
    high = float(rng.uniform(7000, 18000))
    steps += [LowpassFilter(high) for _ in range(int(rng.integers(1, 3)))]
    return Pedalboard(steps)


def hear(hearing: Hearing) -> list[Chunk]:
    """Play one chunk in a room."""
    chunk, rng = hearing.chunk, np.random.default_rng(hearing.seed)
    parts = {}
    rate = 0
    for part in chunk.stems or ("",):
        name = f"{chunk.name}.{part}" if part else chunk.name
        parts[part], rate = sf.read(hearing.folder / f"{name}.flac", dtype="float32")
    tone = chain(rng)
    impulse, drawn = response(rate, rng)
    wet = {part: np.asarray(tone(oaconvolve(dry, impulse)[: len(dry)].astype(np.float32), rate), np.float32)
           for part, dry in parts.items()}  # fmt: skip
    peak = max(1e-6, *(float(np.abs(audio).max(initial=0)) for audio in wet.values()))
    audio = {part: heard / np.float32(1.05 * peak) for part, heard in wet.items()}
    if chunk.stems:
        audio[""] = np.sum(list(audio.values()), axis=0) / np.float32(len(audio))
    labels = read_labels(hearing.folder / f"{chunk.name}.tsv")
    ChunkWriter(hearing.out, rate).write(chunk.name, audio, labels)
    method, details = f"{chunk.method}, room", {**chunk.details, **drawn}
    return [replace(chunk, unit=chunk.name, method=method, seed=hearing.seed, details=details)]


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
    add("--share", type=float, default=1.0, help="share of the chunks that are taken (default: %(default)s)")
    add("--seed", type=int, default=0, help="decides which chunks, and their rooms (default: %(default)s)")
    add_work_options(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    rng = np.random.default_rng(args.seed)
    jobs = []
    for folder in args.sets:
        chunks = sorted(Manifest(folder).chunks(), key=lambda chunk: chunk.name)
        if not chunks:
            print(f"labelgen: {folder}: no chunks here; make some with labelgen", file=sys.stderr)
            return 2
        for chunk in chunks:
            seed = int(rng.integers(2**31))
            if rng.random() < args.share:
                jobs.append((chunk.name, Hearing(chunk, folder.absolute(), args.out.absolute(), seed)))
    return run_command(args, hear, jobs)


if __name__ == "__main__":
    sys.exit(main())
