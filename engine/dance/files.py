"""Files that are written whole or not at all.

Contents
--------
replacing
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_BESIDE = ".dance-"  # begins the name of the folder in which a file is written


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place when all went well, and goes away if not.

    Raises
    ------
    OSError
        If that fails, because the disk is full for instance; it names `path`.
    """
    import tempfile  # a twentieth of the time that `import dance` takes, and few write files

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_BESIDE, dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            yield temporary
            temporary.replace(path)
    except OSError as error:
        if error.filename is None or Path(str(error.filename)).parent.name.startswith(_BESIDE):
            error.filename, error.filename2 = os.fspath(path), None
        raise
