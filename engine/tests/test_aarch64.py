"""The wheel for 64-bit ARM, as a Raspberry Pi would get it: cross-built, taken apart, and run under emulation.

Everything runs on what ``.ci/cross-aarch64 prepare`` has fetched once; without it the tests are skipped.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from stage import ROOT

from dance import Detector
from dance.commands.doctor import drums

pytestmark = pytest.mark.slow

CROSS = ROOT / ".ci" / "cross-aarch64"
RATE = 48000
AARCH64 = 183  # e_machine in the header of an ELF file

HEAR = """
import json
import sys
import numpy as np
from dance import Detector
detector = Detector.load(sample_rate=int(sys.argv[2]))
events = detector.process(np.load(sys.argv[1])) + detector.flush()
print(json.dumps([(event.label, event.sample, event.velocity, event.confidence) for event in events]))
"""


def cross(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CROSS, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def wheel() -> Path:
    done = cross("build")
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return ROOT / done.stdout.split()[-1]


def test_the_wheel_is_for_arm(wheel: Path) -> None:
    assert re.fullmatch(r"dance-.*-cp3\d+-cp3\d+-[\w.]*manylinux_2_\d+_aarch64\.whl", wheel.name)
    with ZipFile(wheel) as archive:
        compiled = {name: archive.read(name) for name in archive.namelist() if name.endswith(".so")}
    assert {name.split(".")[0] for name in compiled} == {"dance/_context", "dance/_dsp", "dance/_ring", "dance/_tcn"}
    for name, content in compiled.items():
        assert name.endswith("-aarch64-linux-gnu.so")
        assert int.from_bytes(content[18:20], "little") == AARCH64


@pytest.mark.parametrize("kernel", ["append", "transform", "collect"])
def test_the_compiler_uses_neon(wheel: Path, tmp_path: Path, kernel: str) -> None:
    """Each hot loop works on registers of four floats; a scalar remainder is there only for what is left over."""
    objdump = shutil.which("aarch64-linux-gnu-objdump")
    if not objdump:
        pytest.skip("no aarch64-linux-gnu-objdump")
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("dance/_dsp.") and name.endswith(".so"))
        path = archive.extract(name, tmp_path)
    text = subprocess.run([objdump, "-d", path], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"<__pyx_f_5dance_4_dsp_6LogMel__{kernel}[.\w]*>:\n(.*?)\n\n", text, re.DOTALL)
    assert found, f"no kernel {kernel}; was it renamed?"
    expected = {"append": ("fcmge", "fabs"), "transform": ("fmul", "fadd", "fsub"), "collect": ("fmul", "fadd")}
    for instruction in expected[kernel]:
        assert re.search(rf"\t{instruction}\tv\d+\.4s", found[1]), f"no {instruction} of four floats"
    if kernel == "transform":
        arithmetic = re.findall(r"\tf(?:mul|add|sub)\t(v\d+\.4s|s\d+)", found[1])
        vector = sum(register.startswith("v") for register in arithmetic)
        assert vector > 2 * (len(arithmetic) - vector)


def test_the_same_drums_are_heard(wheel: Path, tmp_path: Path) -> None:
    samples, _ = drums(RATE)
    np.save(tmp_path / "drums.npy", samples)
    detector = Detector.load(sample_rate=RATE)
    here = detector.process(samples) + detector.flush()
    assert len(here) > 30
    done = cross("run", "-c", HEAR, tmp_path / "drums.npy", RATE)
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert [(label, sample) for label, sample, *_ in there] == [(event.label, event.sample) for event in here]
    values = [(event.velocity, event.confidence) for event in here]
    np.testing.assert_allclose([rest for _, _, *rest in there], values, atol=1e-4)


def test_the_command_runs(wheel: Path) -> None:
    """Under emulation a hop may take too long, so the exit code says nothing."""
    done = cross("run", "-m", "dance", "doctor")
    assert done.stderr == ""
    assert re.search(r"^system .*aarch64$", done.stdout, re.MULTILINE)
    assert re.search(r"^self-test +48000 Hz: (\d+) of \1 drums heard, 0 events", done.stdout, re.MULTILINE)


def test_the_core_of_the_suite_passes(wheel: Path) -> None:
    done = cross("test")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert re.search(r"\d+ passed", done.stdout)
