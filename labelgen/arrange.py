"""Other arrangements of a drummer's performance, as other bands would have asked for it.

Performances repeat a few habits: hats on every kick, never a kick under the snare. A network that
learns habits instead of sounds hears hats in every kick; these variations break the habits. Notes are
General MIDI numbers; labels follow the notes.

Contents
--------
arrange, add_percussion
"""

from collections.abc import Sequence

import numpy as np

from labelgen.kits import Hit, voice_of

KICK, STICK, SNARE, CLAP, FLOOR_TOM, RIDE, TAMBOURINE, MARACAS, CLAVES, SHAKER = 36, 37, 38, 39, 41, 51, 54, 70, 75, 82
HATS = ("hat_closed", "hat_open", "hat_pedal")
LATER = 0.004  # seconds: two drummers, or two hands, are never together to the sample


def arrange(hits: Sequence[Hit], rng: np.random.Generator) -> tuple[list[Hit], list[str]]:
    """Return the performance in another arrangement, and the names of the changes made.

    Each change comes by its own chance; most performances get none or one. What would leave nothing is not made.
    """
    result = list(hits)
    made = []

    def chance(probability: float, name: str) -> bool:
        drawn = bool(rng.random() < probability)
        if drawn:
            made.append(name)
        return drawn

    def swap(voices: tuple[str, ...], note: int) -> list[Hit]:
        return _swap(result, voices, note)

    def double(voice: str, note: int, share: float, level: tuple[float, float]) -> list[Hit]:
        return _double(result, (voice,), note, share, level, rng)

    if chance(0.14, "no hats"):
        result = [h for h in result if voice_of(h.note) not in HATS]
    elif chance(0.06, "ride for hats"):
        result = swap(HATS, RIDE)
    elif chance(0.04, "floor tom for hats"):
        result = swap(HATS, FLOOR_TOM)
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
    return (sorted(result), made) if result else (sorted(hits), [])


def add_percussion(hits: Sequence[Hit], rng: np.random.Generator) -> tuple[list[Hit], list[str]]:
    """Return the performance with side-sticks, shakers or tambourines, and the names of the changes made.

    At least one: it is called for songs that are to teach what these are not.
    """
    result, made = list(hits), []
    stick = rng.random()
    if stick < 0.4:  # verses on the rim, choruses on the drum
        made.append("side-stick in verses")
        section, first = float(rng.uniform(3, 9)), int(rng.integers(2))
        verses = [h for h in result if int(h.time / section) % 2 == first]
        choruses = [h for h in result if int(h.time / section) % 2 != first]
        result = _swap(verses, ("snare",), STICK) + choruses
    elif stick < 0.65:
        made.append("side-stick for snare")
        result = _swap(result, ("snare",), STICK)
    elif stick < 0.75:
        made.append("claves with snare")
        result = _double(result, ("snare",), CLAVES, float(rng.uniform(0.3, 1)), (0.5, 1.0), rng)
    shaken = int(rng.choice([MARACAS, SHAKER, TAMBOURINE]))
    name = "tambourine" if shaken == TAMBOURINE else "shaker"
    hats = rng.random()
    if hats < 0.3 or (hats < 0.6 and not made):
        made.append(f"{name} for hats")
        result = _swap(result, HATS, shaken)
    elif hats < 0.5 or not made:
        made.append(f"{name} with the band")
        result = _double(result, (*HATS, "snare", "rim"), shaken, float(rng.uniform(0.4, 1)), (0.5, 1.1), rng)
    return sorted(result), made


def _swap(hits: Sequence[Hit], voices: tuple[str, ...], note: int) -> list[Hit]:
    return [h._replace(note=note) if voice_of(h.note) in voices else h for h in hits]


def _double(
    hits: Sequence[Hit],
    voices: tuple[str, ...],
    note: int,
    share: float,
    level: tuple[float, float],
    rng: np.random.Generator,
) -> list[Hit]:
    """Let `note` sound together with a share of the hits of `voices`."""
    extra = [
        Hit(max(0.0, h.time + rng.normal(0, LATER)), note, float(np.clip(h.velocity * rng.uniform(*level), 0.05, 1)))
        for h in hits
        if voice_of(h.note) in voices and rng.random() < share
    ]
    return [*hits, *extra]
