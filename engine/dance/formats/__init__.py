"""Files that other programs read: what was heard in a song, as tables, MIDI, JAMS, and labels for audio editors."""

from .heard import Heard
from .table import FORMATS, Format, writers

__all__ = ["FORMATS", "Format", "Heard", "writers"]
