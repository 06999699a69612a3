"""librosa, compiled by one process at a time.

Some functions of librosa are compiled when they are first imported, and kept in numba's cache, each in two files.
Processes that do so at the same time leave files of different compilations there, which crash whatever imports librosa
from then on (numba issue 10128). Workers of a fresh machine would: so the first one compiles, while the others wait.

Contents
--------
librosa
"""

import getpass
import importlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from filelock import FileLock


@lru_cache(maxsize=1)
def librosa() -> ModuleType:
    """Return librosa, with everything loaded that is used here; the first time on a machine takes some 15 seconds."""
    user = getattr(os, "getuid", getpass.getuser)()
    with FileLock(Path(tempfile.gettempdir()) / f"librosa-{user}.lock"):
        for part in ("core.audio", "filters", "onset", "util.utils"):  # a plain import would load none of them
            importlib.import_module(f"librosa.{part}")
    return importlib.import_module("librosa")
