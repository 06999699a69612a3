"""How much a room and a USB microphone cost: labelled recordings, played by a small speaker and heard across a room.

Each recording goes through a small speaker (nothing below 120 Hz, soft clipping), a simulated room of 20 square metres
(image sources, pyroomacoustics), people talking and noise at a signal-to-noise ratio, and a microphone with
automatic gain. The detector's figures on the result stand beside those on the clean files. Everything is drawn from
a fixed seed: the test is the same each time.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyroomacoustics as pra
import soundfile as sf
from pedalboard import Clipping, Compressor, Gain, HighpassFilter, LowpassFilter, Pedalboard
from rich.console import Console
from rich.table import Table
from scipy.signal import oaconvolve
from tqdm import tqdm

from benchmarks.common import RATE, guard, mono, recordings
from dance.commands.arguments import natural
from dance.commands.common import make_folder
from dance.detector import RELEASED, Detector
from training.evaluate import Track, find, read_truth, score

F32 = npt.NDArray[np.float32]
ROOM, SPEAKER, TALKER = (5.0, 4.0, 2.6), (0.6, 1.0, 0.9), (4.2, 1.2, 1.5)  # metres
REVERBERATION = 0.4  # seconds


@dataclass(frozen=True)
class Condition:
    """What the microphone gets: signal-to-noise ratio in dB, level of the loudest sample in dB full scale, metres."""

    name: str
    snr: float
    level: float = -6.0
    distance: float = 1.0


CONDITIONS = (
    Condition("20 dB", 20),
    Condition("15 dB", 15),
    Condition("10 dB", 10),
    Condition("15 dB, very quiet", 15, -45),
    Condition("15 dB, clipping", 15, 10),
    Condition("15 dB, 3 metres", 15, distance=3.0),
)


def through_room(source: F32, noise: F32, snr: float, distance: float) -> F32:
    """Play `source` from the speaker and `noise` from the talker; return what arrives, the direct sound in time."""
    absorption, order = pra.inverse_sabine(REVERBERATION, ROOM)
    room = pra.ShoeBox(ROOM, fs=RATE, materials=pra.Material(absorption), max_order=min(order, 12))
    room.add_source(SPEAKER)
    room.add_source(TALKER)
    room.add_microphone((SPEAKER[0] + 0.8 * distance, SPEAKER[1] + 0.6 * distance, SPEAKER[2]))
    room.compute_rir()
    speaker, talker = (np.asarray(rir, np.float64) for rir in room.rir[0])
    direct = int(np.argmax(np.abs(speaker)))  # in this room the direct sound is the loudest

    def heard(dry: F32, response: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return oaconvolve(dry, response)[direct : direct + len(dry)]

    signal, disturbance = heard(source, speaker), heard(noise, talker)
    gain = 10 ** (-snr / 20) * np.sqrt(np.mean(signal**2) / max(1e-12, float(np.mean(disturbance**2))))
    return (signal + gain * disturbance).astype(np.float32)


def spoil(samples: F32, talk: F32, condition: Condition, rng: np.random.Generator) -> F32:
    """Return a recording as a maker's microphone hears it, beside `talk`; where that is silent, noise is alone."""
    small = Pedalboard([HighpassFilter(120), HighpassFilter(120), LowpassFilter(14000), Gain(3), Clipping(-1)])
    start = int(rng.integers(max(1, len(talk))))
    babble = np.resize(np.roll(talk, -start), len(samples))
    hiss = np.cumsum(rng.normal(0, 1, len(samples)))  # brown: a room's rumble and fans
    hiss = np.asarray(Pedalboard([HighpassFilter(40)])(hiss.astype(np.float32), RATE))
    noise = babble / max(1e-9, babble.std()) + 0.3 * hiss / max(1e-9, hiss.std())
    mixed = through_room(np.asarray(small(samples, RATE)), noise.astype(np.float32), condition.snr, condition.distance)
    mixed /= max(1e-9, float(np.abs(mixed).max()))
    automatic = Pedalboard([HighpassFilter(70), Compressor(-24, 4, 5, 600)])
    gained = np.asarray(automatic(mixed, RATE))
    gained *= np.float32(10 ** (condition.level / 20) / max(1e-9, float(np.abs(gained).max())))
    return (np.round(np.clip(gained, -1, 1) * 32767) / 32767).astype(np.float32)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/room.py --audio mdb/audio --labels mdb/labels --talk speech/",
    )
    add = result.add_argument
    add("--audio", type=Path, required=True, help="folder of recordings")
    add("--labels", type=Path, help="folder of label files (default: that of the recordings)")
    add("--talk", type=Path, help="folder of speech to disturb with (default: noise alone)")
    add("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    add("--out", type=Path, help="keep the spoilt recordings here, a folder for each condition")
    add("--seed", type=natural, default=0, help="decides every random choice (default: %(default)s)")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    pairs = find(args.audio, args.labels or args.audio)
    files = recordings(args.talk) if args.talk else []
    talk = np.concatenate([mono(path, RATE) for path in files]) if files else np.zeros(1, np.float32)
    detector = Detector.load(args.model, sample_rate=RATE)
    if args.out:
        make_folder(args.out)
    table = Table("condition", *detector.labels, "F ±50 ms", "loss", box=None, header_style="bold")
    clean = 0.0
    for condition in (None, *CONDITIONS):
        rng = np.random.default_rng(args.seed)
        tracks = []
        for path, truth in tqdm(pairs, desc=condition.name if condition else "clean", leave=False):
            samples = mono(path, RATE)
            if condition:
                samples = spoil(samples, talk, condition, rng)
                if args.out:
                    folder = args.out / condition.name.replace(" ", "-").replace(",", "")
                    folder.mkdir(parents=True, exist_ok=True)
                    # under its own name, by which its labels are found; what may be lossy becomes FLAC
                    lossless = path.suffix.lower() in (".flac", ".wav")
                    sf.write(folder / (path.name if lossless else f"{path.name}.flac"), samples, RATE)
            detector.reset()
            events = detector.process(samples) + detector.flush()
            tracks.append(Track(path.stem, len(samples) / RATE, read_truth(truth), events))
        rows = score(tracks, detector.labels)["labels"]
        f = rows["all"]["50ms"]["F"]
        clean = f if condition is None else clean
        each = [f"{rows[label]['50ms']['F']:.3f}" for label in detector.labels]
        table.add_row(condition.name if condition else "clean", *each, f"{f:.3f}", f"{clean - f:+.3f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
