"""One engine on the page: what it hears and decides, in messages.

The engine's thread only appends to bounded buffers; everything else happens in the server's.

Contents
--------
Session
"""

import base64
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from ..detector import Detector
from ..engine import Engine
from ..events import Event
from ..peaks import refractories, thresholds
from ..settings import Settings
from ..sources import Source
from .server import Message
from .tap import Tap

_FLOOR_DB = -100.0  # 0 in the picture; 0 dB is 255
_KEPT = 256  # frames and hits kept for the server: two and a half seconds of frames


class Session:
    """An engine, and what it has told since the last `tick`.

    Parameters
    ----------
    source, detector, on_event
        As for `Engine`, which is made from them.

    Attributes
    ----------
    engine : Engine
    source : str
        Name of the source.
    labels : tuple of str
        The drums that are reported.
    """

    def __init__(self, source: Source, detector: Detector, on_event: Callable[[Event], None] | None) -> None:
        self.source = str(getattr(source, "name", type(source).__name__))
        self.labels = detector.labels
        self._id = secrets.token_hex(8)
        self._detector = detector
        self._tap = Tap(source)
        self._frames: deque[tuple[int, NDArray[np.float32], NDArray[np.float32]]] = deque(maxlen=_KEPT)
        self._hits: deque[tuple[Event, float]] = deque(maxlen=_KEPT)
        self._counts = dict.fromkeys(self.labels, 0)
        self._columns = [detector.spec.labels.index(label) for label in detector.labels]
        detector.observer = self._note_frame
        self.engine = Engine(self._tap, detector, on_event)
        self.engine.observer = self._note_event

    def end(self) -> None:
        """Close the source, and so end the engine."""
        self._tap.close()

    def known(self, settings: Settings) -> Settings:
        """Return these settings without drums that this model does not have."""
        own = {label: own for label, own in settings.labels.items() if label in self._detector.spec.labels}
        return replace(settings, labels=own)

    def describe(self) -> Message:
        """Return what does not change while the engine lives."""
        detector = self._detector
        return {
            "type": "session",
            "id": self._id,
            "source": self.source,
            "rate": detector.sample_rate,
            "model": detector.spec.name,
            "labels": self.labels,
            "bands": detector.spec.features.bands,
            "hop": detector.spec.features.hop_seconds,
        }

    def settings(self) -> Message:
        """Return the settings, what they come to for each drum, and which of them are the user's own."""
        spec, settings, labels = self._detector.spec, self.engine.settings, {}
        activations, seconds = thresholds(spec, settings), refractories(spec, settings)
        for label, column in zip(self.labels, self._columns, strict=True):
            own = settings.for_label(label)
            labels[label] = {
                **asdict(own),
                "threshold": round(activations[column], 4),
                "refractory": round(seconds[column], 4),
                "own": [name for name in ("threshold", "refractory") if getattr(own, name) is not None],
            }
        return {"type": "settings", "labels": labels, "offset": settings.offset, "file": settings.to_dict()}

    def tick(self) -> Message:
        """Return what is new since the last call.

        Frames are numbered as the detector does, features in `_FLOOR_DB`..0 dB and activations in 0..1 are
        bytes 0..255, row by row; hits are label's place, velocity, attack's sample, confidence, and seconds from the
        attack until the report, the device's own delay not included.
        """
        frames = [self._frames.popleft() for _ in range(len(self._frames))]
        hits = [self._hits.popleft() for _ in range(len(self._hits))]
        level, stats = self._tap.level(), self.engine.stats
        return {
            "type": "tick",
            "frames": [number for number, _, _ in frames],
            "mel": _packed([features / -_FLOOR_DB + 1 for _, features, _ in frames]),
            "onset": _packed([onset for _, _, onset in frames]),
            "hits": [self._row(event, latency) for event, latency in hits],
            "presence": [round(float(value), 3) for value in self.engine.presence()],
            "peak": round(level.peak, 5),
            "clipped": level.clipped,
            "heard": round(stats.seconds, 2),
            "events": stats.events,
            "counts": list(self._counts.values()),
            "lost": stats.lost,
            "busy": round(stats.busy / stats.seconds, 4) if stats.seconds else 0,
            "running": not self.engine.wait(0),
            "failure": self.engine.failure,
        }

    def _row(self, event: Event, latency: float) -> list[float]:
        place = self.labels.index(event.label)
        return [place, round(event.velocity, 3), event.sample, round(event.confidence, 3), round(latency, 4)]

    def _note_frame(self, number: int, features: NDArray[np.float32], onset: NDArray[np.float32]) -> None:
        self._frames.append((number, features.copy(), onset[self._columns]))

    def _note_event(self, event: Event) -> None:
        heard = (self._tap.position - event.sample) / event.sample_rate
        self._counts[event.label] += 1
        self._hits.append((event, heard + monotonic() - self._tap.arrived))


def _packed(rows: list[NDArray[np.float32]]) -> str:
    """Return values 0..1 as bytes in base64."""
    if not rows:
        return ""
    values = np.nan_to_num(np.stack(rows)).clip(0, 1)
    return base64.b64encode((values * 255 + 0.5).astype(np.uint8).tobytes()).decode()
