"""What can go wrong that is not a bug.

Contents
--------
DanceError, SpecError, SourceError, SinkError, AbsentError, install, one_line, os_reason
"""

import os


class DanceError(Exception):
    """Base of every error that `dance` raises on purpose; its text says what to do next."""


class SpecError(DanceError, ValueError):
    """A model or an argument is wrong."""


class SourceError(DanceError):
    """A device or a file is wrong."""


class SinkError(DanceError):
    """An output is wrong: no such port, host or library."""


class AbsentError(SinkError):
    """An output is not there now, but may appear; waiting helps against no other `SinkError`."""


def install(extra: str) -> str:
    """Return the command that installs an extra; from the checkout, since on PyPI `dance` is another project."""
    return f'pip install ".[{extra}]" in the checkout of dance'


def one_line(error: Exception) -> str:
    """Return an error as one line: the file it concerns, if any, and the system's reason."""
    name = getattr(error, "filename", None)
    return f"{os.fsdecode(name)}: {os_reason(error)}" if isinstance(name, str | bytes) else str(error)


def os_reason(error: Exception) -> str:
    """Return the system's text for an `OSError`, or the error's own text: of a host ``a..b`` it is a `UnicodeError`."""
    return str(getattr(error, "strerror", None) or error)
