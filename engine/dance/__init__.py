"""dance hears every drum in live music and tells a program at once: which drum, when, how hard."""

from ._version import __version__
from .detector import Detector
from .engine import Engine, Stats
from .errors import DanceError, SourceError, SpecError
from .events import Event
from .labels import LABELS
from .microphone import Microphone
from .sources import Read, SoundFile, Source
from .spec import FeatureSpec, ModelSpec

__all__ = [
    "LABELS",
    "DanceError",
    "Detector",
    "Engine",
    "Event",
    "FeatureSpec",
    "Microphone",
    "ModelSpec",
    "Read",
    "SoundFile",
    "Source",
    "SourceError",
    "SpecError",
    "Stats",
    "__version__",
]
