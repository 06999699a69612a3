"""dance hears every drum in live music and tells a program at once: which drum, when, how hard."""

from ._version import __version__
from .base_engine import Stats
from .detector import Detector
from .engine import Engine
from .errors import DanceError, SinkError, SourceError, SpecError
from .events import Event
from .labels import LABELS
from .microphone import Microphone
from .process import ProcessEngine
from .raw import RawInput
from .settings import LabelSettings, Settings
from .sources import Read, SoundFile, Source
from .spec import FeatureSpec, ModelSpec

__all__ = [
    "LABELS",
    "DanceError",
    "Detector",
    "Engine",
    "Event",
    "FeatureSpec",
    "LabelSettings",
    "Microphone",
    "ModelSpec",
    "ProcessEngine",
    "RawInput",
    "Read",
    "Settings",
    "SinkError",
    "SoundFile",
    "Source",
    "SourceError",
    "SpecError",
    "Stats",
    "__version__",
]
