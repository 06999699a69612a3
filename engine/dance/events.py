"""The one thing that the engine tells: a drum was hit.

Times are integers on the stream's own sample clock; seconds exist only as derived properties.

Contents
--------
Event
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One drum hit.

    Attributes
    ----------
    label : str
        Which drum, one of the model's labels.
    velocity : float
        How hard, 0..1.
    confidence : float
        The network's onset activation at the decision, 0..1.
    sample : int
        Estimated attack, in samples since the stream's start.
    reported : int
        Samples of the stream that must have arrived before this decision can be made; the same
        for any block size.
    sample_rate : int
        Samples per second of the stream's clock.
    """

    label: str
    velocity: float
    confidence: float
    sample: int
    reported: int
    sample_rate: int

    @property
    def time(self) -> float:
        """Estimated attack in seconds since the stream's start."""
        return self.sample / self.sample_rate

    @property
    def delay(self) -> float:
        """Seconds of audio between the estimated attack and the decision."""
        return (self.reported - self.sample) / self.sample_rate
