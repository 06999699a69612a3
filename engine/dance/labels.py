"""The one table of drum names: which sound carries which label.

Claps count as snare (they are the backbeat). Side-stick, rim click, shaker, tambourine, cowbell and
other percussion are `OTHER`: never an event, but taught as what a drum is not.

Contents
--------
LABELS, OTHER, GENERAL_MIDI, MDB, ONE_SHOT
"""

LABELS = ("kick", "snare", "hihat", "tom", "cymbal")
OTHER = "other"

GENERAL_MIDI: dict[int, str] = {
    **dict.fromkeys((35, 36), "kick"),
    **dict.fromkeys((38, 39, 40), "snare"),
    **dict.fromkeys((42, 44, 46), "hihat"),
    **dict.fromkeys((41, 43, 45, 47, 48, 50), "tom"),
    **dict.fromkeys((49, 51, 52, 53, 55, 57, 59), "cymbal"),
}
"""Note numbers of the General MIDI drum channel; those not named are `OTHER`."""

MDB: dict[str, str] = {
    "KD": "kick",
    "SD": "snare",
    "HH": "hihat",
    "TT": "tom",
    "CY": "cymbal",
    "OT": OTHER,
}
"""Classes of MDB Drums (Southall et al., ISMIR 2017)."""

ONE_SHOT: dict[str, str] = {
    "kick": "kick",
    "snare": "snare",
    "clap": "snare",
    "hat_closed": "hihat",
    "hat_open": "hihat",
    "hat_pedal": "hihat",
    "tom": "tom",
    "crash": "cymbal",
    "cymbal": "cymbal",
    "ride": "cymbal",
    "rim": OTHER,
    "perc": OTHER,
}
"""Classes of one-shot samples, as sample packs name them."""
