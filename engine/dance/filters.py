"""What may stand between the detector and a sink: each filter takes an `Event` and returns it, another one, or None.

None drops the event. Filters are plain callables, so a function of your own is one, too; ``through(sink, Above(0.3),
Every(4))`` puts some before a sink. Amounts hold for all drums, or label by label (``{"kick": 4}``; labels that are
missing pass unchanged). Times are seconds of the stream's clock, except in `Envelope`, which follows the wall clock.

Contents
--------
Filter, Above, Every, Gap, Quantise, Shift, Envelope, chain, through
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from time import monotonic

from .errors import SpecError
from .events import Event

Filter = Callable[[Event], Event | None]

_JUST_NOW = 0.2  # seconds: whoever marks a hit by hand comes after it, by this much at most
_WHOLE = "a whole number, "
_NOTHING = 0.002  # an envelope below this counts as zero: less than one step of an 8-bit colour


class Above:
    """Passes hits that are at least this hard.

    A `gate` in the settings of the detector is stricter: there a softer hit does not even begin a refractory time.

    Parameters
    ----------
    velocity : float or mapping from label to float
        0..1.

    Raises
    ------
    SpecError
        If a velocity is out of range.
    """

    def __init__(self, velocity: float | Mapping[str, float]) -> None:
        self._velocity = _Amount("velocity", velocity, 0, 1)

    def __call__(self, event: Event) -> Event | None:
        """Return the hit if it is hard enough."""
        return event if event.velocity >= self._velocity(event.label, 0.0) else None


class Every:
    """Passes the first hit of a drum and every n-th after it.

    Parameters
    ----------
    n : int or mapping from label to int
        At least 1.

    Raises
    ------
    SpecError
        If an amount is less than 1 or not a whole number.
    """

    def __init__(self, n: int | Mapping[str, int]) -> None:
        self._n = _Amount("every", n, 1, math.inf, _WHOLE)
        self._counts: dict[str, int] = {}
        self._times: dict[str, float] = {}

    def __call__(self, event: Event) -> Event | None:
        """Return the hit if its turn has come."""
        count = self._counts.get(event.label, 0)
        self._counts[event.label] = count + 1
        self._times[event.label] = monotonic()
        return event if count % self._n(event.label, 1) == 0 else None

    def restart(self) -> None:
        """Count anew: now is the one. It is the next hit of each drum, or the last if it came just now."""
        now = monotonic()
        for label, time in list(self._times.items()):
            self._counts[label] = 1 if now - time < _JUST_NOW else 0


class Gap:
    """Passes a hit when the last one passed of the same drum was at least this long ago.

    Parameters
    ----------
    seconds : float or mapping from label to float
        At least 0.

    Raises
    ------
    SpecError
        If a time is negative or not a number.
    """

    def __init__(self, seconds: float | Mapping[str, float]) -> None:
        self._seconds = _Amount("gap", seconds, 0, math.inf)
        self._passed: dict[str, float] = {}

    def __call__(self, event: Event) -> Event | None:
        """Return the hit if it is far enough from the one before."""
        last = self._passed.get(event.label, -math.inf)
        # A time before the last one belongs to another stream, whose clock began anew.
        if last <= event.time < last + self._seconds(event.label, 0.0):
            return None
        self._passed[event.label] = event.time
        return event


class Quantise:
    """Rounds velocities to `steps` values, 1/steps to 1: no hit becomes nothing.

    Parameters
    ----------
    steps : int or mapping from label to int
        At least 1; with 1, every hit has full velocity.

    Raises
    ------
    SpecError
        If an amount is less than 1 or not a whole number.
    """

    def __init__(self, steps: int | Mapping[str, int]) -> None:
        self._steps = _Amount("quantise", steps, 1, math.inf, _WHOLE)

    def __call__(self, event: Event) -> Event:
        """Return the hit with a rounded velocity."""
        steps = self._steps(event.label, 0)
        return replace(event, velocity=max(round(event.velocity * steps), 1) / steps) if steps else event


class Shift:
    """Moves hits on the clock: what `Event.time` says, not when it is told. Their delay stays what it was.

    Parameters
    ----------
    seconds : float or callable
        Positive is later. A callable is asked at every hit, as in ``Shift(lambda: engine.settings.offset)``.
    """

    def __init__(self, seconds: float | Callable[[], float]) -> None:
        self._seconds = seconds if callable(seconds) else lambda: seconds

    def __call__(self, event: Event) -> Event:
        """Return the hit at another time."""
        samples = round(self._seconds() * event.sample_rate)
        if samples == 0:
            return event
        return replace(event, sample=event.sample + samples, reported=event.reported + samples)


class Envelope:
    """How present each drum is: jumps to a hit's velocity, holds it, decays. Passes every hit unchanged.

    What `Engine.presence` is for the detector, this is for what has passed the filters before it. One thread may tell
    it hits while others ask for `values`.

    Parameters
    ----------
    labels : iterable of str
        In the order of `values`.
    hold : float
        Seconds at full value.
    decay : float
        Seconds in which it then falls to 1/e.

    Raises
    ------
    SpecError
        If `hold` is negative or `decay` not above 0.
    """

    def __init__(self, labels: Iterable[str], *, hold: float = 0.0, decay: float = 0.15) -> None:
        if not hold >= 0 or not decay > 0:
            raise SpecError(f"hold must be 0 or more and decay more than 0 seconds, not {hold:g} and {decay:g}")
        self._hold, self._decay = hold, decay
        self._hits = dict.fromkeys(labels, (0.0, 0.0))  # velocity, and when it begins to decay

    def __call__(self, event: Event) -> Event:
        """Note the hit, and return it."""
        now = monotonic()
        present = self._at(self._hits.get(event.label, (0.0, 0.0)), now)
        # a new table each time: who iterates over the old one is not disturbed
        self._hits = {**self._hits, event.label: (max(event.velocity, present), now + self._hold)}
        return event

    def values(self) -> dict[str, float]:
        """Return each drum's value now, 0..1; exactly 0 when nothing is left."""
        now = monotonic()
        return {label: self._at(hit, now) for label, hit in self._hits.items()}

    def _at(self, hit: tuple[float, float], now: float) -> float:
        velocity, since = hit
        value = velocity * math.exp(min(since - now, 0.0) / self._decay)
        return value if value >= _NOTHING else 0.0


def chain(*filters: Filter) -> Filter:
    """Return the filter that is all of these, one after the other."""

    def passed(event: Event) -> Event | None:
        told: Event | None = event
        for each in filters:
            if told is None:
                return None
            told = each(told)
        return told

    return passed


def through(sink: Callable[[Event], object], *filters: Filter) -> Callable[[Event], None]:
    """Return a sink that tells `sink` what passes all of these filters."""
    passed = chain(*filters)

    def tell(event: Event) -> None:
        if (told := passed(event)) is not None:
            sink(told)

    return tell


class _Amount:
    """One number for all drums, or a number for each that is named; checked."""

    def __init__(self, name: str, amount: float | Mapping[str, float], low: float, high: float, kind: str = "") -> None:
        values = list(amount.values()) if isinstance(amount, Mapping) else [amount]
        for value in values:
            if not low <= value <= high or (kind and value % 1 != 0):
                limits = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
                raise SpecError(f"{name} must be {kind}{limits}, not {value!r}")
        self._amount = amount

    def __call__(self, label: str, default: float) -> float:
        return self._amount.get(label, default) if isinstance(self._amount, Mapping) else self._amount
