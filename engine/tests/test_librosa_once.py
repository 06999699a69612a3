"""Processes that start at once on a fresh machine do not spoil what librosa compiles for each other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_nothing_else_imports_librosa() -> None:
    importing = {
        path.relative_to(ROOT).as_posix()
        for folder in ("engine/dance", "labelgen", "models", "training")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) librosa\b|import_module\(f?.librosa", path.read_text(), re.MULTILINE)
    }
    assert importing == {"labelgen/librosa_once.py"}


@pytest.mark.slow
def test_processes_that_compile_at_the_same_time(tmp_path: Path) -> None:
    pytest.importorskip("librosa")
    code = "from labelgen.librosa_once import librosa; librosa().util.peak_pick"
    cold = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DEBUG_CACHE": "1"}

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen([sys.executable, "-c", code], env=cold, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    together = [start() for _ in range(3)]
    said = [process.communicate()[0] for process in together]
    assert [process.returncode for process in together] == [0, 0, 0]
    assert sorted("data saved" in text for text in said) == [False, False, True]
    assert sum("data loaded" in text for text in said) == 2
