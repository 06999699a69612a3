"""Once it runs, the signal path takes no new memory: counted over 10,000 blocks of a live stream.

The compiled classes must not call the C allocator at all; a library that is loaded before all others counts the
calls. Around them, Python and ONNX Runtime may borrow memory within a block, but must have given it back after it.
"""

import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from stage import model, run

BLOCKS = 10_000

COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

/* glibc's own entry points, so that counting needs no memory itself */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static long calls;
long allocations(void) { return calls; }
void *malloc(size_t n) { calls++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { calls++; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { calls++; return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { calls++; return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { calls++; return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) { calls++; return (*p = __libc_memalign(a, n)) ? 0 : 12; }
"""

# What every measured program begins with. The collector is off: what it would have to collect is growth, too.
BEGIN = """
import ctypes, gc, json, sys
import numpy as np

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
if "--count" in sys.argv:
    libc.allocations.restype = ctypes.c_long

def state():
    info = libc.mallinfo2()
    calls = libc.allocations() if "--count" in sys.argv else 0
    return calls, info.uordblks + info.hblkhd, sys.getallocatedblocks()

def measure(block, blocks):
    gc.collect()  # empties the lists of free objects, which fill up again before anything is counted
    gc.disable()
    for number in range(1000):
        block(number)
    state()
    stretches = []
    for start in (1000, 1000 + blocks):
        before = state()
        for number in range(start, start + blocks):
            block(number)
        stretches.append([b - a for a, b in zip(before, state())])
    # what grows does so in both; Python and libraries now and then set something aside once
    print(json.dumps([min(growth) for growth in zip(*stretches)]))
"""

LOG_MEL = """
from dance.features import LogMel
from dance.spec import FeatureSpec
mel = LogMel(FeatureSpec(), 48000)
samples, out = np.sin(np.arange(256) / 9).astype(np.float32), np.empty((8, mel.bands), np.float32)
whole = np.sin(np.arange(5000) / 9).astype(np.float32)
long = np.empty((16, mel.bands), np.float32)

def block(number):
    mel.process(samples, out)
    if number % 50 == 0:
        mel.process(whole, long)  # long enough to give the GIL away
        mel.skip(100)
"""

VOTES = """
from dance import _context
votes = _context.Votes(5, 48, 0.6, 8.0, 256, 100.0, 2000)
rng = np.random.default_rng(0)
activations, timbres = rng.random((12, 1, 5), np.float32), rng.random((12, 1, 48), np.float32)
frames, sounds, out = list(activations), list(timbres), np.empty((1, 5), np.float32)

def block(number):
    votes.process(frames[number % 12], sounds[number % 12], out)
    if number % 50 == 0:
        votes.skip(2)
"""

EXPECTATION = """
from dance import _context
expectation = _context.Expectation(5, 2.0, 20, 800, 300, 500, 20)
activations = (0.5 + 0.5 * np.sin(np.arange(60, dtype=np.float32)).reshape(12, 1, 5)).astype(np.float32)
frames, out = list(activations), np.empty((1, 5), np.float32)

def block(number):
    expectation.process(frames[number % 12], out)
    if number % 50 == 0:
        expectation.skip(2)
"""

EVIDENCE = EXPECTATION.replace("expectation", "evidence").replace(
    "Expectation(5, 2.0, 20, 800, 300, 500, 20)", "Evidence(5, 0.75, -0.25, -1.35, 6.0, 2000.0)"
)

TCN = """
from dance.detector import RELEASED
from dance.network import Network
network = Network(RELEASED)
assert network.compiled
frames = list(np.random.default_rng(0).normal(-50, 15, (12, network.spec.features.bands)).astype(np.float32))

def block(number):
    network.step(frames[number % 12])
"""

PEAK_PICKER = """
from dance import _dsp
picker = _dsp.PeakPicker([0.4] * 5, [5] * 5, 3)
activations = (0.5 + 0.5 * np.sin(np.arange(60, dtype=np.float32)).reshape(12, 1, 5)).astype(np.float32)
frames, hits = list(activations), np.empty((1, 5), np.uint8)

def block(number):
    picker.process(frames[number % 12], hits, frames[number % 5])
"""

RING = """
from dance._ring import Ring
ring = Ring(4096)
samples, out = np.ones(256, np.float32), np.empty(300, np.float32)
stereo = bytes(4 * 2 * 256)

def block(number):
    ring.write(samples)
    ring.write_interleaved(stereo, 2)
    if number % 3:
        ring.read(out)
        ring.read(out)
"""

DETECTOR = """
from dance import Detector
from stage import drums
detector = Detector.load(sys.argv[1], sample_rate=44100)
song = drums(8.0)
starts = range(0, len(song) - 256, 256)

def block(number):
    start = starts[number % len(starts)]
    detector.process(song[start : start + 256])
    detector.presence()

assert any(detector.process(song[start : start + 256]) for start in starts), "events must be among what is measured"
"""

COMPILED = {
    "LogMel": LOG_MEL,
    "TCN": TCN,
    "Votes": VOTES,
    "Expectation": EXPECTATION,
    "Evidence": EVIDENCE,
    "PeakPicker": PEAK_PICKER,
    "Ring": RING,
}

MISTAKES = {
    "calls": "libc.free(libc.malloc(64))",
    "in_c": "libc.malloc(64)",
    "in_python": "kept.append(object())",
    "cycles": "cycle = []; cycle.append(cycle)",
}

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator's books are glibc's")
gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="the counting allocator is compiled here")


class Growth(NamedTuple):
    """What the blocks added: calls of the C allocator, bytes it gave and did not get back, blocks of Python's."""

    calls: int
    in_c: int
    in_python: int


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counter")
    source, library = folder / "counter.c", folder / "counter.so"
    source.write_text(COUNTER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-fno-builtin", str(source), "-o", str(library)], check=True)
    return library


def grown(program: str, *arguments: object, counter: Path | None = None) -> Growth:
    """Run a program that defines `block(number)` and return what `BLOCKS` calls of it added."""
    environment = {"LD_PRELOAD": str(counter)} if counter else {}
    text = f"{BEGIN}\nsys.path.append({str(Path(__file__).parent)!r})\n{program}\nmeasure(block, {BLOCKS})\n"
    done = run("-c", text, *arguments, *(["--count"] if counter else []), timeout=300, **environment)
    assert done.returncode == 0, done.stderr
    return Growth(*json.loads(done.stdout.splitlines()[-1]))


@glibc
@gcc
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_code_never_allocates(name: str, counter: Path) -> None:
    """One allocation a block would be 10,000 calls; a few may be Python's own, which opens a pool."""
    growth = grown(COMPILED[name], counter=counter)
    assert growth.calls <= 10
    assert growth.in_c <= 4096
    assert growth.in_python <= 50


@glibc
def test_the_detector_keeps_nothing() -> None:
    """Features, network, decisions, events and presence: what a block borrowed is given back, without the collector."""
    growth = grown(DETECTOR, model())
    assert growth.in_c < BLOCKS  # less than a byte a block
    assert growth.in_python <= 50


@glibc
@gcc
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_block_is_seen(mistake: str, counter: Path) -> None:
    """The bounds above are worth something: each kind of allocation, made once a block, breaks one."""
    wrong = f"{LOG_MEL}\nright, kept = block, []\ndef block(number):\n    right(number)\n    {MISTAKES[mistake]}\n"
    growth = grown(wrong, counter=counter)
    assert getattr(growth, "in_python" if mistake == "cycles" else mistake) >= BLOCKS
