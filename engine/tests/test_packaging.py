"""One version, and files that name each other rightly."""

import importlib.metadata
import os
import re
import subprocess
from pathlib import Path

import pytest

import dance

ROOT = Path(__file__).parents[2]


def test_version_comes_from_one_place() -> None:
    """An editable install keeps the version of the day it was made: `make` renews it with pyproject.toml."""
    try:
        installed = importlib.metadata.version("dance")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("runs from the source, not installed")
    assert installed == dance.__version__


def test_changelog_knows_the_version() -> None:
    """Until a version is released, its changes stand under Unreleased."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == dance.__version__


@pytest.mark.parametrize("target", ["demo", "listen", "test", "lint", "build", "clean", "help"])
def test_make_knows_the_target_and_explains_it(target: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    run = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
    assert subprocess.run(["make", "--dry-run", target], **run).returncode == 0
    assert f"make {target} " in subprocess.run(["make", "help"], **run).stdout


def test_demo_plays_files_that_exist() -> None:
    command = re.search(r"dance play (\S+) --truth (\S+)", (ROOT / "Makefile").read_text())
    assert command and all((ROOT / file).is_file() for file in command.groups())
