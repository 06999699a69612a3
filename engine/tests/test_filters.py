"""Filters between the detector and a sink."""

import math
import threading
from time import monotonic

import pytest

from dance import Event, SpecError
from dance.filters import Above, Envelope, Every, Filter, Gap, Quantise, Shift, chain, through

RATE = 44100


def hit(label: str = "kick", velocity: float = 0.5, time: float = 0.0) -> Event:
    sample = round(time * RATE)
    return Event(label, velocity, 0.9, sample, sample + 400, RATE)


def passed(each: Filter, *events: Event) -> list[Event]:
    return [told for event in events if (told := each(event)) is not None]


def test_above_passes_hard_hits() -> None:
    hits = [hit(velocity=v) for v in (0.1, 0.3, 0.29, 1.0)]
    assert passed(Above(0.3), *hits) == [hits[1], hits[3]]
    assert passed(Above({"snare": 0.5}), hit(velocity=0.1), hit("snare", 0.4)) == [hit(velocity=0.1)]


def test_every_passes_the_first_and_each_nth_of_a_drum() -> None:
    kicks = [hit(time=i) for i in range(9)]
    snares = [hit("snare", time=i + 0.5) for i in range(9)]
    mixed = sorted([*kicks, *snares], key=lambda event: event.sample)
    assert passed(Every({"kick": 4}), *mixed) == sorted([*kicks[::4], *snares], key=lambda event: event.sample)
    assert passed(Every(3), *mixed) == sorted([*kicks[::3], *snares[::3]], key=lambda event: event.sample)


def test_a_tap_makes_the_hit_that_just_came_the_first() -> None:
    every = Every(4)
    assert [bool(every(hit())) for _ in range(3)] == [True, False, False]
    every.restart()  # the third is the one now
    assert [bool(every(hit())) for _ in range(8)] == [False, False, False, True] * 2


def test_a_tap_before_a_hit_makes_the_next_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("dance.filters.monotonic", lambda: now)
    every = Every(4)
    every(hit())
    now += 0.4
    every.restart()
    assert [bool(every(hit())) for _ in range(5)] == [True, False, False, False, True]


def test_gap_counts_from_the_last_that_passed_and_by_drum() -> None:
    gap = Gap(0.1)
    times = (0.0, 0.06, 0.12, 0.2, 0.23)
    assert [event.time for event in passed(gap, *(hit(time=time) for time in times))] == pytest.approx([0, 0.12, 0.23])
    assert gap(hit("snare", time=0.24)) is not None


def test_gap_lets_a_new_stream_begin() -> None:
    gap = Gap(60.0)
    assert gap(hit(time=50.0)) is not None
    assert gap(hit(time=1.0)) is not None


def test_quantise_keeps_every_hit_a_hit() -> None:
    velocities = [Quantise(4)(hit(velocity=v)).velocity for v in (0.0, 0.1, 0.3, 0.49, 0.8, 1.0)]
    assert velocities == [0.25, 0.25, 0.25, 0.5, 0.75, 1.0]
    assert Quantise({"snare": 1})(hit(velocity=0.3)).velocity == 0.3
    assert Quantise({"snare": 1})(hit("snare", velocity=0.3)).velocity == 1


def test_shift_moves_the_time_and_keeps_the_delay() -> None:
    before = hit(time=1.0)
    after = Shift(-0.25)(before)
    assert after.time == pytest.approx(0.75)
    assert after.delay == before.delay
    offset = 0.0
    live = Shift(lambda: offset)
    assert live(before) is before
    offset = 0.5
    assert live(before).time == pytest.approx(1.5)


def test_envelope_jumps_holds_and_decays(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10.0
    monkeypatch.setattr("dance.filters.monotonic", lambda: now)
    envelope = Envelope(["kick", "snare"], hold=0.2, decay=0.1)
    assert envelope.values() == {"kick": 0.0, "snare": 0.0}
    assert envelope(hit(velocity=0.8)) == hit(velocity=0.8)
    now += 0.2
    assert envelope.values()["kick"] == pytest.approx(0.8)
    now += 0.1
    assert envelope.values() == {"kick": pytest.approx(0.8 / math.e), "snare": 0.0}
    envelope(hit(velocity=0.1))  # softer than what is still there
    assert envelope.values()["kick"] == pytest.approx(0.8 / math.e)
    now += 2.0
    assert envelope.values()["kick"] == 0.0


def test_envelope_may_be_asked_while_it_is_told() -> None:
    envelope = Envelope(["kick"])
    failures: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                assert 0 <= envelope.values()["kick"] <= 1
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until = monotonic() + 0.1
    while monotonic() < until:
        envelope(hit(f"label {monotonic()}"))  # one that it did not know: the table grows meanwhile
    done.set()
    thread.join()
    assert not failures


def test_filters_follow_one_another() -> None:
    told: list[Event] = []
    sink = through(told.append, Above(0.3), Every(2), Quantise(2))
    for velocity in (0.4, 0.1, 0.9, 0.2, 0.8):
        sink(hit(velocity=velocity))
    assert [event.velocity for event in told] == [0.5, 1.0]  # 0.4, then 0.8: soft hits are not counted
    assert chain()(hit()) == hit()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Above(1.5),
        lambda: Above({"kick": -0.1}),
        lambda: Every(0),
        lambda: Every(2.5),  # type: ignore[arg-type]
        lambda: Every(math.inf),  # type: ignore[arg-type]
        lambda: Gap(-1),
        lambda: Gap(math.nan),
        lambda: Quantise(0),
        lambda: Envelope(["kick"], decay=0),
        lambda: Envelope(["kick"], hold=-1),
    ],
)
def test_what_makes_no_sense_is_refused(make: object) -> None:
    with pytest.raises(SpecError):
        make()
