"""Work in processes: everything is done once, failures stay where they belong, nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stage import ROOT, until

from dance import SourceError
from dance.batch import Report, each


def double(item: int, report: Report) -> int:
    """Do what the item says."""
    report(0.5)
    if item == 13:
        raise SourceError("thirteen is not readable")
    if item == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    if item < 0:
        raise ZeroDivisionError(item)
    return 2 * item


def nothing(item: int, done: float) -> None:
    """Show nothing."""


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_each_is_done_once_and_a_source_error_is_a_result(jobs: int) -> None:
    shown = []
    items = [1, 2, 13, 4, 5]
    results = dict(each(double, items, jobs, lambda item, done: shown.append((item, done))))
    assert set(results) == set(items)
    assert str(results.pop(13)) == "thirteen is not readable"
    assert all(result == 2 * item for item, result in results.items())
    assert all(item in items and 0 <= done <= len(items) for item, done in shown)
    if jobs == 1:
        assert shown == [(item, number + 0.5) for number, item in enumerate(items)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bug_is_raised(jobs: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(each(double, [1, -1, 3], jobs, nothing))


def test_a_process_that_dies_costs_what_it_worked_on() -> None:
    results = list(each(double, [1, 99, 3, 4, 5, 99, 7], 2, nothing))
    died = [outcome for item, outcome in results if item == 99]
    assert len(died) == 2
    assert all(isinstance(outcome, SourceError) and "99: the process working" in str(outcome) for outcome in died)
    assert sorted(each for each in results if each[0] != 99) == [(1, 2), (3, 6), (4, 8), (5, 10), (7, 14)]


def begin(item: Path, report: Report) -> None:
    """Say who we are, then work without an end."""
    (item / str(os.getpid())).touch()
    while True:
        report(0.1)
        time.sleep(0.01)


def test_processes_end_when_who_began_them_is_killed(tmp_path: Path) -> None:
    code = (  # a process that was forked keeps all pipes open
        "import os, pathlib, signal, sys, time, test_batch\n"
        "from dance.batch import each\n"
        "if __name__ == '__main__':\n"
        "    folder = pathlib.Path(sys.argv[1])\n"
        "    def show(item, done):\n"
        "        if len(list(folder.iterdir())) < 2: return\n"
        "        fork = os.fork()\n"
        "        if not fork:\n"
        "            time.sleep(600)\n"
        "        (folder.parent / 'fork').write_text(str(fork))\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    list(each(test_batch.begin, [folder] * 2, 2, show))\n"
    )
    (tmp_path / "main.py").write_text(code)
    (tmp_path / "who").mkdir()
    command = [sys.executable, tmp_path / "main.py", tmp_path / "who"]
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "engine"), str(Path(__file__).parent)])}
    done = subprocess.run(command, env=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    assert done.returncode == -signal.SIGKILL
    fork = int((tmp_path / "fork").read_text())
    try:
        for pid in [int(path.name) for path in (tmp_path / "who").iterdir()]:
            until(lambda pid=pid: gone(pid))
        assert not gone(fork)
    finally:
        os.kill(fork, signal.SIGKILL)


def gone(pid: int) -> bool:
    """Tell whether a process has ended (nobody may have collected it yet)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
