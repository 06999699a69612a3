"""Which colour a drum has, the same in every picture.

Contents
--------
COLOURS, colour
"""

from .labels import OTHER

COLOURS = {
    "kick": "#e4572e",
    "snare": "#f3a712",
    "hihat": "#29b6c6",
    "tom": "#a05cc0",
    "cymbal": "#4caf50",
    OTHER: "#4a7dff",
}
"""Red, green and blue as web pages write them."""


def colour(label: str) -> str:
    """Return a label's colour; one that the table does not know has the colour of other percussion."""
    return COLOURS.get(label, COLOURS[OTHER])
