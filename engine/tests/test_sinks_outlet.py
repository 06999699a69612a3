"""An outlet: whatever its sink does, nobody else waits."""

import threading
from time import monotonic, sleep

import pytest
from stage import Script, detector, drums, until
from wires import hit

from dance import Engine, Event, SinkError, SpecError
from dance.sinks import Outlet


class Stuck:
    """A sink that takes nothing more until it is freed."""

    def __init__(self) -> None:
        self.begun, self.free = threading.Event(), threading.Event()

    def __call__(self, event: Event) -> None:
        self.begun.set()
        self.free.wait()

    def __str__(self) -> str:
        return "a wall"


def test_everything_arrives_in_order_before_the_end() -> None:
    told: list[Event] = []
    hits = [hit(time=i) for i in range(1000)]
    with Outlet(told.append, queue=1000) as outlet:
        for each in hits:
            outlet(each)
    assert told == hits
    assert (outlet.told, outlet.missed, outlet.report()) == (1000, 0, None)


def test_a_stuck_sink_delays_nobody_and_what_it_missed_is_counted() -> None:
    stuck, told = Stuck(), []
    outlet, other = Outlet(stuck, queue=4, patience=0.01), Outlet(told.append)
    outlet(hit())
    other(hit())
    assert stuck.begun.wait(60)
    for i in range(9):
        outlet(hit(time=i))
        other(hit(time=i))
    other.close()
    assert len(told) == 10
    outlet.close()
    assert (outlet.told, outlet.missed) == (0, 10)
    assert outlet.report() == "a wall missed 10 of 10 hits (too slow)"
    stuck.free.set()  # it goes on later, and counts nothing twice
    until(lambda: not any(thread.name == "dance a wall" for thread in threading.enumerate()))
    assert (outlet.told, outlet.missed) == (0, 10)


def test_the_newest_hits_are_kept() -> None:
    told: list[Event] = []
    gate = threading.Event()

    def slow(event: Event) -> None:
        gate.wait()
        told.append(event)

    with Outlet(slow, queue=2) as outlet:
        outlet(hit(time=0))
        until(lambda: outlet._busy)
        for i in range(1, 6):
            outlet(hit(time=i))
        gate.set()
    assert [event.time for event in told] == [0, 4, 5]
    assert (outlet.told, outlet.missed) == (3, 3)


def test_a_queue_without_room_is_refused() -> None:
    with pytest.raises(SpecError, match="room for 1 hit or more, not 0"):
        Outlet(print, queue=0)


def test_a_stuck_sink_loses_no_sample() -> None:
    stuck = Stuck()
    outlet = Outlet(stuck, queue=1, patience=0.01)
    with Engine(Script(drums(3.0)), detector(), outlet) as engine:
        assert engine.wait(60)
    outlet.close()
    assert engine.stats.seconds == 3.0
    assert engine.stats.events == outlet.missed > 8
    stuck.free.set()


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "Connection refused"), SinkError("no such light")])
def test_what_fails_is_counted_told_once_and_tried_again(error: Exception) -> None:
    told, problems = [], []

    def flaky(event: Event) -> None:
        if event.velocity < 0.5:
            raise error
        told.append(event)

    with Outlet(flaky, on_problem=problems.append) as outlet:
        for velocity in (0.1, 0.9, 0.2, 0.8):
            outlet(hit(velocity=velocity))
    assert [event.velocity for event in told] == [0.9, 0.8]
    assert outlet.problem is error
    words = "Connection refused" if isinstance(error, OSError) else "no such light"
    assert outlet.report() == f"flaky missed 2 of 4 hits ({words})"
    failure = f"flaky: {words}; everything else goes on, and this is tried again"
    assert problems == [failure, "flaky works again; 1 hit was missed"]  # and no more within a minute


def test_every_outage_and_its_end_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dance.sinks.outlet._QUIET_SECONDS", 0.0)
    problems = []

    def flaky(event: Event) -> None:
        if event.velocity < 0.5:
            raise OSError(101, "Network is unreachable")

    with Outlet(flaky, on_problem=problems.append) as outlet:
        for velocity in (0.9, 0.1, 0.1, 0.9, 0.9, 0.1, 0.9):
            outlet(hit(velocity=velocity))
    failure = "flaky: Network is unreachable; everything else goes on, and this is tried again"
    assert problems == [
        failure, "flaky works again; 2 hits were missed", failure, "flaky works again; 1 hit was missed",
    ]  # fmt: skip


def test_an_outage_that_began_in_the_quiet_minute_is_told_after_it_with_all_that_it_cost() -> None:
    problems = []

    def flaky(event: Event) -> None:
        if event.velocity < 0.5:
            raise OSError(101, "Network is unreachable")

    with Outlet(flaky, on_problem=problems.append) as outlet:
        for velocity in (0.1, 0.9, 0.1):
            outlet(hit(velocity=velocity))
        until(lambda: outlet.missed == 2)
        outlet._quiet_until = 0.0
        for velocity in (0.1, 0.9):
            outlet(hit(velocity=velocity))
    assert [line.partition(" ")[2] for line in problems[1::2]] == [
        "works again; 1 hit was missed", "works again; 2 hits were missed",
    ]  # fmt: skip


def test_who_is_told_of_problems_may_fail() -> None:
    told, closed = [], []

    class Flaky:
        def __call__(self, event: Event) -> None:
            if event.velocity < 0.5:
                raise OSError(101, "Network is unreachable")
            told.append(event)

        def close(self) -> None:
            closed.append(True)

    def tell(line: str) -> None:
        raise ValueError("I/O operation on closed file")

    outlet = Outlet(Flaky(), on_problem=tell)
    for velocity in (0.1, 0.9, 0.8):
        outlet(hit(velocity=velocity))
    with pytest.raises(ValueError, match="closed file"):
        outlet.close()
    assert (len(told), outlet.missed, closed) == (2, 1, [True])


def test_a_bug_in_a_sink_is_raised_at_the_end() -> None:
    told = []

    def buggy(event: Event) -> None:
        if event.velocity < 0.5:
            raise KeyError("oops")
        told.append(event)

    outlet = Outlet(buggy)
    outlet(hit(velocity=0.1))
    outlet(hit(velocity=0.9))
    with pytest.raises(KeyError, match="oops"):
        outlet.close()
    assert (len(told), outlet.missed) == (1, 1)
    outlet.close()  # once


def test_delay_holds_hits_back() -> None:
    times = []
    outlet = Outlet(lambda event: times.append(monotonic()), delay=0.05)
    began = monotonic()
    outlet(hit())
    until(lambda: times)
    assert times[0] - began >= 0.05
    outlet.close()


def test_hits_that_are_held_back_are_not_too_many() -> None:
    told = []
    with Outlet(told.append, delay=0.2) as outlet:
        for time in range(1000):
            outlet(hit(time=time))
        until(lambda: len(told) == 1000)
    assert (outlet.told, outlet.missed) == (1000, 0)


def test_hits_whose_time_has_come_are_too_many() -> None:
    stuck = Stuck()
    outlet = Outlet(stuck, queue=4, delay=0.001, patience=0.01)
    outlet(hit())
    assert stuck.begun.wait(60)
    for _ in range(9):
        outlet(hit())
        sleep(0.002)
    assert outlet.missed == 5
    outlet.close()
    stuck.free.set()


def test_what_is_held_back_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dance.sinks.outlet._MOST_HELD", 8)
    told = []
    with Outlet(told.append, queue=2, delay=3600) as outlet:
        for time in range(20):
            outlet(hit(time=time))
    assert [event.time for event in told] == list(range(12, 20))
    assert outlet.missed == 12


def test_at_the_end_nothing_is_held_back() -> None:
    told = []
    with Outlet(told.append, delay=3600) as outlet:
        outlet(hit())
    assert len(told) == 1


def test_after_the_end_hits_are_missed() -> None:
    told = []
    outlet = Outlet(told.append)
    outlet.close()
    outlet(hit())
    assert (told, outlet.missed) == ([], 1)


class Pulsing:
    """A sink that wants to be asked three times after a hit, and fails the first time."""

    def __init__(self) -> None:
        self.asked, self.left, self.closed, self.threads = 0, 0, False, set()

    def __call__(self, event: Event) -> None:
        self.left = 3

    def pulse(self) -> float | None:
        self.threads.add(threading.current_thread())
        self.asked += 1
        if self.asked == 1:
            raise OSError(101, "Network is unreachable")
        self.left -= 1
        return 0.001 if self.left > 0 else None

    def close(self) -> None:
        self.threads.add(threading.current_thread())
        self.closed = True


def test_a_sink_is_asked_at_the_start_after_a_hit_and_when_it_wants() -> None:
    sink = Pulsing()
    with Outlet(sink) as outlet:
        until(lambda: outlet.problem)
        assert sink.asked == 1
        outlet(hit())
        until(lambda: sink.asked == 4)
    assert sink.left == 0
    assert sink.closed
    assert len(sink.threads) == 1
    assert threading.current_thread() not in sink.threads
    assert outlet.missed == 0  # a pulse is no hit
