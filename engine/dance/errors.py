"""What can go wrong that is not a bug.

Contents
--------
DanceError, SpecError, SourceError, SinkError
"""


class DanceError(Exception):
    """Base of every error that `dance` raises on purpose; its text says what to do next."""


class SpecError(DanceError, ValueError):
    """A model or an argument is wrong."""


class SourceError(DanceError):
    """A device or a file is wrong."""


class SinkError(DanceError):
    """An output is wrong: no such port, host or library."""
