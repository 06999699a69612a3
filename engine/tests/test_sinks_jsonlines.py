"""A line of JSON per hit."""

import io
import json

from wires import hit

from dance.sinks import JsonLines, Outlet


def test_each_hit_is_a_line() -> None:
    text = io.StringIO()
    with Outlet(JsonLines(text)) as outlet:
        outlet(hit("kick", 0.123456, time=1.0))
        outlet(hit("snare", 1.0, time=2.0))
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert lines[0] == {"label": "kick", "velocity": 0.123, "confidence": 0.9, "time": 1.0, "delay": 0.00907}
    assert [line["label"] for line in lines] == ["kick", "snare"]
