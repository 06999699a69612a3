"""Every script explains itself, called by path or as a module, from any folder."""

import json
import re
import subprocess
import sys
from pathlib import Path

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


def is_help(text: str) -> bool:
    # where the variable CI is set, pyfluidsynth says a line of its own on import
    return bool(re.match(r"('fluidsynth' was found .*\n)?usage:", text)) and len(text.splitlines()) > 5


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_help(file: Path, tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, file, "-h"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert is_help(run.stdout)


MODULES = """
import contextlib, io, json, runpy, sys

said = {}
for module in sys.argv[1:]:
    sys.argv, out = [module, "-h"], io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    said[module] = out.getvalue()
json.dump(said, sys.stdout)
"""


def test_help_of_modules(tmp_path: Path) -> None:
    """As ``python -m``, but all in one process: importing what they share takes seconds."""
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in SCRIPTS]
    command = [sys.executable, "-c", MODULES, *modules]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    # an import may say something first
    said = json.loads(run.stdout.splitlines()[-1])
    assert [module for module in modules if not is_help(said[module])] == []
