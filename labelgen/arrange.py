"""Other arrangements of a drummer's performance, as other bands would have asked for it.

Performances repeat a few habits: hats on every kick, never a kick under the snare. A network that
learns habits instead of sounds hears hats in every kick; these variations break the habits. Notes are
General MIDI numbers; labels follow the notes.

Contents
--------
arrange
"""

from collections.abc import Sequence

import numpy as np

from labelgen.kits import Hit, voice_of

KICK, STICK, SNARE, CLAP, FLOOR_TOM, RIDE, TAMBOURINE = 36, 37, 38, 39, 41, 51, 54
LATER = 0.004  # seconds: two drummers, or two hands, are never together to the sample


def arrange(hits: Sequence[Hit], rng: np.random.Generator) -> tuple[list[Hit], list[str]]:
    """Return the performance in another arrangement, and the names of the changes made.

    Each change comes by its own chance; most performances get none or one.
    """
    result = list(hits)
    made = []

    def chance(probability: float, name: str) -> bool:
        drawn = bool(rng.random() < probability)
        if drawn:
            made.append(name)
        return drawn

    def swap(voices: tuple[str, ...], note: int) -> list[Hit]:
        return [h._replace(note=note) if voice_of(h.note) in voices else h for h in result]

    def double(voice: str, note: int, share: float, level: tuple[float, float]) -> list[Hit]:
        """Let `note` sound together with a share of the hits of `voice`."""
        extra = [
            Hit(
                max(0.0, h.time + rng.normal(0, LATER)), note, float(np.clip(h.velocity * rng.uniform(*level), 0.05, 1))
            )
            for h in result
            if voice_of(h.note) == voice and rng.random() < share
        ]
        return result + extra

    hats = ("hat_closed", "hat_open", "hat_pedal")
    if chance(0.14, "no hats"):
        result = [h for h in result if voice_of(h.note) not in hats]
    elif chance(0.06, "ride for hats"):
        result = swap(hats, RIDE)
    elif chance(0.04, "floor tom for hats"):
        result = swap(hats, FLOOR_TOM)
    if chance(0.08, "no cymbals"):
        result = [h for h in result if voice_of(h.note) not in ("crash", "cymbal", "ride")]
    if chance(0.08, "side-stick for snare"):
        result = swap(("snare",), STICK)
    elif chance(0.07, "clap with snare"):
        result = double("snare", CLAP, 1.0, (0.6, 1.1))
    if chance(0.14, "kick under snare"):
        result = double("snare", KICK, float(rng.uniform(0.5, 1)), (0.7, 1.1))
    if chance(0.05, "no kick"):
        result = [h for h in result if voice_of(h.note) != "kick"]
    if chance(0.05, "tambourine with snare"):
        result = double("snare", TAMBOURINE, 1.0, (0.5, 1.0))
    elif chance(0.04, "tambourine with hats"):
        result = double("hat_closed", TAMBOURINE, 1.0, (0.4, 0.9))
    return sorted(result), made
