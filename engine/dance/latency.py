"""How late a callback is after the attack that it tells, measured through real devices, part by part.

Known hits are played into an output and heard through an input, by the engine itself. Of each hit we know
when it was handed to the output, when it arrived at the input, how much audio the decision took, how long
that audio waited, what features and network took, and when the callback was called. All times are of one
clock, `time.perf_counter`; the parts of a hit sum up to its whole.

Contents
--------
PARTS, Measurement, measure, measure_virtually
    The distribution and how to get it.
Clock, Delivery, dissect
    What it is computed from.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .detector import Detector
from .engine import Engine
from .errors import SourceError, SpecError
from .events import Event
from .microphone import Microphone
from .probe import DRUMS, Attack, Probe
from .score import TOLERANCE
from .sources import Read, Source
from .speaker import Speaker
from .virtual import VirtualMicrophone

PARTS = ("device", "decision", "buffering", "features", "network", "dispatch")
"""In the order of time. device: from handing the attack to the output until it stands at the input. decision:
audio after it that the decision needs. buffering: until the engine has that audio, beyond the time that it
takes to sound. features, network: computing. dispatch: from there to the callback."""

_TAIL_SECONDS = 1.5  # heard on after the last period was handed over: the longest way round and the decision
_CLOCK_SECONDS = 1.0  # sound card and computer drift apart by 0.1 ms in this time at most
_POLL_SECONDS = 0.05
_SILENT = 1e-4


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured.

    Attributes
    ----------
    input, output : str
        Names of the devices.
    sample_rate : int
    period : int
        Samples that the devices were asked to take at once.
    played, arrived : int
        Hits played, and found again in the input.
    labels : tuple of str
        The drum of each hit that was reported.
    parts : float64 [reported hits, parts]
        Seconds, columns as in `PARTS`.
    lost : int
        Samples that the engine lost.
    underflows : int
        How often the output ran dry.
    """

    input: str
    output: str
    sample_rate: int
    period: int
    played: int
    arrived: int
    labels: tuple[str, ...]
    parts: NDArray[np.float64]
    lost: int
    underflows: int

    @property
    def total(self) -> NDArray[np.float64]:
        """Seconds from handing over to callback, for each reported hit."""
        return np.asarray(self.parts.sum(axis=1))

    @property
    def beyond_decision(self) -> NDArray[np.float64]:
        """The same without the audio that the decision needs."""
        return np.asarray(self.total - self.parts[:, PARTS.index("decision")])

    @property
    def device(self) -> float:
        """Seconds that both devices take together, median."""
        return float(np.median(self.parts[:, PARTS.index("device")]))

    @property
    def compensation(self) -> float:
        """Seconds that a visual lags behind the sound at the microphone, median.

        Music does not pass our output, and how the way through both devices splits cannot be measured from
        here: half of it is taken for the input.
        """
        return float(np.median(self.total)) - self.device / 2


class Clock:
    """When a stream's samples pass, from when its blocks did.

    Parameters
    ----------
    samples : sequence of int [blocks]
        A position in the stream for each block, ascending.
    times : sequence of float [blocks]
        When it passed, in seconds.
    sample_rate : int
    choose : callable
        What to make of the lags of neighbouring blocks: `min` where a block can only be late, a median where
        it can be early, too.
    """

    def __init__(
        self,
        samples: Sequence[int],
        times: Sequence[float],
        sample_rate: int,
        choose: Callable[[NDArray[np.float64]], float],
    ) -> None:
        self._samples = np.array(samples, np.int64)
        self._lags = np.array(times) - self._samples / sample_rate
        self.sample_rate = sample_rate
        self._choose = choose

    def lag(self, sample: int) -> float:
        """Return the time at which the stream would have begun, judged from around `sample`."""
        near = round(_CLOCK_SECONDS * self.sample_rate)
        first, last = np.searchsorted(self._samples, (sample - near, sample + near))
        last = max(last, 1)
        return float(self._choose(self._lags[min(first, last - 1) : last]))

    def time(self, sample: int) -> float:
        """Return when `sample` passed."""
        return self.lag(sample) + sample / self.sample_rate


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event and the times around it, in seconds: `read` and `called` of the clock, the others durations."""

    event: Event
    read: float
    features: float
    network: float
    called: float


def dissect(
    probe: Probe, recording: NDArray[np.float32], output: Clock, input: Clock, deliveries: Sequence[Delivery]
) -> tuple[int, list[str], NDArray[np.float64]]:
    """Take each hit's way apart.

    Parameters
    ----------
    probe : Probe
        What was played.
    recording : float32 [n]
        What arrived, from the input stream's first sample.
    output, input : Clock
        Of the sound's samples and of the recording's.
    deliveries : sequence of Delivery
        In the order in which they came.

    Returns
    -------
    arrived : int
        Hits found in the recording.
    labels : list of str
        Those of them that were reported.
    parts : float64 [reported, parts]

    Raises
    ------
    SourceError
        If the sound is not in the recording.
    """
    rate = probe.sample_rate

    late = probe.find_head(recording, _expected(output, input, recording, 0))
    if late is None:
        raise _nothing_heard(recording)
    arrived, labels, rows = 0, [], []
    for hit in probe.hits:
        attack = probe.find(recording, _expected(output, input, recording, hit.sample), late)
        if attack is None:
            continue
        arrived += 1
        found = _report_of(hit, attack, deliveries)
        if found is None:
            continue
        labels.append(hit.label)
        began = input.lag(found.event.reported)
        rows.append(
            (
                began + attack / rate - output.time(hit.sample),
                (found.event.reported - attack) / rate,
                found.read - (began + found.event.reported / rate),
                found.features,
                found.network,
                found.called - found.read - found.features - found.network,
            )
        )
    return arrived, labels, np.array(rows).reshape(-1, len(PARTS))


def measure(
    detect: Callable[[Source], Detector],
    *,
    device: int | str | None = None,
    output: int | str | None = None,
    sample_rate: int | Sequence[int] | None = None,
    hits: int = 60,
    period: int = 256,
) -> Measurement:
    """Play hits, hear them, and take their way apart; takes about half a second a hit.

    Parameters
    ----------
    detect : callable
        Makes the detector for the source that it gets, which belongs to this measurement from then on.
    device, output : int or str, optional
        Input and output, see `Microphone` and `Speaker`.
    sample_rate : int or sequence of int, optional
        See `Microphone`; the output is opened at the same rate.
    hits : int
        How many to play.
    period : int
        Samples that both devices are asked to take at once.

    Raises
    ------
    SourceError
        If a device fails, the input does not hear the output, or no hit is recognised.
    SpecError
        If the detector reports none of the drums that can be played.
    """
    with _Ear(device, sample_rate, period) as ear:
        detector = detect(ear)
        drums = [label for label in detector.labels if label in DRUMS]
        if not drums:
            raise SpecError(f"latency is measured with {', '.join(DRUMS)}; let the detector report one of them")
        probe = Probe(ear.sample_rate, drums, hits)
        features, network = _Timed(detector._features, "process"), _Timed(detector._network, "step")
        detector._features, detector._network = cast(Any, features), cast(Any, network)
        ear.timed = (features, network)
        deliveries: list[Delivery] = []

        def on_event(event: Event) -> None:
            called = perf_counter()
            deliveries.append(Delivery(event, ear.read_at, features.seconds, network.seconds, called))

        engine = Engine(ear, detector, on_event)
        with engine, Speaker(probe.sound, ear.sample_rate, output, period) as speaker:
            _hear(engine, probe, ear, speaker)
        arrived, labels, parts = dissect(probe, ear.recording(), *_clocks(ear, speaker), deliveries)
        if not labels:
            raise SourceError(
                f"{arrived} of {hits} hits arrived, but none was recognised as a drum: "
                "turn the output up, or see with `dance listen` what the input hears"
            )
        return Measurement(
            ear.name,
            speaker.name,
            ear.sample_rate,
            period,
            hits,
            arrived,
            tuple(labels),
            parts,
            engine.stats.lost,
            speaker.underflows,
        )


def measure_virtually(
    detect: Callable[[Source], Detector], *, sample_rate: int = 44100, hits: int = 60, period: int = 256
) -> Measurement:
    """Measure through a `VirtualMicrophone`; see `measure`.

    Raises
    ------
    SourceError
        As `measure` does, and if PulseAudio is missing.
    """
    with VirtualMicrophone(sample_rate) as virtual:
        return measure(
            detect, device=virtual.name, output=virtual.name, sample_rate=sample_rate, hits=hits, period=period
        )


class _Ear(Microphone):
    """A microphone that keeps what it hears and when each block came."""

    def __init__(self, device: int | str | None, sample_rate: int | Sequence[int] | None, period: int) -> None:
        self.timed: tuple[_Timed, ...] = ()
        self.read_at = 0.0
        self.ends: list[int] = []
        self.times: list[float] = []
        self._blocks: list[NDArray[np.float32]] = []
        self._arrived = 0
        super().__init__(device, sample_rate, period=period)

    def read(self, out: NDArray[np.float32], timeout: float) -> Read:
        """Take samples; see `Source.read`."""
        read = super().read(out, timeout)
        self._blocks += [np.zeros(read.lost_before, np.float32), out[: read.count].copy()]
        for watch in self.timed:
            watch.seconds = 0.0
        self.read_at = perf_counter()
        return read

    def recording(self) -> NDArray[np.float32]:
        """Return all samples so far, zeros for lost ones."""
        return np.concatenate([np.zeros(0, np.float32), *self._blocks])

    def _on_audio(self, data: bytes, frames: int, times: Mapping[str, float], status: int) -> tuple[None, int]:
        self._arrived += frames
        self.times.append(perf_counter())
        self.ends.append(self._arrived)
        return super()._on_audio(data, frames, times, status)


class _Timed:
    """Stands in for an object and adds up the seconds spent in one of its methods."""

    def __init__(self, inner: Any, method: str) -> None:
        self.seconds = 0.0
        self._inner = inner
        self._call = getattr(inner, method)
        setattr(self, method, self._timed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _timed(self, *arguments: Any) -> Any:
        began = perf_counter()
        result = self._call(*arguments)
        self.seconds += perf_counter() - began
        return result


def _hear(engine: Engine, probe: Probe, ear: _Ear, speaker: Speaker) -> None:
    """Wait until the whole sound has come round; complain early if its first clicks do not."""
    checked = False
    ended_at = float("inf")
    while not engine.wait(_POLL_SECONDS) and perf_counter() < ended_at + _TAIL_SECONDS:
        if speaker.ended:
            ended_at = min(ended_at, perf_counter())
        position = speaker.periods[-1][0] if speaker.periods else 0
        if not checked and position > probe.head + _TAIL_SECONDS * probe.sample_rate:
            checked = True
            recording, (output, input) = ear.recording(), _clocks(ear, speaker)
            if probe.find_head(recording, _expected(output, input, recording, 0)) is None:
                raise _nothing_heard(recording)


def _clocks(ear: _Ear, speaker: Speaker) -> tuple[Clock, Clock]:
    """Return those of the sound played and of the recording.

    A block of the input comes when its samples are there or later: the soonest ones tell when they were there.
    The output asks for periods sooner or later as its buffer wants: the middle of it counts.
    """
    periods = list(speaker.periods)
    ends = list(ear.ends)  # appended after its time: never the longer of the two
    if not ends or not periods:
        raise _nothing_heard(ear.recording())
    output = Clock([first for first, _ in periods], [time for _, time in periods], ear.sample_rate, np.median)
    return output, Clock(ends, ear.times[: len(ends)], ear.sample_rate, np.min)


def _expected(output: Clock, input: Clock, recording: NDArray[np.float32], sample: int) -> int:
    """Return where a sample of the sound would be in the recording if it took no time."""
    return round((output.time(sample) - input.lag(len(recording) // 2)) * input.sample_rate)


def _report_of(hit: Attack, attack: int, deliveries: Sequence[Delivery]) -> Delivery | None:
    """Return the first report that can be of a hit whose attack is the sample `attack`."""
    for delivery in deliveries:
        event = delivery.event
        near = abs(event.sample - attack) <= TOLERANCE * event.sample_rate
        if near and event.label == hit.label and event.reported > attack:
            return delivery
    return None


def _nothing_heard(recording: NDArray[np.float32]) -> SourceError:
    peak = float(np.max(np.abs(recording), initial=0.0))
    if peak < _SILENT:
        return SourceError(
            "the input is silent: connect it to the output, unmute it, "
            "or name other devices (--device, --output; see `dance devices`)"
        )
    return SourceError(
        f"the input hears something (peak {20 * math.log10(peak):.0f} dB), but not what the output plays: "
        "turn it up, move the microphone closer, or name other devices (--device, --output)"
    )
