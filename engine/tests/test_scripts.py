"""Every script explains itself, called by path or as a module, from any folder."""

import os
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


@pytest.mark.parametrize("name", ["training/train.py", "labelgen/midi.py"])
def test_help(name: str, tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, ROOT / name, "-h"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert is_help(run.stdout)


FORKS = """
import os, runpy, sys

import lightning.pytorch, librosa, onnx, onnxruntime, torch

for number, file in enumerate(sys.argv[1:]):
    if not os.fork():
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{number}.{name}", os.O_WRONLY | os.O_CREAT), stream)
        sys.argv, code = [file, "-h"], 1
        try:
            if file.endswith(".py"):
                sys.path[0] = os.path.dirname(file)
                runpy.run_path(file, run_name="__main__")
            else:
                runpy.run_module(file, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = 1 if isinstance(end.code, str) else end.code or 0
            sys.stdout.flush()
        finally:
            os._exit(code)  # threads of the libraries did not come along, and leaving would wait for them
    if os.wait()[1]:
        sys.exit(f"{file}: {open(f'{number}.err').read()}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_help_of_all(tmp_path: Path) -> None:
    """As ``python FILE -h`` and ``python -m MODULE -h``, in forks that share the slow imports."""
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in SCRIPTS]
    asked = [*map(str, SCRIPTS), *modules]
    run = subprocess.run(
        [sys.executable, "-c", FORKS, *asked], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    said = {name: (tmp_path / f"{number}.out").read_text() for number, name in enumerate(asked)}
    assert [name for name in asked if not is_help(said[name])] == []
