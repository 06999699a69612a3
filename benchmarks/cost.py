"""What the engine costs on this machine: time of a hop, share of real time, memory, import.

Lets pytest-benchmark run `test_hops.py` over a recording, as a live stream comes, and shows the percentiles; then
measures the peak memory of ``dance transcribe`` and the time of ``import dance`` in processes of their own.
Absolute figures hold for this machine at this moment only; run it alone.

``--json`` keeps all times; two such files are compared by ``pytest-benchmark compare A B``.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import RATE, SONG, guard, mono, run
from dance.detector import RELEASED, Detector

STAGES = {
    "test_log_mel": "LogMel.process",
    "test_network": "Network.step",
    "test_network_by_onnx_runtime": "the same by ONNX Runtime",
    "test_votes": "Votes.process",
    "test_expectation": "Expectation.process",
    "test_evidence": "Evidence.process",
    "test_peak_picker": "PeakPicker.process",
    "test_detector": "Detector.process (all)",
    "test_detector_at_live_pace": "the same at live pace",
    "test_detector_at_live_pace_by_onnx_runtime": "and by ONNX Runtime",
}

# /proc's peak, not getrusage's: the latter is inherited from a larger parent
PEAK = (
    "import sys; from dance.cli import main; code = main(sys.argv[1:]);"
    "print([l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1]); sys.exit(code)"
)
IMPORT = "import time; t = time.perf_counter(); import dance; print(time.perf_counter() - t)"


def hop_times(model: Path, song: Path, out: Path) -> list[dict[str, Any]]:
    """Return what pytest-benchmark measured, one entry for each stage, rate and block; write all to `out`."""
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-enable", f"--benchmark-json={out}"]
    options = ["--song", str(song), "--model", str(model)]
    run(sys.executable, *pytest, *options, str(Path(__file__).with_name("test_hops.py")))
    benchmarks: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))["benchmarks"]
    return benchmarks


def table(benchmarks: Sequence[dict[str, Any]]) -> Table:
    """Return the percentiles as a table, slowest rate last."""
    result = Table("what", "rate", "block", "median us", "p99 us", "p99.9 us", "share of real time", box=None)
    for entry in sorted(benchmarks, key=lambda entry: entry["extra_info"]["rate"]):
        stage = STAGES[entry["name"].partition("[")[0]]
        rate, samples = entry["extra_info"]["rate"], entry["extra_info"]["samples"]
        times = np.array(entry["stats"]["data"])
        us = [f"{1e6 * np.percentile(times, q):.1f}" for q in (50, 99, 99.9)]
        result.add_row(stage, str(rate), str(samples), *us, f"{100 * times.mean() * rate / samples:.2f} %")
    return result


def peak_memory(model: Path, song: Path) -> float:
    """Return the peak resident memory of ``dance transcribe`` in MB."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["transcribe", str(song), "--out", folder, "--model", str(model)]
        return int(run(sys.executable, "-c", PEAK, *arguments).stdout.split()[-1]) / 1024


def import_seconds() -> float:
    """Return the best of five times of ``import dance``."""
    return min(float(run(sys.executable, "-c", IMPORT).stdout) for _ in range(5))


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/cost.py",
    )
    add = result.add_argument
    add("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    add("--song", type=Path, default=SONG, help="recording to run over (default: the demo song)")
    add("--json", type=Path, help="where to keep all times")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    song, model = args.song.resolve(), args.model.resolve()
    mono(song, RATE, least=1.0)
    Detector.load(model, sample_rate=RATE)
    console = Console(width=110)
    print("cost: timing every stage, which takes some minutes", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        out = args.json.resolve() if args.json else Path(folder) / "hops.json"
        console.print(table(hop_times(model, song, out)))
    console.print(f"peak memory of `dance transcribe`: {peak_memory(model, song):.0f} MB")
    console.print(f"import dance: {1000 * import_seconds():.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
