"""What can go wrong that is not a bug.

Contents
--------
DanceError, SpecError, SourceError, SinkError, AbsentError, install, line, reason
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
    """An output is not there now; waiting may bring it, which nothing else does for a `SinkError`."""


def install(extra: str) -> str:
    """Return how to get the packages of an optional part; not by its name alone, which on PyPI is another project's."""
    return f'pip install ".[{extra}]" in the checkout of dance'


def line(error: Exception) -> str:
    """Return an error in a line: the file that it is about, if any, and what the system says."""
    name = getattr(error, "filename", None)
    return f"{os.fsdecode(name)}: {reason(error)}" if isinstance(name, str | bytes) else str(error)


def reason(error: Exception) -> object:
    """Return what the system says of an error, or the error: of names such as ``a..b`` it is no `OSError`."""
    return getattr(error, "strerror", None) or error
