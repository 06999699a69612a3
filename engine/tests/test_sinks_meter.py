"""The meter on a terminal."""

import io
from functools import partial

import numpy as np
import pytest

from dance import Stats
from dance.colours import COLOURS

pytest.importorskip("rich")
from rich.console import Console
from rich.live import Live

from dance.sinks import meter


def test_a_drum_has_its_colour_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    for labels in (["snare"], ["kick", "snare"]):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, color_system="truecolor", width=80)
        monkeypatch.setattr(meter, "Live", partial(Live, console=console))
        with meter.Meter(labels, "song") as shown:
            shown.draw(np.ones(len(labels), np.float32), Stats(44100))
        (line,) = {line for line in screen.getvalue().splitlines() if "snare" in line}
        red, green, blue = bytes.fromhex(COLOURS["snare"][1:])
        assert f"38;2;{red};{green};{blue}m" in line
