"""Every script explains itself, called by path from any folder; as a module, too."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("training", "labelgen", "benchmarks", "models", "data/demo")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).glob("*.py"))
SCRIPTS = [file for file in FILES if "ArgumentParser(" in file.read_text()]
ONE_OF_EACH = {file.parent: file for file in SCRIPTS}.values()


def test_scripts_are_found() -> None:
    assert {"train.py", "evaluate.py", "export.py", "midi.py", "compose.py"} <= {file.name for file in SCRIPTS}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_hides_a_standard_module(file: Path) -> None:
    """A script's folder comes first on the path."""
    assert file.stem == "__init__" or file.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_help(file: Path, tmp_path: Path) -> None:
    assert len(help_of(file, folder=tmp_path).splitlines()) > 5


@pytest.mark.parametrize("file", ONE_OF_EACH, ids=lambda file: str(file.relative_to(ROOT)))
def test_help_as_a_module(file: Path, tmp_path: Path) -> None:
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    assert len(help_of("-m", module, folder=tmp_path).splitlines()) > 5


def help_of(*call: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *call, "-h"], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    # where the variable CI is set, pyfluidsynth says a line of its own on import
    assert re.match(r"('fluidsynth' was found .*\n)?usage:", done.stdout)
    return done.stdout
