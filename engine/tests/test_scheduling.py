"""Priority and cores: what is permitted is done, what is not is said in a line, and everything goes on."""

import os

import pytest
from stage import run

from dance import DanceError, SpecError, scheduling

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not let programs choose")

STATE = "import os; print(os.sched_getscheduler(0) == os.SCHED_FIFO, sorted(os.sched_getaffinity(0)))"


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be an ordinary user."""

    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", refuse)


@linux
def test_a_refusal_says_how_to_permit_it(refused: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DanceError, match=r"not permitted, nor is a better niceness\. To .*limits\.d.*LimitRTPRIO"):
        scheduling.be_realtime()
    asked = []
    monkeypatch.setattr(os, "setpriority", lambda *arguments: asked.append(arguments))
    with pytest.raises(DanceError, match=r"not permitted; running at niceness -11 instead\. To permit it"):
        scheduling.be_realtime()
    assert asked == [(os.PRIO_PROCESS, 0, -11)]


@linux
def test_threads_that_are_started_later_take_part() -> None:
    program = f"""
import threading
from dance.errors import DanceError
from dance.scheduling import be_realtime, use_cpu
use_cpu({min(os.sched_getaffinity(0))})
try:
    be_realtime()
except DanceError as error:
    print(error)
else:
    thread = threading.Thread(target=lambda: exec({STATE!r}))
    thread.start()
    thread.join()
"""
    said = run("-c", program).stdout
    assert said == f"True [{min(os.sched_getaffinity(0))}]\n" or "not permitted" in said


@linux
def test_a_core_that_is_not_there() -> None:
    with pytest.raises(SpecError, match=r"no core 4711 here; there are \d"):
        scheduling.use_cpu(4711)
    done = run("-m", "dance", "listen", "--cpu", "4711")
    assert done.returncode == 2
    assert done.stderr.startswith("dance: no core 4711 here")


def test_other_systems_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sched_setscheduler", "sched_setaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    with pytest.raises(DanceError, match="Linux only"):
        scheduling.be_realtime()
    with pytest.raises(SpecError, match="leave --cpu out"):
        scheduling.use_cpu(0)
