"""The engine tells one consumer what the detector hears, whoever drives it, and ends cleanly whatever happens."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
from stage import Script, detector, drums, run, tiny, until

from dance import Engine, Event, Read, Settings, SourceError, SpecError
from dance._ring import Ring
from dance.sources import Source

SOUND = drums()


def expected(*items: np.ndarray | int) -> list[Event]:
    """Return what a detector says without an engine: arrays are heard, integers lost."""
    alone, events = detector(), []
    for item in items:
        if isinstance(item, int):
            alone.skip(item)
        else:
            events += alone.process(item)
    return events + alone.flush()


def no_threads() -> bool:
    return not any(thread.name == "dance engine" for thread in threading.enumerate())


def test_there_is_something_to_hear() -> None:
    assert len(expected(SOUND)) >= 10


@pytest.mark.parametrize("block", [1, 17, 441, 4096])
def test_run_tells_the_detectors_events_for_any_block(block: int) -> None:
    sound = SOUND[: 44100 if block == 1 else None]
    events: list[Event] = []
    source = Script(sound, block=block)
    stats = Engine(source, detector(), events.append).run()
    assert events == expected(sound)
    assert (stats.samples, stats.lost, stats.events, stats.dropped) == (len(sound), 0, len(events), 0)
    assert stats.seconds == len(sound) / 44100
    assert stats.busy > 0
    assert source.closed.is_set()


@pytest.mark.parametrize("queue", [0, -1])
def test_a_queue_without_room_is_refused(queue: int) -> None:
    with pytest.raises(SpecError, match=f"room for 1 event or more, not {queue}"):
        Engine(Script(), detector(), queue=queue)


def test_start_and_stop() -> None:
    events: list[Event] = []
    heard = detector().process(SOUND)
    source = Script(SOUND, done := threading.Event(), None)
    engine = Engine(source, detector(), events.append)
    engine.start()
    until(lambda: engine.stats.samples == len(SOUND) and len(events) == len(heard))
    assert not engine.wait(0)
    done.set()
    stats = engine.stop()  # the source would wait for ever
    assert engine.wait(0)
    assert stats.samples == len(SOUND)
    assert events == heard
    assert no_threads()
    assert engine.stop() == stats


def test_an_engine_lives_once() -> None:
    engine = Engine(Script(SOUND), detector(), print)
    engine.stop()
    assert engine.wait(0)
    for begin in (engine.run, engine.start):
        with pytest.raises(RuntimeError, match="make another"):
            begin()


def test_stopping_one_that_is_just_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, failed = Engine(Script(None), detector()), []

    def stop() -> None:
        try:
            engine.stop()
        except RuntimeError as error:
            failed.append(error)

    stopping, start = threading.Thread(target=stop), threading.Thread.start

    def slow(thread: threading.Thread) -> None:
        if thread.name == "dance engine":
            start(stopping)
            stopping.join(0.2)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slow)
    engine.start()
    stopping.join(60)
    assert not failed
    assert engine.wait(60)


def test_rates_must_agree() -> None:
    with pytest.raises(SpecError, match="48000"):
        Engine(Script(SOUND, sample_rate=48000), detector(44100))


def test_lost_samples_keep_the_clock() -> None:
    events: list[Event] = []
    engine = Engine(Script(SOUND, 12345, SOUND, 7), detector(), events.append)
    stats = engine.run()
    assert events == expected(SOUND, 12345, SOUND, 7)
    assert stats.lost == 12352
    assert [event.sample for event in events] != [event.sample for event in expected(SOUND, SOUND)]


class RingSource(Source):
    """What a microphone does, without one: another thread fills a small ring."""

    def __init__(self, capacity: int) -> None:
        self.sample_rate, self.live = 44100, True
        self.ring, self.finished = Ring(capacity), threading.Event()

    def read(self, out: np.ndarray, timeout: float) -> Read:
        finished = self.finished.is_set()
        count, lost = self.ring.read(out)
        return Read(count, lost, ended=finished and not count)

    def close(self) -> None:
        self.finished.set()


def test_a_slow_callback_loses_samples_and_says_how_many() -> None:
    source, events, full = RingSource(1 << 15), [], threading.Event()

    def slow(event: Event) -> None:
        events.append(event)
        if len(events) == 1:
            full.wait()

    engine = Engine(source, detector(), slow)
    engine.start()
    source.ring.write(SOUND[:22050])  # the first hit is in here
    until(lambda: events)
    stored = source.ring.write(SOUND[22050:])
    assert stored < len(SOUND) - 22050
    full.set()
    until(lambda: engine.stats.samples == 22050 + stored)
    assert source.ring.write(after := SOUND[:20000]) == 20000
    source.finished.set()
    assert engine.wait(60)
    stats = engine.stop()
    lost = len(SOUND) - 22050 - stored
    assert stats.lost == lost
    assert events == expected(SOUND[: 22050 + stored], lost, after)


def test_iterating() -> None:
    engine = Engine(Script(SOUND, 99, SOUND), detector())
    assert list(engine.events()) == expected(SOUND, 99, SOUND)
    assert engine.wait(0)
    assert no_threads()


def test_leaving_the_loop_ends_the_engine() -> None:
    source = Script(SOUND, None)
    for _ in Engine(source, detector()).events():
        break
    assert source.closed.is_set()
    assert no_threads()


def test_polling() -> None:
    begin, go_on = threading.Event(), threading.Event()
    engine = Engine(Script(begin, SOUND, go_on, 99, SOUND), detector())
    assert engine.poll() == []  # it has only been started
    begin.set()
    until(lambda: engine.stats.samples == len(SOUND))
    events = engine.poll()
    assert len(events) >= len(detector().process(SOUND)) - 3  # the last block is still being told
    go_on.set()
    while not engine.wait(0.001):
        events += engine.poll()
    assert events + engine.poll() == expected(SOUND, 99, SOUND)
    assert engine.poll() == []
    assert engine.stats.dropped == 0
    engine.stop()
    assert no_threads()


def test_polling_raises_what_happened_after_the_last_event() -> None:
    gate = threading.Event()
    engine = Engine(Script(gate, SOUND, SourceError("unplugged")), detector())
    assert engine.poll() == []
    gate.set()
    assert engine.wait(60)
    assert engine.poll() == detector().process(SOUND)
    with pytest.raises(SourceError, match="unplugged"):
        engine.poll()
    assert engine.poll() == []


def test_who_polls_too_seldom_misses_the_oldest() -> None:
    gate = threading.Event()
    engine = Engine(Script(gate, SOUND), detector(), queue=4)
    assert engine.poll() == []
    gate.set()
    assert engine.wait(60)
    every = expected(SOUND)
    assert engine.poll() == every[-4:]
    assert engine.stats.dropped == len(every) - 4


def test_one_consumer_at_a_time() -> None:
    engine = Engine(Script(SOUND), detector(), print)
    for ask in (engine.events, engine.aevents, engine.poll):
        with pytest.raises(RuntimeError, match="on_event"):
            ask()
    engine = Engine(Script(SOUND), detector())
    engine.events()
    for ask in (engine.events, engine.aevents, engine.poll):
        with pytest.raises(RuntimeError, match=r"events\(\)"):
            ask()


def test_a_full_queue_drops_the_oldest_and_counts() -> None:
    engine = Engine(Script(SOUND, live=True), detector(), queue=4)
    iterator = engine.events()
    engine.start()
    assert engine.wait(60)
    every = expected(SOUND)
    assert list(iterator) == every[-4:]
    assert engine.stats.dropped == len(every) - 4
    assert engine.stats.events == len(every)


def test_a_file_waits_for_its_consumer_instead() -> None:
    engine = Engine(Script(SOUND, live=False), detector(), queue=2)
    iterator = engine.events()
    engine.start()
    until(lambda: engine.stats.events == 3)  # the third waits
    assert not engine.wait(0)
    assert list(iterator) == expected(SOUND)
    assert engine.stats.dropped == 0


def test_stopping_frees_an_engine_that_waits_for_its_consumer() -> None:
    engine = Engine(Script(SOUND, live=False), detector(), queue=2)
    iterator = engine.events()
    engine.start()
    until(lambda: engine.stats.events == 3)  # the third waits
    engine.stop()
    assert list(iterator) == expected(SOUND)[:2]
    assert no_threads()


def test_without_a_consumer_nothing_is_missed() -> None:
    for live in (True, False):
        with Engine(Script(SOUND, live=live), detector(), queue=2) as engine:
            assert engine.wait(60)
        assert engine.stats.dropped == 0


def test_async_iterating() -> None:
    async def collect() -> list[Event]:
        engine = Engine(Script(SOUND, 99, SOUND), detector())
        return [event async for event in engine.aevents()]

    assert asyncio.run(collect()) == expected(SOUND, 99, SOUND)
    assert no_threads()


def test_the_event_loop_stays_free_and_leaving_early_is_clean() -> None:
    source = Script(SOUND, None)  # never ends by itself

    async def some(engine: Engine) -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        events = engine.aevents()
        async for _ in events:
            break
        waiting = asyncio.create_task(anext(events))
        before = ticks
        while ticks < before + 100:
            await asyncio.sleep(0)
        waiting.cancel()
        ticking.cancel()
        await asyncio.gather(waiting, ticking, return_exceptions=True)
        return ticks

    assert asyncio.run(some(Engine(source, detector()))) >= 100
    assert source.closed.is_set()
    assert no_threads()


def test_an_event_loop_that_is_closed_takes_nothing_along() -> None:
    resume = threading.Event()
    engine = Engine(source := Script(SOUND, resume, SOUND, None), detector())

    async def first() -> Event:
        async for event in engine.aevents():
            return event

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(first()).label
    loop.close()  # without the end of what was left early
    heard = engine.stats.samples
    resume.set()
    until(lambda: engine.stats.samples > heard)
    engine.stop()
    assert engine.wait(60)
    assert source.closed.is_set()
    assert no_threads()


class OopsError(Exception):
    pass


def raise_oops(event: Event) -> None:
    raise OopsError


def test_what_the_callback_raises_stops_the_engine_and_is_raised() -> None:
    source = Script(SOUND, None)
    with pytest.raises(OopsError):
        Engine(source, detector(), raise_oops).run()
    assert source.closed.is_set()

    engine = Engine(Script(SOUND, None), detector(), raise_oops)
    engine.start()
    assert engine.wait(60)
    with pytest.raises(OopsError):
        engine.stop()
    assert engine.stop().events == 1  # told once
    assert no_threads()

    with pytest.raises(OopsError), Engine(Script(SOUND, None), detector(), raise_oops) as engine:
        engine.wait(60)


class Unclosable(Script):
    """A script whose end fails as well."""

    def close(self) -> None:
        super().close()
        raise OopsError


def test_what_failed_first_is_raised_and_once() -> None:
    with pytest.raises(SourceError, match="unplugged"):
        Engine(Unclosable(SourceError("unplugged")), detector()).run()
    engine = Engine(Unclosable(SourceError("unplugged")), detector())
    assert engine.failure is None
    engine.start()
    assert engine.wait(60)
    assert engine.failure == "unplugged"
    with pytest.raises(SourceError, match="unplugged"):
        engine.stop()
    assert engine.stop().samples == 0

    for begin in (Engine.start, lambda engine: None):  # alone, the end's failure is told, too
        begin(engine := Engine(Unclosable(None), detector()))
        with pytest.raises(OopsError):
            engine.stop()
        engine.stop()
        assert engine.wait(0)
    assert no_threads()


def test_what_changes_settings_may_set_some() -> None:
    engine = Engine(Script(), detector())

    def how(settings: Settings) -> Settings:
        engine.configure(settings.with_label("kick", gate=0.1))
        return engine.settings.with_label("snare", gate=0.2)

    changing = threading.Thread(target=engine.change, args=(how,), daemon=True)
    changing.start()
    changing.join(30)
    assert [engine.settings.for_label(label).gate for label in ("kick", "snare")] == [0.1, 0.2]


def test_an_exception_in_the_body_comes_first() -> None:
    with pytest.raises(KeyError), Engine(Script(SOUND, None), detector(), raise_oops) as engine:
        engine.wait(60)
        raise KeyError
    assert no_threads()


def test_what_the_source_raises_is_raised_after_the_events_before_it() -> None:
    def source() -> Script:
        return Script(SOUND, SourceError("unplugged"))

    events: list[Event] = []
    with pytest.raises(SourceError, match="unplugged"):
        Engine(source(), detector(), events.append).run()
    heard = detector().process(SOUND)
    assert events == heard

    events = []
    with pytest.raises(SourceError, match="unplugged"):
        for event in Engine(source(), detector()).events():
            events.append(event)
    assert events == heard

    async def collect() -> None:
        async for event in Engine(source(), detector()).aevents():
            events.append(event)

    events = []
    with pytest.raises(SourceError, match="unplugged"):
        asyncio.run(collect())
    assert events == heard
    assert no_threads()


def test_ctrl_c_ends_run() -> None:
    source = Script(SOUND, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        Engine(source, detector(), lambda event: None).run()
    assert source.closed.is_set()


@pytest.mark.parametrize("aside", [False, True])
def test_the_callback_may_stop_the_engine(aside: bool) -> None:
    events: list[Event] = []

    def first_only(event: Event) -> None:
        events.append(event)
        engine.stop()

    engine = Engine(Script(SOUND, None, block=100), detector(), first_only)
    if aside:
        engine.start()
        assert engine.wait(60)
        engine.stop()
    else:
        engine.run()
    assert events == expected(SOUND)[:1]


def test_presence_jumps_and_decays_when_the_input_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    for module in ("engine", "base_engine"):
        monkeypatch.setattr(f"dance.{module}.monotonic", lambda: clock[0])
    alone = detector()
    sound = SOUND[: 44100 // 8 + 2000]  # up to shortly after the first hit
    assert alone.process(sound)
    with Engine(Script(sound, None), detector()) as engine:
        until(lambda: engine.stats.samples == len(sound))
        engine.stop()
        np.testing.assert_allclose(engine.presence(), alone.presence(), rtol=1e-6)
        assert engine.presence().max() > 0.1
        clock[0] += alone.spec.presence_seconds
        np.testing.assert_allclose(engine.presence(), alone.presence() / np.e, rtol=1e-6)
        assert engine.presence().dtype == np.float32


def test_hits_that_only_the_end_decides_are_present(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("engine", "base_engine"):
        monkeypatch.setattr(f"dance.{module}.monotonic", lambda: 1000.0)
    alone = detector()
    sound = next(SOUND[:end] for end in range(4410, len(SOUND), 221) if _late(end))
    alone.process(sound)
    alone.flush()
    engine = Engine(Script(sound), detector())  # its end comes alone, after all samples
    engine.run()
    np.testing.assert_allclose(engine.presence(), alone.presence(), rtol=1e-6)
    assert engine.presence().max() > 0.1


def _late(end: int) -> bool:
    """Return whether there is a hit before `end` that nothing but the end decides."""
    alone = detector()
    return not alone.process(SOUND[:end]) and bool(alone.flush())


@pytest.mark.parametrize("count", [-1, 1 << 20])
def test_a_source_that_says_what_cannot_be_is_told(count: int) -> None:
    source = Script(SOUND)
    source.read = lambda out, timeout: Read(count)
    with pytest.raises(SourceError, match=f"{count} samples"):
        Engine(source, detector()).run()


STALLED = """
import sys, threading, time
from pathlib import Path
from dance import Detector, Engine, Read

class Stalled:
    sample_rate, live = 44100, True
    closed = threading.Event()

    def read(self, out, timeout):
        return Read(0, ended=self.closed.wait(timeout))

    def close(self):
        self.closed.set()

def wakes():
    lines = [line for task in Path("/proc/self/task").iterdir() for line in (task / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary"))

with Engine(Stalled(), Detector.load(sys.argv[1], sample_rate=44100)) as engine:
    time.sleep(1)
    before, cpu = wakes(), time.process_time()
    engine.wait(2)
    print(wakes() - before, time.process_time() - cpu)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts wakes in /proc")
def test_nothing_spins_while_the_source_is_silent() -> None:
    """Eight wakes of the engine in two seconds, and a few of ours; a thread that polls or spins makes hundreds."""
    done = run("-c", STALLED, tiny())
    assert not done.stderr
    wakes, seconds = map(float, done.stdout.split())
    assert wakes < 50
    assert seconds < 0.5
