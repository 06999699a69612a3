"""What a hop should cost on a Raspberry Pi, without one: counted ARM instructions, over published speeds.

The wheel for ARM runs under emulation, hop by hop over three seconds of drums made in code, and a plug-in of the
emulator counts what it executes: features, network and all, once for the core of each board. Counts are exact for
these versions of the libraries and the same on every machine; times follow from them by two published figures of
each board:

- 7-zip's single-threaded rating, which is meant as millions of instructions a second: the lower end;
- how fast the board copies memory, as if it had to fetch all weights from there for every hop: added for the
  upper end (the second-level cache of a Zero 2 W holds a third of them, that of a Pi 4 most).

Estimates, until somebody measures: `dance doctor` on a board does. Published figures: sbc-bench's collection
(github.com/ThomasKaiser/sbc-bench, results of Raspberry Pi 5 B, 4 B with a 64-bit system, and Zero 2 at 1000 MHz).

Needs the cache of ``.ci/cross-aarch64 prepare``, a wheel by ``.ci/cross-aarch64 build``, and gcc.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.common import RATE, ROOT, CannotMeasureError, guard, run
from dance.detector import RELEASED
from dance.network import Network

CROSS = ROOT / ".ci" / "cross-aarch64"
HOP_SECONDS = 0.01
STAGES = ("features", "network", "all")
NEEDED = "gcc and qemu-user, by apt-get install gcc qemu-user"


class Board(NamedTuple):
    """A board: what qemu calls its core, clock in MHz, 7-zip's MIPS with one thread, MB/s of memcpy."""

    name: str
    core: str
    clock: int
    mips: int
    copy: int


BOARDS = (
    Board("Raspberry Pi 5", "cortex-a76", 2400, 2967, 4448),
    Board("Raspberry Pi 4 B", "cortex-a72", 1800, 1769, 2330),
    Board("Raspberry Pi Zero 2 W", "cortex-a53", 1000, 838, 1300),
)

# Tells the count at every getppid, a system call that nothing else makes. The declarations are those of
# qemu-plugin.h, which Debian does not package.
PLUGIN = """
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id, void (*)(plugin_id, unsigned, int64_t,
                    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

__attribute__((visibility("default"))) int qemu_plugin_version = VERSION;

enum { GETPPID = 173 };
static uint64_t count;

static void executed(unsigned core, void *instructions) { count += (uintptr_t)instructions; }

static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, 0, (void *)qemu_plugin_tb_n_insns(block));
}

static void called(plugin_id id, unsigned core, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    if (number == GETPPID)
        fprintf(stderr, "counted %" PRIu64 "\\n", count);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
"""

# Runs under emulation.
DRIVER = """
import os
import sys
import numpy as np
from dance import Detector
from dance.commands.doctor import drums
from dance.features import LogMel, log_mel
from dance.network import Network

model, rate, hop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
samples = drums(rate)[0][: 3 * rate]
blocks = [samples[start : start + hop] for start in range(0, len(samples) - hop + 1, hop)]
network = Network(model)
mel = LogMel(network.spec.features, rate)
frames = log_mel(samples, network.spec.features, rate)
out = np.empty((2, mel.bands), np.float32)
detector = Detector.load(model, sample_rate=rate)
print(len(blocks), len(frames))
os.getppid()
for block in blocks:
    mel.process(block, out)
os.getppid()
for frame in frames:
    network.step(frame)
os.getppid()
for block in blocks:
    detector.process(block)
os.getppid()
"""


def count(core: str, model: Path = RELEASED) -> dict[str, float]:
    """Return the instructions of a hop for each of `STAGES` on a core, by qemu's name."""
    with tempfile.TemporaryDirectory(prefix="dance-") as name:
        plugin = Path(name) / "count.so"
        found = re.search(r"version (\d+)", run("qemu-aarch64", "--version", needed=NEEDED).stdout)
        interface = 1 if found and int(found[1]) < 9 else 2
        (Path(name) / "count.c").write_text(PLUGIN, encoding="utf-8")
        options = ("-O2", "-shared", "-fPIC", f"-DVERSION={interface}")
        run("gcc", *options, f"{name}/count.c", "-o", str(plugin), needed=NEEDED)
        done = run(
            str(CROSS), "run", "-c", DRIVER, str(model.resolve()), str(RATE), str(round(HOP_SECONDS * RATE)),
            QEMU_CPU=core, QEMU_PLUGIN=f"file={plugin}", PYTHONHASHSEED="0",
        )  # fmt: skip
    hops, frames = (int(number) for number in done.stdout.split())
    marks = [int(number) for number in re.findall(r"^counted (\d+)$", done.stderr, re.MULTILINE)]
    if len(marks) != len(STAGES) + 1:
        raise CannotMeasureError("the emulator's plug-in does not tell counts; is qemu-user older than 7?")
    amounts = (hops, frames, hops)
    return {
        stage: (after - before) / amount
        for stage, before, after, amount in zip(STAGES, marks[:-1], marks[1:], amounts, strict=True)
    }


def seconds(board: Board, instructions: float, weights: int) -> tuple[float, float]:
    """Return the estimated seconds of a hop: with all `weights` (bytes) in a cache, and with none."""
    computing = instructions / (1e6 * board.mips)
    return computing, computing + weights / (1e6 * board.copy)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  .ci/cross-aarch64 prepare && .ci/cross-aarch64 build && python benchmarks/pi_estimate.py",
    )
    result.add_argument("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    table = Table("estimate", "core", *STAGES, "a hop of 10 ms takes", "share of a core", box=None)
    weights = args.model.stat().st_size
    if Network(args.model).compiled:
        weights //= 2  # the compiled step keeps them in 16 bits
    for board in BOARDS:
        counts = count(board.core, args.model)
        least, most = seconds(board, counts["all"], weights)
        table.add_row(
            board.name,
            f"{board.core}, {board.clock} MHz",
            *(f"{counts[stage] / 1000:,.0f} k" for stage in STAGES),
            f"{1000 * least:.1f} to {1000 * most:.1f} ms",
            f"{100 * least / HOP_SECONDS:.0f} to {100 * most / HOP_SECONDS:.0f} %",
        )
    console = Console(width=120)
    console.print(table)
    console.print(
        f"instructions are of a hop, which reads {weights / 1e6:.1f} MB of weights; nothing was measured on a board"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
