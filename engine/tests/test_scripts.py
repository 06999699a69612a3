"""Every script explains itself, called by path or as a module, from any folder."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("training", "labelgen", "benchmarks", "models", "data/demo")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).glob("*.py"))
SCRIPTS = [file for file in FILES if "ArgumentParser(" in file.read_text()]


def test_scripts_are_found() -> None:
    assert {"train.py", "evaluate.py", "export.py", "midi.py", "compose.py"} <= {file.name for file in SCRIPTS}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_hides_a_standard_module(file: Path) -> None:
    """A script's folder comes first on the path."""
    assert file.stem == "__init__" or file.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_help(file: Path, tmp_path: Path) -> None:
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    calls = [[file, "-h"], ["-m", module, "-h"]]
    pipes: dict[str, Any] = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen([sys.executable, *call], cwd=tmp_path, **pipes) for call in calls]
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        # where the variable CI is set, pyfluidsynth says a line of its own on import
        assert re.match(r"('fluidsynth' was found .*\n)?usage:", out)
        assert len(out.splitlines()) > 5
