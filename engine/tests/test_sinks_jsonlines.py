"""A line of JSON per hit."""

import io
import json

import pytest
from wires import hit

from dance.sinks import JsonLines, Outlet


class Disk(io.StringIO):
    """A text file on a disk that may be full after half a line."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            super().write(text[: len(text) // 2])
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_each_hit_is_a_line() -> None:
    text = io.StringIO()
    with Outlet(JsonLines(text)) as outlet:
        outlet(hit("kick", 0.123456, time=1.0))
        outlet(hit("snare", 1.0, time=2.0))
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert lines[0] == {"label": "kick", "velocity": 0.123, "confidence": 0.9, "time": 1.0, "delay": 0.00907}
    assert [line["label"] for line in lines] == ["kick", "snare"]


def test_after_a_failed_write_a_line_of_its_own_begins() -> None:
    disk = Disk()
    lines = JsonLines(disk)
    lines(hit("kick"))
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        lines(hit("snare"))
    disk.full = False
    for label in ("hihat", "tom"):
        lines(hit(label))
    whole, torn, *rest = disk.getvalue().splitlines()
    assert [json.loads(line)["label"] for line in (whole, *rest)] == ["kick", "hihat", "tom"]
    assert torn.startswith('{"label":"snare"')
