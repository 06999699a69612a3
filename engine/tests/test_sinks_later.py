"""A sink that is waited for."""

import pytest
from stage import until
from wires import hit

from dance import Event, SinkError
from dance.errors import AbsentError
from dance.sinks import Later, Outlet


class Place:
    """Where there is a light, once it is plugged in."""

    def __init__(self) -> None:
        self.there, self.tried, self.said = False, 0, []
        self.light = Light()

    def make(self) -> "Light":
        self.tried += 1
        if not self.there:
            raise AbsentError("no light")
        return self.light


class Light:
    """A sink with everything that one may have."""

    def __init__(self) -> None:
        self.told, self.asked, self.closed = [], 0, False

    def __call__(self, event: Event) -> None:
        self.told.append(event)

    def pulse(self) -> float | None:
        self.asked += 1
        return None

    def close(self) -> None:
        self.closed = True

    def __str__(self) -> str:
        return "the light"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("dance.sinks.later._AGAIN_SECONDS", 0.01)
    return Place()


def test_what_is_there_at_once_is_like_itself(place: Place) -> None:
    place.there = True
    sink = Later(place.make, "a light", place.said.append)
    assert str(sink) == "the light"
    with Outlet(sink) as outlet:
        outlet(hit())
    assert (outlet.told, place.light.asked, place.light.closed, place.said) == (1, 2, True, [])


def test_what_is_not_there_is_waited_for_and_misses_hits(place: Place) -> None:
    problems: list[str] = []
    with Outlet(Later(place.make, "a light", place.said.append), on_problem=problems.append) as outlet:
        assert (outlet.name, place.said) == ("a light", ["no light; trying again"])
        outlet(hit())
        until(lambda: outlet.missed == 1 and place.tried > 3)
        assert outlet.report() == "a light missed 1 of 1 hits (no light)"
        place.there = True
        until(lambda: len(place.said) > 1)
        outlet(hit("snare"))
        until(lambda: place.light.told)
    assert place.said == ["no light; trying again", "the light works"]
    assert (problems, outlet.told, outlet.missed, place.light.closed) == ([], 1, 1, True)


def test_it_is_not_tried_all_the_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dance.sinks.later._AGAIN_SECONDS", 3600.0)
    with Outlet(Later(place.make, "a light", place.said.append)) as outlet:
        for _ in range(5):
            outlet(hit())
        until(lambda: outlet.missed == 5)
    assert place.tried == 1


def test_what_never_comes_ends(place: Place) -> None:
    Outlet(Later(place.make, "a light", place.said.append)).close()


def test_what_waiting_does_not_mend_is_refused() -> None:
    def make() -> Light:
        raise SinkError("no library")

    with pytest.raises(SinkError, match="no library"):
        Later(make, "a light", print)


def test_what_comes_and_is_wrong_is_told_and_tried_again(place: Place) -> None:
    problems: list[str] = []
    wrong = True

    def make() -> Light:
        place.tried += 1
        if wrong:
            raise SinkError("70000 LEDs") if place.tried > 1 else AbsentError("no light")
        return place.light

    with Outlet(Later(make, "a light", place.said.append), on_problem=problems.append):
        until(lambda: problems)
        wrong = False
        until(lambda: len(place.said) > 1)
    assert problems == ["a light: 70000 LEDs; everything else goes on, and this is tried again"]
