"""What the engine costs on this machine: time of a hop, share of real time, memory, start.

Runs the detector over a recording, hop by hop as a live stream comes, and times each call; then measures
the peak memory of ``dance transcribe`` and the time of ``import dance`` in processes of their own.
Absolute figures hold for this machine at this moment only; run it alone.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from rich.console import Console
from rich.table import Table

from dance import Detector
from dance.features import LogMel

SONG = Path(__file__).resolve().parents[1] / "data" / "demo" / "song.ogg"

# /proc's peak, not getrusage's: the latter is inherited from a larger parent
PEAK = (
    "import sys; from dance.cli import main; code = main(sys.argv[1:]);"
    "print([l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1]); sys.exit(code)"
)
IMPORT = "import time; t = time.perf_counter(); import dance; print(time.perf_counter() - t)"


def hop_times(detector: Detector, samples: np.ndarray, block: int) -> np.ndarray:
    """Return the seconds that each call of `Detector.process` took, blocks of `block` samples."""
    blocks = [samples[i : i + block] for i in range(0, len(samples) - block, block)]
    for warm in blocks[:50]:
        detector.process(warm)
    times = np.empty(len(blocks))
    for number, part in enumerate(blocks):
        start = time.perf_counter()
        detector.process(part)
        times[number] = time.perf_counter() - start
    return times


def feature_times(detector: Detector, samples: np.ndarray) -> np.ndarray:
    """Return the seconds of one log-mel frame, hop by hop."""
    mel = LogMel(detector.spec.features, detector.sample_rate)
    hop = round(detector.spec.features.hop_seconds * detector.sample_rate)
    out = np.empty((2, detector.spec.features.bands), np.float32)
    times = []
    for i in range(0, len(samples) - hop, hop):
        start = time.perf_counter()
        mel.process(samples[i : i + hop], out)
        times.append(time.perf_counter() - start)
    return np.array(times)


def peak_memory(model: Path | None, song: Path) -> float:
    """Return the peak resident memory of ``dance transcribe`` in MB."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["transcribe", str(song), "--out", folder, *(["--model", str(model)] if model else [])]
        done = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024


def import_seconds() -> float:
    """Return the best of five times of ``import dance``."""
    runs = (
        subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True) for _ in range(5)
    )
    return min(float(run.stdout) for run in runs)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/cost.py",
    )
    add = result.add_argument
    add("--model", type=Path, help="ONNX file (default: the released model)")
    add("--song", type=Path, default=SONG, help="recording to run over (default: the demo song)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        samples, rate = sf.read(args.song, dtype="float32", always_2d=True)
    except (OSError, sf.LibsndfileError) as error:
        print(f"cost: {error}", file=sys.stderr)
        return 2
    table = Table("what", "rate", "block", "median us", "p99 us", "p99.9 us", "share of real time", box=None)
    for wanted in (44100, 48000):
        mono = np.ascontiguousarray(soxr.resample(samples.mean(axis=1), rate, wanted), np.float32)
        detector = Detector.load(args.model, sample_rate=wanted)
        hop = round(detector.spec.features.hop_seconds * wanted)
        rows = [("log-mel frame", hop, feature_times(detector, mono))]
        for block in (hop, 64, 256, 1024):
            detector.reset()
            rows.append(("Detector.process", block, hop_times(detector, mono, block)))
        for what, block, times in rows:
            us = [f"{1e6 * np.percentile(times, q):.1f}" for q in (50, 99, 99.9)]
            share = times.mean() * wanted / block
            table.add_row(what, str(wanted), str(block), *us, f"{100 * share:.2f} %")
    console = Console(width=110)
    console.print(table)
    console.print(f"peak memory of `dance transcribe`: {peak_memory(args.model, args.song):.0f} MB")
    console.print(f"import dance: {1000 * import_seconds():.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
