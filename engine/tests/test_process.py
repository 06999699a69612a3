"""An engine in another process is an engine: same events, same errors, and both processes end, however one ends."""

import asyncio
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from elsewhere import Duck, Played, die, lingering, refuse
from stage import ROOT, Script, detector, drums, tiny, until

from dance import DanceError, Event, LabelSettings, ProcessEngine, Settings, SoundFile, SourceError, SpecError, process

SOUND = drums()
HEARD = detector().process(SOUND)
ENDED = HEARD + detector().flush()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.npy"
    np.save(path, SOUND)
    return path


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    """Return a file that is not there yet; to make it is a sign to `Played`."""
    return tmp_path / "sign"


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not multiprocessing.active_children()
    assert not [thread for thread in threading.enumerate() if thread.name == "dance engine"]


def engine(source, *arguments, **options) -> ProcessEngine:
    return ProcessEngine(source, *arguments, model=tiny(), **options)


def test_run(sound: Path) -> None:
    assert HEARD == ENDED  # or these tests would have to tell the two apart
    events: list[Event] = []
    here = engine(partial(Played, sound), events.append)
    alone = detector()
    assert (here.labels, here.sample_rate, here.latency) == (alone.labels, 44100, alone.latency)
    stats = here.run()
    assert events == HEARD
    assert (stats.samples, stats.lost, stats.events, stats.dropped) == (len(SOUND), 0, len(HEARD), 0)
    assert stats.busy > 0
    for begin in (here.run, here.start):
        with pytest.raises(RuntimeError, match="make another"):
            begin()


def test_start_and_stop(sound: Path, sign: Path) -> None:
    events: list[Event] = []
    with engine(partial(Played, sound, sign), events.append) as here:
        until(lambda: len(events) == len(HEARD))
        assert not here.wait(0)
    assert here.wait(0)
    assert events == HEARD
    assert here.stop() == here.stats


def test_one_that_never_begins(sound: Path) -> None:
    here = engine(partial(Played, sound))
    assert here.stop().samples == 0
    assert list(here.events()) == []


def test_iterating_polling_and_async(sound: Path) -> None:
    assert list(engine(partial(Played, sound)).events()) == HEARD
    for event in engine(partial(Played, sound)).events():
        assert event == HEARD[0]
        break

    async def collect() -> list[Event]:
        return [event async for event in engine(partial(Played, sound)).aevents()]

    assert asyncio.run(collect()) == HEARD
    events, here = [], engine(partial(Played, sound))
    while not here.wait(0.001):
        events += here.poll()
    assert events + here.poll() == HEARD
    here.stop()


def test_presence(sound: Path, sign: Path) -> None:
    with engine(partial(Played, sound, sign)) as here:
        until(lambda: here.presence().max() > 0.1)
        assert here.presence().dtype == np.float32
        assert here.presence().shape == (3,)
        assert here.presence().max() <= 1
        until(lambda: here.stats.samples == len(SOUND))
        until(lambda: here.presence().max() < 0.01)  # decays though nothing comes


def test_settings(sound: Path, sign: Path) -> None:
    muted = Settings({"snare": LabelSettings(mute=True)})
    events: list[Event] = []
    with engine(partial(Played, sound, sign, "again"), events.append, settings=muted) as here:
        assert here.settings == muted
        until(lambda: here.stats.samples == len(SOUND))
        until(lambda: len(events) == len([event for event in HEARD if event.label != "snare"]))
        with pytest.raises(SpecError, match="cowbell"):
            here.configure(Settings({"cowbell": LabelSettings()}))
        assert here.settings == muted
        here.configure(Settings(dict.fromkeys(("kick", "hihat"), LabelSettings(mute=True))))
        until(lambda: here.presence()[[0, 2]].max() == 0)  # it has arrived
        sign.touch()
        assert here.wait(60)
    assert {event.label for event in events if event.sample < len(SOUND)} == {"kick", "hihat"}
    assert {event.label for event in events if event.sample > len(SOUND)} == {"snare"}


def test_a_parent_that_is_busy_loses_nothing(sound: Path, sign: Path) -> None:
    """The callback holds everything up here while there the whole sound is heard."""
    events: list[Event] = []
    done = threading.Event()

    def slow(event: Event) -> None:
        done.wait()
        events.append(event)

    with engine(partial(Played, sound, sign), slow) as here:
        until(lambda: here.stats.samples == len(SOUND))
        assert not events
        done.set()
        until(lambda: len(events) == len(HEARD))
    assert events == HEARD
    assert (here.stats.lost, here.stats.dropped) == (0, 0)


def test_queues_drop_the_oldest_if_live_and_wait_if_not(sound: Path) -> None:
    here = engine(partial(Played, sound), queue=4)
    iterator = here.events()
    here.start()
    assert here.wait(60)
    events = list(iterator)
    assert events == HEARD[-4:]
    assert here.stats.dropped == len(HEARD) - 4
    assert list(engine(partial(Played, sound, live=False), queue=2).events()) == HEARD


def test_a_source_that_offers_no_more_than_it_must(sound: Path) -> None:
    assert list(engine(partial(Duck, sound)).events()) == HEARD


def test_what_is_wrong_at_the_beginning_is_raised_at_once(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no input device"):
        engine(refuse)
    with pytest.raises(SourceError, match="no such file"):
        engine(partial(SoundFile, tmp_path / "none.wav"))
    with pytest.raises(SpecError, match="no model file"):
        ProcessEngine(partial(Played, sound), model=tmp_path / "none.onnx")
    with pytest.raises(SpecError, match="cowbell"):
        engine(partial(Played, sound), labels=["cowbell"])
    with pytest.raises(SpecError, match="room for 1 event or more"):
        engine(partial(Played, sound), queue=0)
    with pytest.raises(FileNotFoundError) as caught:
        engine(partial(Played, tmp_path / "none.npy"))
    assert "elsewhere.py" in caught.value.__notes__[0]


def test_a_source_that_cannot_be_made_over_there_is_refused() -> None:
    with pytest.raises(SpecError, match="top level"):
        engine(lambda: None)
    with pytest.raises(SpecError, match="what makes a source"):
        engine(Script(SOUND))


@pytest.mark.parametrize(("then", "error", "text"), [("fail", SourceError, "unplugged"), ("odd", RuntimeError, "Odd")])
def test_what_the_source_raises_is_raised_after_the_events(sound: Path, then: str, error: type, text: str) -> None:
    events: list[Event] = []
    with pytest.raises(error, match=text):
        for event in engine(partial(Played, sound, then=then)).events():
            events.append(event)
    assert events == HEARD


class OopsError(Exception):
    pass


def test_what_the_callback_raises_stops_both(sound: Path, sign: Path) -> None:
    def fail(event: Event) -> None:
        raise OopsError

    with pytest.raises(OopsError):
        engine(partial(Played, sound, sign), fail).run()
    with pytest.raises(OopsError), engine(partial(Played, sound, sign), fail) as here:
        assert here.wait(60)


def test_the_callback_may_stop_it(sound: Path, sign: Path) -> None:
    events: list[Event] = []

    def first_only(event: Event) -> None:
        events.append(event)
        here.stop()

    here = engine(partial(Played, sound, sign), first_only)
    here.run()
    assert events == HEARD[:1]


def test_a_process_that_dies_is_reported(sound: Path, sign: Path) -> None:
    with pytest.raises(DanceError, match=r"before it could hear .*SIGABRT"):
        engine(die)
    here = engine(partial(Played, sound, sign))
    events = here.events()
    next(events)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(DanceError, match=r"by itself .*SIGKILL.*start again"):
        list(events)
    here.configure(Settings())  # nobody listens, and nobody minds


def test_a_source_that_hangs_does_not_hang_us(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PATIENCE_SECONDS", 0.5)
    here = engine(partial(Played, sound, then="stick"))
    here.start()
    until(lambda: here.stats.samples == len(SOUND))
    with pytest.raises(DanceError, match="SIGKILL"):
        here.stop()


def test_a_thread_that_the_source_leaves_does_not_hang_us(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PATIENCE_SECONDS", 0.5)
    here = engine(partial(lingering, sound))
    here.start()
    assert here.wait(60)
    assert here.stop().samples == len(SOUND)


MADE = """
import multiprocessing, signal, threading, time
from functools import partial
from pathlib import Path
from dance import ProcessEngine
from elsewhere import Played

{guard}
    engine = ProcessEngine(partial(Played, {sound!r}, Path({sign!r}), {then!r}), model={model!r})
    child = multiprocessing.active_children()[0].pid
"""
PROGRAM = (
    MADE
    + """
    for number, event in enumerate(engine.events()):
        if number == 0:
            print(child, flush=True)
"""
)
FORKING = (
    MADE
    + """
    fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    fork.start()
    print(child, fork.pid, flush=True)
    engine.run()
"""
)
HEEDING = (
    MADE
    + """
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with engine:
        print("ready", flush=True)
        while not over.is_set() and not engine.wait(0.01):
            pass
    print("saved")
"""
)
HASTY = """
import multiprocessing, os, signal, threading
from functools import partial
from dance import ProcessEngine
from elsewhere import Played

def terminate():
    while not multiprocessing.active_children():
        pass
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGTERM)

{guard}
    threading.Thread(target=terminate).start()
    engine = ProcessEngine(partial(Played, {sound!r}), model={model!r})
    engine.run()
    print("ended")
"""
LEAVING = (
    MADE
    + """
    engine.start()
    while engine.stats.samples < {samples}:
        time.sleep(0.01)
"""
)


def program(
    tmp_path: Path, sound: Path, text: str = PROGRAM, then: str = "end", guard: str = 'if __name__ == "__main__":'
) -> subprocess.Popen[str]:
    """Start a program that hears until somebody stops it, in a session of its own as in a terminal."""
    file = tmp_path / "program.py"
    file.write_text(
        text.format(
            guard=guard,
            sound=str(sound),
            samples=len(SOUND),
            sign=str(tmp_path / "sign"),
            then=then,
            model=str(tiny()),
        )
    )
    return subprocess.Popen(
        [sys.executable, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "engine"), str(Path(__file__).parent)])},
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for ever for an init that never asks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


@linux
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_with_its_parent(tmp_path: Path, sound: Path, end: signal.Signals) -> None:
    with program(tmp_path, sound) as parent:
        child = int(parent.stdout.readline())
        assert alive(child)
        blocked = re.search(r"^SigBlk:\s*(\w+)$", Path(f"/proc/{child}/status").read_text(), re.MULTILINE)
        assert int(blocked[1], 16) & 1 << signal.SIGINT - 1  # it never hears Ctrl-C, from its beginning on
        if end == signal.SIGINT:
            os.killpg(parent.pid, end)  # what a terminal does
        else:
            parent.send_signal(end)
        _, errors = parent.communicate(timeout=60)
        until(lambda: not alive(child))
    assert parent.returncode == -end
    if end == signal.SIGINT:
        assert errors.count("Traceback") == 1
        assert errors.rstrip().endswith("KeyboardInterrupt")
    else:
        assert not errors


@linux
def test_the_process_ends_with_a_parent_that_leaves_another_one(tmp_path: Path, sound: Path) -> None:
    with program(tmp_path, sound, FORKING) as parent:
        child, fork = map(int, parent.stdout.readline().split())
        try:
            parent.kill()
            until(lambda: not alive(child))
            assert alive(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


def test_a_service_that_is_told_to_end_ends_as_it_likes(tmp_path: Path, sound: Path) -> None:
    with program(tmp_path, sound, HEEDING) as parent:
        assert parent.stdout.readline() == "ready\n"
        os.killpg(parent.pid, signal.SIGTERM)
        assert parent.communicate(timeout=60) == ("saved\n", "")
    assert parent.returncode == 0


def test_a_service_that_is_told_to_end_at_once_ends_as_it_likes(tmp_path: Path, sound: Path) -> None:
    with program(tmp_path, sound, HASTY) as parent:
        assert parent.communicate(timeout=60) == ("ended\n", "")
    assert parent.returncode == 0


def test_a_program_that_just_ends_is_not_held_up(tmp_path: Path, sound: Path) -> None:
    (tmp_path / "sign").touch()
    with program(tmp_path, sound, LEAVING, then="stick") as parent:
        assert parent.communicate(timeout=60) == ("", "")
    assert parent.returncode == 0


def test_a_program_that_forgets_the_guard_is_told(tmp_path: Path, sound: Path) -> None:
    with program(tmp_path, sound, guard="if True:") as parent:
        _, errors = parent.communicate(timeout=60)
    assert parent.returncode == 1
    assert 'under: if __name__ == "__main__":' in errors.splitlines()[-1]
