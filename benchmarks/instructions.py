"""How many instructions the compiled core needs for a hop, counted by callgrind and held against a baseline.

Time depends on the machine and on what else it does; this count does not. The kernels in ``ext`` are
compiled once more, with flags that never change, and run under valgrind over ten seconds of a fixed signal, at 44.1 and
at 48 kHz. Counted is what the kernels themselves execute: no Python, no checks of arguments, nothing of the C library.

Compilers differ, so the baseline ``benchmarks/instructions.json`` has an entry for each; ``--renew`` writes the one
of this machine. The exit code is 1 when the kernels of a class together cost more than the baseline by over the
tolerance, and 2 when there is nothing to count with or nothing to compare with.
"""

import argparse
import json
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import ROOT, CannotMeasureError, guard, run
from dance.features import mel_filters, window
from dance.spec import FeatureSpec

SOURCES = tuple(ROOT / "ext" / f"{name}.pyx" for name in ("_context", "_dsp", "_tcn"))
BASELINE = Path(__file__).with_suffix(".json")
TOLERANCE = 0.03

# As setup.py compiles, but without the flags that the builder's Python adds, and for processors of one kind.
DIRECTIVES = ("boundscheck=False", "wraparound=False", "initializedcheck=False", "cdivision=True")
FLAGS = ("-shared", "-fPIC", "-O3", "-fno-math-errno", "-ffp-contract=off", "-DONE_CLONE")
ARCHITECTURE = {"x86_64": "-march=x86-64-v2", "aarch64": "-march=armv8-a"}

RATES = (44100, 48000)
HOPS = 1000
SELDOM = 10  # the network works only on every tenth frame: valgrind is slow, and its steps are alike
LABELS, TIMBRE = 5, 48
CHANNELS, DILATIONS = 128, (1, 2, 4, 8, 1, 2, 4, 8, 16, 32, 2, 64, 1)  # as the released model has them

# Runs under valgrind, so it loads no more than it must.
DRIVER = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import _context
import _dsp
import _tcn
given = np.load(sys.argv[1] + "/given.npz")
out = np.empty((2, int(given["bands"])), np.float32)
hits = np.empty((1, int(given["labels"])), np.uint8)
for rate in given["rates"]:
    samples, hop = given[f"samples{rate}"], int(given[f"hop{rate}"])
    mel = _dsp.LogMel(hop / rate, rate, given[f"window{rate}"], given[f"filters{rate}"], float(given["floor"]))
    frontend = {"silence_db": -100, "scale_db": 30, "fade": 0.002, "full_scale": 3.3, "decay": 0.995, "depth": 1.7}
    bands = {name: given["bands_" + name] for name in ("usual", "middle", "lows")}
    lift = {"loud": 1, "least": 0.8, "decay": 0.9998, "trust": 0.05, "share": 2, "free": 0.1, "most": 0.7, **bands}
    names = ("weights", "scales", "biases", "skipped", "heads", "heads_scales", "bias")
    weights = [given["net_" + name] for name in names]
    tcn = _tcn.TCN(frontend, lift, given["dilations"].tolist(), *weights, mel.bands, hits.size)
    onset, velocity, timbre = (np.empty(n, np.float32) for n in (tcn.labels, tcn.labels, tcn.size))
    for number, start in enumerate(range(0, len(samples), hop)):
        mel.process(samples[start : start + hop], out)
        if number % int(given["seldom"]) == 0:
            tcn.step(out[0], onset, velocity, timbre)
    votes = _context.Votes(hits.size, given["timbres"].shape[2], 0.6, 8, 256, 100, 2000)
    expectation = _context.Expectation(hits.size, 2, 20, 800, 300, 500, 20)
    evidence = _context.Evidence(hits.size, 0.75, -0.25, -1.35, 6, 2000)
    picker = _dsp.PeakPicker([0.4] * hits.size, [5] * hits.size, 3)
    for activations, timbre in zip(given["activations"], given["timbres"]):
        votes.process(activations, timbre, activations)
        expectation.process(activations, activations)
        evidence.process(activations, activations)
        picker.process(activations, hits, 1 - activations)
"""

# callgrind_annotate's line for a method of a Cython class or a C function that it calls: count, share, mangled name
KERNEL = re.compile(r"^\s*([\d,]+).*(?:__pyx_f_\d+_(?:context|dsp|tcn)_\d+([A-Z][A-Za-z]+?)_(\w+)|[:?](add_product)\b)")


def compiler() -> str:
    """Return what the counts depend on: architecture and compiler."""
    machine = platform.machine()
    if machine not in ARCHITECTURE:
        raise CannotMeasureError(f"no pinned compiler flags for {machine}; add them to ARCHITECTURE")
    for tool in ("gcc", "valgrind", "callgrind_annotate"):
        if shutil.which(tool) is None:
            raise CannotMeasureError(f"{tool} is missing: apt-get install gcc valgrind")
    return f"{machine} gcc {_run('gcc', '-dumpversion').strip().split('.')[0]}"


def count(sources: Sequence[Path] = SOURCES) -> dict[str, float]:
    """Return the instructions of each kernel for a hop, the mean of both rates.

    Parameters
    ----------
    sources : sequence of Path
        The Cython files.

    Returns
    -------
    dict
        From ``Class.method`` to instructions; what is inlined counts where it was put.

    Raises
    ------
    CannotMeasureError
        If a tool is missing or fails.
    """
    compiler()
    with tempfile.TemporaryDirectory(prefix="dance-") as name:
        folder = Path(name)
        for source in sources:
            _build(source, folder)
        np.savez(folder / "given.npz", **_given())
        out = folder / "callgrind.out"
        valgrind = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}")
        _run(*valgrind, sys.executable, "-c", DRIVER, str(folder))
        text = _run("callgrind_annotate", "--threshold=100", str(out))
    counts: dict[str, float] = {}
    for line in text.splitlines():
        if found := KERNEL.match(line):
            number, owner, method, function = found.groups()
            kernel = f"{owner}.{method}" if owner else f"TCN.{function}"
            steps = len(RATES) * HOPS / (SELDOM if kernel.startswith("TCN.") else 1)
            counts[kernel] = counts.get(kernel, 0) + int(number.replace(",", "")) / steps
    if not {"LogMel", "TCN", "Votes", "Expectation", "PeakPicker"} <= totals(counts).keys():
        raise CannotMeasureError("callgrind did not see all kernels; were they renamed?")
    return counts


def totals(counts: Mapping[str, float]) -> dict[str, float]:
    """Return the sum for each class."""
    owners = {kernel.partition(".")[0] for kernel in counts}
    return {owner: sum(n for kernel, n in counts.items() if kernel.startswith(f"{owner}.")) for owner in owners}


def dearer(counts: Mapping[str, float], before: Mapping[str, float], tolerance: float = TOLERANCE) -> list[str]:
    """Return the classes whose total has grown by more than `tolerance`; one without a baseline is new, so it has."""
    now, then = totals(counts), totals(before)
    return sorted(owner for owner, number in now.items() if number > then.get(owner, 0) * (1 + tolerance))


def baseline(path: Path = BASELINE) -> dict[str, float]:
    """Return the committed counts of this machine's compiler.

    Raises
    ------
    CannotMeasureError
        If there are none.
    """
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    key = compiler()
    if key not in entries:
        raise CannotMeasureError(f"no baseline for {key} in {path.name}: python benchmarks/instructions.py --renew")
    return entries[key]


def renew(counts: Mapping[str, float], path: Path = BASELINE) -> None:
    """Write `counts` as this compiler's baseline; the others stay."""
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    entries[compiler()] = {kernel: round(number, 1) for kernel, number in sorted(counts.items())}
    path.write_text(json.dumps(dict(sorted(entries.items())), indent=2) + "\n", encoding="utf-8")


def _build(source: Path, folder: Path) -> None:
    c = folder / f"{source.stem}.c"
    directives = (word for directive in DIRECTIVES for word in ("-X", directive))
    _run(sys.executable, "-m", "cython", "-3", *directives, str(source), "-o", str(c))
    include = f"-I{sysconfig.get_path('include')}"
    flags = (*FLAGS, ARCHITECTURE[platform.machine()], include)
    _run("gcc", *flags, str(c), "-o", str(folder / f"{source.stem}.so"), "-lm")


def _given() -> dict[str, np.ndarray]:
    """Return everything the driver needs, from formulas: no random generator that a release may change."""
    spec = FeatureSpec()
    time = np.arange(HOPS)[:, None]
    activations = 0.5 + 0.5 * np.sin(time * np.arange(3, 3 + LABELS) / 7)
    given = {
        "bands": np.array(spec.bands),
        "labels": np.array(LABELS),
        "seldom": np.array(SELDOM),
        "floor": np.array(spec.floor),
        "rates": np.array(RATES),
        "activations": activations.astype(np.float32)[:, None],
        "timbres": np.sin(time * np.arange(1, 1 + TIMBRE) / 5).astype(np.float32)[:, None],
    }
    rows, heads = 9 * spec.bands + 4 * len(DILATIONS) * CHANNELS, 2 * LABELS + TIMBRE
    wave = np.sin(np.arange(rows * CHANNELS) / 3.7)
    given |= {
        "dilations": np.array(DILATIONS),
        "net_weights": (32767 * wave).astype(np.int16).reshape(rows, CHANNELS),
        "net_scales": np.full(rows, 2e-6, np.float32),
        "net_biases": wave[: (1 + len(DILATIONS)) * CHANNELS].astype(np.float32).reshape(-1, CHANNELS) / 10,
        "net_skipped": np.zeros((1 + len(DILATIONS), CHANNELS), np.float32),
        "net_heads": (32767 * wave[: CHANNELS * heads]).astype(np.int16).reshape(CHANNELS, heads),
        "net_heads_scales": np.full(CHANNELS, 2e-6, np.float32),
        "net_bias": np.zeros(heads, np.float32),
        **{f"bands_{name}": np.full(spec.bands, 1 / spec.bands, np.float32) for name in ("usual", "middle", "lows")},
    }
    for rate in RATES:
        hop = round(spec.hop_seconds * rate)
        shape = window(spec, rate)
        phase = np.arange(HOPS * hop) / rate
        given[f"hop{rate}"] = np.array(hop)
        given[f"window{rate}"] = shape
        given[f"filters{rate}"] = mel_filters(spec, rate, 1 << (len(shape) - 1).bit_length())
        given[f"samples{rate}"] = (0.4 * np.sin(300 * phase) * np.sin(9000 * phase**2)).astype(np.float32)
    return given


def _run(*command: str) -> str:
    # one thread and no arenas of other libraries: valgrind has to follow everything
    needed = "gcc and valgrind, and cython by pip install cython"
    return run(*command, needed=needed, OPENBLAS_NUM_THREADS="1", LC_ALL="C").stdout


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/instructions.py",
    )
    result.add_argument("--renew", action="store_true", help="make these counts the baseline of this compiler")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    counts = count()
    if args.renew:
        renew(counts)
    before = baseline()
    print(f"instructions for a hop of 10 ms, {compiler()}")
    for kernel, number in sorted({**counts, **totals(counts)}.items()):
        then = {**before, **totals(before)}.get(kernel)
        change = f"{100 * (number / then - 1):+.1f} %" if then else "new"
        print(f"  {kernel:24}{number:12,.0f}{change:>10}")
    worse = dearer(counts, before)
    for owner in worse:
        print(f"instructions: {owner} costs over {100 * TOLERANCE:.0f} % more than the baseline", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
