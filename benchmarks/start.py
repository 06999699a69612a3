"""How the engine starts and how it rests: import, first sample heard, memory, threads.

Each figure comes from a process of its own, the best of several where it is a time. ``dance play`` of an excerpt in
real time stands for ``dance listen`` where there is no device (``--listen`` takes the real one): both run the same
engine at the pace of the music. Memory is also that of ``dance listen`` with its meter on a terminal, through a virtual
microphone where PulseAudio is there: it has more to load than a file needs. Of resident memory, the part named *own*
is the process's alone; the rest are pages of libraries' files, which other programs share and the system can drop.
Run it alone.
"""

import argparse
import json
import os
import pty
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

import numpy as np
import soundfile as sf
from rich.console import Console
from rich.table import Table

from benchmarks.common import RATE, SONG, guard, mono
from dance.commands.arguments import positive
from dance.errors import SourceError
from dance.virtual import VirtualMicrophone

SOUND = ("HOME", "XDG_RUNTIME_DIR", "PULSE_")
"""How the environment variables begin through which a program finds a sound server."""
LISTEN = ("listen", "--no-reconnect")

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
        os.write(int(os.environ["TELL"]), f"{time.monotonic()} {time.process_time()}".encode())
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
    resident, own, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon", "VmHWM"))
    return {"time": time.monotonic(), "cpu": time.process_time(), "wakes": wakes, "resident": resident, "own": own,
            "peak": peak, "threads": int(fields["Threads"])}

def watch():
    time.sleep(2)
    first = cost()
    time.sleep(float(os.environ["WATCH"]))
    os.write(int(os.environ["TELL"]), json.dumps([first, cost()]).encode())
    os._exit(0)

threading.Thread(target=watch, daemon=True).start()
main(sys.argv[1:])
"""


def told(program: str, *arguments: str, terminal: bool = False, **environment: str) -> str:
    """Run a program in Python, on a terminal or showing nothing, and return what it writes to the descriptor ``TELL``.

    Raises
    ------
    SourceError
        If the program ends in an error.
    """
    with tempfile.TemporaryFile() as file, ExitStack() as stack:
        shown = stack.enter_context(_terminal()) if terminal else subprocess.DEVNULL
        sound = {name: value for name, value in os.environ.items() if name.startswith(SOUND)}
        given = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "TELL": str(file.fileno()), **sound, **environment}
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            pass_fds=[file.fileno()],
            stdout=shown,
            stderr=subprocess.PIPE,
            env=given,
        )
        if done.returncode:
            last = done.stderr.decode().strip().splitlines() or ["no message"]
            raise SourceError(f"dance {' '.join(arguments)}: {last[-1]}")
        file.seek(0)
        return file.read().decode()


@contextmanager
def _terminal() -> Iterator[int]:
    """Give the descriptor of a terminal on which nobody looks."""
    ours, theirs = pty.openpty()

    def look() -> None:
        with suppress(OSError):  # its other end is closed
            while os.read(ours, 65536):
                pass

    reader = threading.Thread(target=look, daemon=True)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)


def with_meter(seconds: float, song: str, listen: Sequence[str] | None) -> dict[str, float]:
    """Return what `COST` says at the end of ``dance listen`` with its meter.

    Parameters
    ----------
    seconds : float
    song : str
        A WAV file, for the virtual microphone.
    listen : sequence of str or None
        The command, if another microphone shall be heard.

    Raises
    ------
    SourceError
        If there is no such device, or no PulseAudio for a virtual one.
    """
    with ExitStack() as stack:
        if listen is None:
            listen = [*LISTEN, "--device", stack.enter_context(VirtualMicrophone(RATE)).name]
            player = subprocess.Popen(["paplay", song], stderr=subprocess.DEVNULL)
            stack.callback(player.wait)
            stack.callback(player.terminate)
        last: dict[str, float] = json.loads(told(COST, *listen, terminal=True, WATCH=str(seconds)))[1]
        return last


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
    path = folder / f"{name}.wav"
    sf.write(path, gain * np.resize(mono(SONG, RATE), round(seconds * RATE)), RATE)
    return str(path)


def memory(cost: dict[str, float]) -> str:
    """Return the memory in what `COST` says, for the table."""
    return f"{cost['resident']:.1f} MB resident, of these {cost['own']:.1f} own; peak {cost['peak']:.1f}"


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/start.py",
    )
    add = result.add_argument
    add("--runs", type=positive(int), default=7, help="of each time, the best counts (default: %(default)s)")
    add("--seconds", type=positive(float), default=10.0, help="for cost and wakes (default: %(default)g)")
    add("--listen", action="store_true", help="use a microphone for first sample, memory and threads")
    add("--device", help="which one, with --listen: part of a name (default: the default input)")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    if args.device is not None and not args.listen:
        raise ValueError("--device needs --listen")
    table = Table("what", "measured", "limit", box=None)
    for module in ("numpy", "dance", "dance.commands.listen"):
        wall, cpu = import_times(module, args.runs)
        limit = "150 ms" if module == "dance" else ""
        table.add_row(f"import {module}", f"{1000 * wall:.0f} ms (processor: {1000 * cpu:.0f} ms)", limit)
    with tempfile.TemporaryDirectory() as folder:
        length = args.seconds + 10
        files = {"music": 1.0, "silence": 0.0, "music again": 1.0}
        songs = {name: excerpt(Path(folder), name, gain, length) for name, gain in files.items()}
        listen = [*LISTEN, *(["--device", args.device] if args.device is not None else [])]
        commands = {name: listen if args.listen else ["play", song] for name, song in songs.items()}
        wall, cpu = first_sample([*commands["music"], "--plain"], args.runs)
        table.add_row("first sample heard after", f"{1000 * wall:.0f} ms (processor: {1000 * cpu:.0f} ms)", "500 ms")
        for name in ["whatever sounds"] if args.listen else commands:
            command = [*commands.get(name, listen), "--plain"]
            first, last = json.loads(told(COST, *command, WATCH=str(args.seconds)))
            passed, cpu, wakes = (last[key] - first[key] for key in ("time", "cpu", "wakes"))
            if name != "silence":
                table.add_row(f"{name}: memory", memory(last), "90 MB resident")
            table.add_row(f"{name}: processor", f"{100 * cpu / passed:.2f} % of real time", "silence <= music")
            table.add_row(f"{name}: wakes", f"{wakes / passed:.0f} a second in {last['threads']} threads", "")
        try:
            last = with_meter(args.seconds, songs["music"], listen if args.listen else None)
            table.add_row("dance listen with its meter: memory", memory(last), "90 MB resident")
        except SourceError as error:
            print(f"start: dance listen with its meter was not measured: {error}", file=sys.stderr)
    Console(width=110).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
