"""Samples in, events out: features, network and peak picking in a row.

No input or output, no thread, no clock but the stream's own: samples are float32, mono, full scale 1, counted
from the stream's start. The same samples give the same events however they are cut into blocks.

Contents
--------
Detector, RELEASED
"""

import math
import operator
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .context import Context
from .errors import SpecError
from .events import Event
from .features import LogMel
from .loudness import SPAN, Loudness
from .network import Network
from .peaks import PeakPicker, thresholds
from .settings import Settings, as_settings

RELEASED = Path(__file__).parent / "released" / "dance.onnx"
"""The model inside the package."""

_LOSSES = 8  # that may lie between an attack and its report
_CHUNK = 4096
"""Samples taken in at once: bounds the memory for frames, whatever the block."""


class Detector:
    """Hears drums in a stream of samples.

    Parameters
    ----------
    network : Network
        Kept and stepped by this detector alone.
    sample_rate : int
        One of ``network.spec.sample_rates``, in hertz.
    labels : sequence of str, optional
        What to report, in this order; by default ``network.spec.enabled``.
    sensitivity : float or mapping from label to float, optional
        0 (only what is beyond doubt) to 1 (everything that might be a hit); overrides what `settings` say.
    settings : Settings, optional

    Attributes
    ----------
    spec : ModelSpec
    sample_rate : int
    labels : tuple of str
        What is reported.
    latency : int
        Samples from an attack to its report, for the label that is reported soonest.
    observer : callable, optional
        Called with each frame's number, features (float32 [bands], dB) and onset activations (float32
        [len(spec.labels)]); the arrays are valid only meanwhile.

    Raises
    ------
    SpecError
        If an argument does not fit the model.
    """

    def __init__(
        self,
        network: Network,
        *,
        sample_rate: int,
        labels: Sequence[str] | None = None,
        sensitivity: float | Mapping[str, float] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.spec = spec = network.spec
        if sample_rate not in spec.sample_rates:
            rates = " or ".join(str(rate) for rate in spec.sample_rates)
            raise SpecError(
                f"{spec.name} hears audio at {rates} Hz, not {sample_rate}: "
                "resample a file, open a device at one of these rates"
            )
        self.sample_rate = int(sample_rate)  # may be a NumPy integer, which JSON cannot hold
        self.labels = spec.enabled if labels is None else tuple(labels)
        unknown = [label for label in self.labels if label not in spec.labels]
        if unknown or not self.labels or len(set(self.labels)) != len(self.labels):
            raise SpecError(f"labels must be some of {', '.join(spec.labels)}, not {self.labels!r}")
        self._network = network
        self._features = LogMel(spec.features, sample_rate)
        settings = Settings() if settings is None else as_settings(settings)
        self._settings = settings if sensitivity is None else settings.with_sensitivity(sensitivity, spec.labels)
        self._context = Context(spec, network.timbre.shape[1])
        self._picker = PeakPicker(spec, self._settings)
        self._loudness = Loudness(spec)
        self._limits = np.array(thresholds(spec, self._settings), np.float32)
        self._above, self._before = np.zeros((2, len(spec.labels)), bool)
        self.observer: Callable[[int, NDArray[np.float32], NDArray[np.float32]], None] | None = None
        # Columns of the reported labels among the model's, and how many samples before a frame's end their attacks are.
        self._columns = [spec.labels.index(label) for label in self.labels]
        self._offsets = [math.floor(spec.attack_offset_seconds[column] * sample_rate + 0.5) for column in self._columns]
        self.latency = min(self._offsets)
        hop = spec.features.hop_seconds * sample_rate
        self._silence = 10 * math.log10(spec.features.floor)
        # The last frames of the block before stand above those of the new one: a hit may have begun in them.
        self._frames = np.empty((SPAN - 1 + math.ceil(_CHUNK / hop) + 1, spec.features.bands), np.float32)
        self._frames.fill(self._silence)
        self._new = self._frames[SPAN - 1 :]
        self._hits = np.zeros((1, len(spec.labels)), np.uint8)
        # The sample at which a presence would have been 1 says all of it; minus infinity: absent.
        self._reached = np.full(len(self.labels), -np.inf)
        self._decay = spec.presence_seconds * sample_rate
        self._flushed = False
        self._lost: deque[range] = deque(maxlen=_LOSSES)  # samples that went missing, the last ones first

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        sample_rate: int,
        labels: Sequence[str] | None = None,
        sensitivity: float | Mapping[str, float] | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Make a detector from a model file; without a path, from the model inside the package.

        Raises
        ------
        SpecError
            If the file is no such model or an argument does not fit it.
        """
        if path is None:
            if not RELEASED.is_file():
                raise SpecError("this installation has no model inside: install it again, or name a model file")
            path = RELEASED
        return cls(Network(path), sample_rate=sample_rate, labels=labels, sensitivity=sensitivity, settings=settings)

    @property
    def settings(self) -> Settings:
        """What it decides by."""
        return self._settings

    def configure(self, settings: Settings) -> None:
        """Decide by these settings from the next frame on.

        Raises
        ------
        SpecError
            If they name a label that the model does not have; nothing has changed then.
        """
        self._picker.configure(as_settings(settings))
        self._settings = settings
        self._limits[:] = thresholds(self.spec, settings)
        for place, label in enumerate(self.labels):
            if settings.for_label(label).mute:
                self._reached[place] = -np.inf

    def process(self, samples: NDArray[np.float32]) -> list[Event]:
        """Take in the next samples and return what they make certain.

        Parameters
        ----------
        samples : float32 [n]
            Contiguous; any length, 0 included. NaN and infinities count as silence.

        Raises
        ------
        TypeError
            If the array is of another type or form; nothing is converted silently.
        RuntimeError
            After `flush`.
        """
        if self._flushed:
            raise RuntimeError("the stream has ended; call reset() to begin a new one")
        is_array = isinstance(samples, np.ndarray)
        if not (is_array and samples.dtype == np.float32 and samples.ndim == 1 and samples.flags.c_contiguous):
            form = f"{samples.dtype} {list(samples.shape)}" if is_array else type(samples).__name__
            raise TypeError(
                f"samples must be a contiguous float32 array of one dimension, not {form}: "
                "x.astype('f4') / 32768 makes one of int16 samples, x.mean(axis=1, dtype='f4') of stereo [n, 2]"
            )
        return self._process(samples)

    def presence(self) -> NDArray[np.float32]:
        """Return one value per label that jumps to a hit's velocity and decays with the stream's time.

        Returns
        -------
        float32 [len(labels)]
            New on every call.
        """
        return np.exp(self.log_presence()).astype(np.float32)

    def log_presence(self) -> NDArray[np.float64]:
        """Return the natural logarithm of `presence`, which falls evenly: by 1 in ``spec.presence_seconds``.

        Returns
        -------
        float64 [len(labels)]
            Minus infinity where a drum is absent. New on every call.
        """
        return (self._reached - self._features.position) / self._decay

    def flush(self) -> list[Event]:
        """End the stream and return the hits in it that were not yet certain.

        The stream is continued with just enough silence to decide them; what the silence itself sets off is
        dropped. Only `reset` leads on from here.
        """
        if self._flushed:
            return []
        self._flushed = True
        end = self._features.position
        if end == 0:
            return []
        hop = math.ceil(self.spec.features.hop_seconds * self.sample_rate)
        events = self._process(np.zeros(max(self._offsets) + hop, np.float32))
        return [event for event in events if event.sample < end]

    def skip(self, n: int) -> None:
        """Pass over `n` lost samples: the clock moves on, and no hit is reported among them.

        Raises
        ------
        TypeError
            If `n` is no whole number.
        ValueError
            If it is negative.
        RuntimeError
            After `flush`.
        """
        if self._flushed:
            raise RuntimeError("the stream has ended; call reset() to begin a new one")
        n = operator.index(n)
        first = self._features.position
        frames = self._features.skip(n)
        if not n:
            return
        self._lost.appendleft(range(first, first + n))
        self._context.skip(frames)
        self._picker.skip(frames)

    def reset(self) -> None:
        """Begin a new stream, exactly as a new detector with the same settings would."""
        self._features.reset()
        self._network.reset()
        self._context.reset()
        self._picker.reset()
        self._loudness.reset()
        self._above.fill(False)
        self._frames.fill(self._silence)
        self._reached.fill(-np.inf)
        self._flushed = False
        self._lost.clear()

    def _process(self, samples: NDArray[np.float32]) -> list[Event]:
        events: list[Event] = []
        for start in range(0, len(samples), _CHUNK):
            first = self._features.frame
            count = self._features.process(samples[start : start + _CHUNK], self._new)
            for frame in range(count):
                onset, velocity = self._network.step(self._new[frame])
                self._context.process(onset, self._network.timbre)
                if self.observer:
                    self.observer(first + frame, self._new[frame], onset[0])
                self._above, self._before = self._before, self._above
                np.greater_equal(onset[0], self._limits, out=self._above)
                if self._above.any():  # otherwise nothing can be a hit, and velocities do not matter
                    velocity[0] = self._loudness.velocities(self._frames[frame : frame + SPAN], velocity[0])
                    # gated and muted hits are heard, too: what is reported changes no velocity
                    self._loudness.learn(self._above > self._before)
                if self._picker.process(onset, self._hits, velocity):
                    events += self._report(first + frame, onset[0], velocity[0])
            self._frames[: SPAN - 1] = self._frames[count : count + SPAN - 1].copy()
        return events

    def _report(self, frame: int, onset: NDArray[np.float32], velocity: NDArray[np.float32]) -> list[Event]:
        events = []
        end = self.spec.features.frame_end(frame, self.sample_rate)
        for place, column in enumerate(self._columns):
            if not self._hits[0, column]:
                continue
            sample = end - self._offsets[place]
            for lost in self._lost:  # audio before and after stands side by side
                sample -= len(lost) if sample < lost.stop else 0
            event = Event(
                label=self.labels[place],
                velocity=float(velocity[column]),
                confidence=float(onset[column]),
                sample=max(sample, 0),
                reported=end,
                sample_rate=self.sample_rate,
            )
            events.append(event)
            if event.velocity > 0:
                self._reached[place] = max(self._reached[place], end + self._decay * math.log(event.velocity))
        return events
