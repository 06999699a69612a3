"""How the engine starts and how it rests: import, first sample heard, memory, threads.

Each figure comes from a process of its own, the best of several where it is a time. ``dance play`` of an excerpt in
real time stands for ``dance listen`` where there is no device (``--listen`` takes the real one): both run the same
engine at the pace of the music. Run it alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import numpy as np
import soundfile as sf
from rich.console import Console
from rich.table import Table

SONG = Path(__file__).resolve().parents[1] / "data" / "demo" / "song.ogg"

IMPORT = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import {module}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""

# The moment at which the detector has been given the first samples; the clock is the machine's.
FIRST = """
import os, sys, time
from dance.detector import Detector
process = Detector.process
def heard(self, samples):
    events = process(self, samples)
    if len(samples):
        os.write(3, f"{time.monotonic()} {time.process_time()}".encode())
        os._exit(0)
    return events
Detector.process = heard
from dance.cli import main
sys.exit(main(sys.argv[1:]))
"""

# What the process and its threads have cost at the end, beside what they had cost two seconds after the start.
COST = """
import json, os, sys, threading, time
from pathlib import Path
from dance.cli import main

def cost():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    wakes = 0
    for task in Path("/proc/self/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        wakes += sum(int(line.split()[1]) for line in lines if "ctxt" in line)
    resident, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return {"time": time.monotonic(), "cpu": time.process_time(), "wakes": wakes, "resident": resident, "peak": peak,
            "threads": int(fields["Threads"])}

def watch():
    time.sleep(2)
    first = cost()
    time.sleep(float(os.environ["WATCH"]))
    os.write(3, json.dumps([first, cost()]).encode())
    os._exit(0)

threading.Thread(target=watch, daemon=True).start()
main(sys.argv[1:])
"""


def told(program: str, *arguments: str, **environment: str) -> str:
    """Run a program in Python and return what it writes to descriptor 3."""
    command = [sys.executable, "-c", program, *arguments]
    with tempfile.TemporaryFile() as file:
        # A shell hands the descriptor on under the number that the programs expect.
        subprocess.run(
            ["sh", "-c", f'exec "$@" 3>&{file.fileno()}', "sh", *command],
            pass_fds=[file.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", **environment},
            check=True,
        )
        file.seek(0)
        return file.read().decode()


def import_times(module: str, runs: int) -> tuple[float, float]:
    """Return the least seconds, by the clock and of the processor, that importing a module takes."""
    program = IMPORT.format(module=module)
    done = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in range(runs)
    ]
    wall, cpu = zip(*(map(float, one.stdout.split()) for one in done), strict=True)
    return min(wall), min(cpu)


def first_sample(arguments: Sequence[str], runs: int) -> tuple[float, float]:
    """Return the least seconds from starting the command to the first samples in the detector, and the processor's."""
    times = []
    for _ in range(runs):
        began = monotonic()
        wall, cpu = map(float, told(FIRST, *arguments).split())
        times.append((wall - began, cpu))
    return min(wall for wall, _ in times), min(cpu for _, cpu in times)


def excerpt(folder: Path, name: str, gain: float, seconds: float) -> str:
    """Write the beginning of the demo song and return the file's name."""
    samples, rate = sf.read(SONG, dtype="float32", always_2d=True)
    path = folder / f"{name}.wav"
    sf.write(path, gain * np.resize(samples.mean(axis=1), round(seconds * rate)), rate)
    return str(path)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/start.py",
    )
    add = result.add_argument
    add("--runs", type=int, default=7, help="of each time, the best counts (default: %(default)s)")
    add("--seconds", type=float, default=10.0, help="for cost and wakes (default: %(default)g)")
    add("--listen", action="store_true", help="use the default microphone for first sample, memory and threads")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    table = Table("what", "measured", "limit", box=None)
    for module in ("numpy", "dance", "dance.commands.listen"):
        wall, cpu = import_times(module, args.runs)
        limit = "150 ms" if module == "dance" else ""
        table.add_row(f"import {module}", f"{1000 * wall:.0f} ms (processor: {1000 * cpu:.0f} ms)", limit)
    with tempfile.TemporaryDirectory() as folder:
        length = args.seconds + 10
        files = {"music": 1.0, "silence": 0.0, "music again": 1.0}
        commands = {
            name: ["listen"] if args.listen else ["play", excerpt(Path(folder), name, gain, length)]
            for name, gain in files.items()
        }
        wall, cpu = first_sample([*commands["music"], "--plain"], args.runs)
        table.add_row("first sample heard after", f"{1000 * wall:.0f} ms (processor: {1000 * cpu:.0f} ms)", "500 ms")
        for name in ["whatever sounds"] if args.listen else commands:
            command = [*commands.get(name, ["listen"]), "--plain"]
            first, last = json.loads(told(COST, *command, WATCH=str(args.seconds)))
            passed, cpu, wakes = (last[key] - first[key] for key in ("time", "cpu", "wakes"))
            if name != "silence":
                table.add_row("resident / peak memory", f"{last['resident']:.0f} / {last['peak']:.0f} MB", "90 MB")
            table.add_row(f"{name}: processor", f"{100 * cpu / passed:.2f} % of real time", "silence <= music")
            table.add_row(f"{name}: wakes", f"{wakes / passed:.0f} a second in {last['threads']} threads", "")
    Console(width=110).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
