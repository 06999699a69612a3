"""All that was heard in a song, for the writers of files.

Contents
--------
Heard, beside
"""

from dataclasses import dataclass
from pathlib import Path

from ..events import Event


@dataclass(frozen=True, slots=True)
class Heard:
    """A song and its events.

    Attributes
    ----------
    title : str
    seconds : float
        Length of the song.
    sample_rate : int
        Of the clock that the events go by.
    labels : tuple of str
        What was listened for; not each need have been hit.
    events : tuple of Event
        In the order in which they were decided.
    """

    title: str
    seconds: float
    sample_rate: int
    labels: tuple[str, ...]
    events: tuple[Event, ...]

    @property
    def by_time(self) -> list[Event]:
        """The events in the order of their attacks."""
        return sorted(self.events, key=lambda event: event.sample)


def beside(base: Path, suffix: str) -> Path:
    """Return `base` with `suffix` behind its name, which may have dots of its own."""
    return base.with_name(base.name + suffix)
