"""Work at the scale of a library: resumable, one bad unit costs one line, the same on a Dask cluster."""

import argparse
import contextlib
import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import NamedTuple

import pytest
import studio
from tqdm import tqdm

from labelgen.chunks import BusyError, Chunk, Manifest, chunk_name, remove_stale, whole
from labelgen.files import find_files
from labelgen.pools import WorkError
from labelgen.work import add_work_options, run_command, run_units

ROOT = Path(__file__).parents[2]
_prepared = []


def prepare(*words):
    if "broken" in words:
        raise ValueError("no kit can be drawn")
    _prepared.append(words)


def make(job):
    """Do what the job says; runs in another process."""
    unit, what = job
    if what == "raise":
        raise ValueError("not\na song")
    if what == "nothing":
        return []
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "segfault":
        ctypes.string_at(0)
    if what == "leave":
        os._exit(3)
    if isinstance(what, Path) and not what.exists():
        what.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang":
        time.sleep(3600)
    if what == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    details = {"prepared": len(_prepared), "process": os.getpid(), "folder": str(Path.cwd())}
    return [Chunk(f"{unit}-{k}", unit, "test", unit, "CC0", "test", 1.0, 1.0, details=details) for k in range(2)]


def units(*whats):
    return [(f"{what}#{k}", (f"{what}#{k}", what)) for k, what in enumerate(whats)]


def rows(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def arguments(out, *words):
    parser = argparse.ArgumentParser()
    add_work_options(parser)
    parser.set_defaults(out=out)
    return parser.parse_args(words)


def test_each_bad_unit_costs_one_line(tmp_path, capsys):
    jobs = units("good", "raise", "nothing", "killed", "good", "segfault", "leave", "hang", "good")
    assert run_units(make, jobs, tmp_path, 2, prepare, ("once",), limit=3.0) == 6
    manifest = Manifest(tmp_path)
    assert manifest.refused() == {
        "raise#1": "ValueError: not a song",
        "nothing#2": "nothing to label",
        "killed#3": "the process was killed (SIGKILL: out of memory?) while working on it",
        "segfault#5": "the process died (SIGSEGV) while working on it",
        "leave#6": "the process exited with code 3 while working on it",
        "hang#7": "not finished after 3 seconds (--limit)",
    }
    assert sorted(c.name for c in manifest.chunks()) == [f"good#{k}-{n}" for k in (0, 4, 8) for n in (0, 1)]
    assert {c.details["prepared"] for c in manifest.chunks()} == {1}
    told = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert sum(line.startswith("refused ") for line in told) == 6
    assert told[-1].startswith(f"{tmp_path}: 6 chunks of 3 songs in ") and told[-1].endswith(", 6 refused")


def test_a_unit_whose_process_died_is_tried_once_more(tmp_path):
    jobs = [("unlucky", ("unlucky", tmp_path / "died")), *units("good", "good")]
    assert run_units(make, jobs, tmp_path / "set", 2) == 0
    assert {chunk.unit for chunk in Manifest(tmp_path / "set").chunks()} == {"unlucky", "good#0", "good#1"}


def test_done_units_are_not_done_again_and_refused_ones_only_if_asked(tmp_path):
    first = units("good", "raise")
    run_units(make, first, tmp_path, 1)
    before = rows(tmp_path)
    assert run_units(make, iter(first), tmp_path, 1) == 0
    assert rows(tmp_path) == before
    healed = [first[0], ("raise#1", ("raise#1", "good"))]
    assert run_units(make, healed, tmp_path, 1, retry=True) == 0
    assert rows(tmp_path)[: len(before)] == before
    assert [c.unit for c in Manifest(tmp_path).chunks()] == ["good#0"] * 2 + ["raise#1"] * 2
    assert Manifest(tmp_path).refused() == {}


def make_file(path):
    path.read_bytes()
    return [Chunk(path.stem, path.name, "test", path.name, "CC0", "test", 1.0, 1.0)]


def test_a_library_that_goes_away_stops_the_run_and_blames_no_file(tmp_path, capsys):
    library, out = tmp_path / "library", tmp_path / "set"
    for name in "abc":
        (library / "deep" / name).mkdir(parents=True)
        (library / "deep" / name / f"{name}.mid").touch()
    (library / "z.mid").touch()

    def jobs():
        for number, (_, path) in enumerate(find_files([library], (".mid",))):
            yield path.name, path
            if number == vanishes:
                library.rename(tmp_path / "elsewhere")

    args = arguments(out, "--jobs", "1")
    vanishes = 0  # the files that are listed already cannot be read
    assert run_command(args, make_file, jobs(), total=4, inputs=[library], by_file=True) == 2
    assert capsys.readouterr().err.endswith(f"labelgen: {library} is gone; when it is back, the same command goes on "
                                            "from here\n")  # fmt: skip
    assert Manifest(out).refused() == {}
    assert (
        run_command(args, make_file, jobs(), total=4, inputs=[library], by_file=True) == 2
    )  # nor are they when it is gone before the start
    (tmp_path / "elsewhere").rename(library)
    (library / "z.mid").unlink()  # and the folders that are listed already hold nothing
    vanishes = 1
    assert run_command(args, make_file, jobs(), total=3, inputs=[library], by_file=True) == 2
    assert "labelgen: 1 of 3 songs are gone; when" in capsys.readouterr().err
    (tmp_path / "elsewhere").rename(library)
    vanishes = None
    assert run_command(args, make_file, jobs(), total=3, inputs=[library], by_file=True) == 0
    assert [c.unit for c in Manifest(out).chunks()] == ["a.mid", "b.mid", "c.mid"]
    assert Manifest(out).refused() == {}


def take_two_seconds(unit):
    time.sleep(2)
    return [Chunk(unit, unit, "test", unit, "CC0", "test", 1.0, 1.0)]


def test_time_in_which_the_run_was_stopped_does_not_count(tmp_path, monkeypatch):
    stops = [5.0]
    wait = connection.wait

    def stopped(pipes, timeout=None):
        heard = wait(pipes, timeout)
        if not heard and stops:
            time.sleep(stops.pop())  # as after Ctrl-Z
        return heard

    monkeypatch.setattr("labelgen.pools.connection.wait", stopped)
    assert run_units(take_two_seconds, [("a", "a")], tmp_path, 1, limit=4.0) == 0
    assert not stops


def give_up(job):
    key, out = job
    for number in range(2):
        (out / f"{chunk_name(key, number)}.flac").touch()
    raise ValueError("its end is damaged")


def test_what_was_written_of_a_refused_unit_is_removed(tmp_path):
    kept = tmp_path / f"{chunk_name('good', 0)}.flac"
    kept.touch()
    assert run_units(give_up, [("half", ("half", tmp_path))], tmp_path, 1) == 1
    assert sorted(tmp_path.iterdir()) == sorted([kept, tmp_path / "manifest.jsonl"])


def test_inputs_that_would_change_the_names_of_songs_are_refused(tmp_path, capsys):
    for name in ("one/sub/a.mid", "two/b.mid"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    one, two = tmp_path / "one", tmp_path / "two"

    def code(out, *inputs):
        args = arguments(tmp_path / out, "--jobs", "1")
        jobs = [(key, (key, "good")) for key, _ in find_files(inputs, (".mid",))]
        return run_command(args, make, jobs, inputs=inputs, by_file=True)

    def done(out):
        return sorted({c.unit for c in Manifest(tmp_path / out).chunks()})

    assert code("set", one) == code("set", one) == code("set", two) == 0
    assert code("set", one, two) == code("set", one / "sub") == 2
    assert f"{tmp_path / 'set'} was begun with other inputs: its sub/a.mid would" in capsys.readouterr().err
    assert done("set") == ["b.mid", "sub/a.mid"]
    assert code("both", one, two) == code("both", one, two) == 0
    assert code("both", one) == 2
    assert done("both") == ["one/sub/a.mid", "two/b.mid"]


def test_done_units_are_passed_over_without_a_bar(tmp_path, monkeypatch):
    monkeypatch.setattr("labelgen.work.tqdm", partial(tqdm, disable=True))  # as TQDM_DISABLE=1 does
    assert run_units(make, units("good"), tmp_path, 1) == run_units(make, units("good"), tmp_path, 1) == 0


class Song(NamedTuple):
    key: str
    source: str


def make_song(song):
    return [Chunk(f"{song.key}-{song.source}", song.key, song.source, song.key, "CC0", "test", 1.0, 1.0)]


def test_songs_of_another_library_with_names_that_are_done_are_told(tmp_path, capsys):
    first, second = ([(key, Song(key, source)) for key in ("01", "02")] for source in ("album A", "album B"))
    assert run_units(make_song, first, tmp_path, 1) == run_units(make_song, first, tmp_path, 1) == 0
    assert "another source" not in capsys.readouterr().err
    assert run_units(make_song, [*second, ("03", Song("03", "album B"))], tmp_path, 1) == 0
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("labelgen: 2 of those done before came from another source, such as 01;") and "--out" in told
    assert [c.source for c in Manifest(tmp_path).chunks()] == ["album A", "album A", "album B"]


def test_what_is_not_known_to_come_from_elsewhere_is_not_told(tmp_path, capsys):
    Manifest(tmp_path).refuse("02", "no drums")
    Manifest(tmp_path).add(make_song(Song("01", "")))
    run_units(make_song, [(key, Song(key, "album")) for key in ("01", "02")], tmp_path, 1)
    assert capsys.readouterr().err.rstrip().endswith("2 done before (1 of these refused; --retry tries them again)")


def test_a_full_disk_stops_the_run_and_blames_no_unit(tmp_path, capsys):
    with pytest.raises(WorkError, match="No space left"):
        run_units(make, units("full", "good"), tmp_path, 1)
    assert Manifest(tmp_path).refused() == {}
    assert run_command(arguments(tmp_path, "--jobs", "1"), make, units("full"), inputs=()) == 2
    assert "No space left" in capsys.readouterr().err


def test_what_breaks_every_unit_is_said_once(tmp_path, capsys):
    assert run_command(arguments(tmp_path, "--jobs", "2"), make, units("good"), prepare, ("broken",), inputs=()) == 2
    assert capsys.readouterr().err.endswith("labelgen: ValueError: no kit can be drawn\n")
    (tmp_path / "file").write_text("")
    assert run_command(arguments(tmp_path / "file"), make, units("good"), inputs=()) == 2
    assert rows(tmp_path) == []


def test_two_runs_do_not_write_to_one_set(tmp_path):
    with Manifest(tmp_path).claim(), pytest.raises(BusyError, match="another run"):
        run_units(make, units("good"), tmp_path, 1)
    assert run_units(make, units("good"), tmp_path, 1) == 0


def test_only_abandoned_files_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with whole(tmp_path / "a.flac") as mine:
        mine.write_bytes(b"half")
        left = mine.with_name(mine.name.replace(f"~{os.getpid()}.", f"~{dead.pid}."))
        left.write_bytes(b"half")
        node = os.uname().nodename
        foreign, old = (mine.with_name(f"{x}.flac~not-{node}~{dead.pid}.part") for x in "bc")
        for path, age in ((foreign, 3600), (old, 3 * 24 * 3600)):
            path.write_bytes(b"half")
            os.utime(path, (time.time() - age,) * 2)
        assert remove_stale(tmp_path) == 2
        assert sorted(tmp_path.iterdir()) == sorted([mine, foreign])
    assert (tmp_path / "a.flac").read_bytes() == b"half"


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole(tmp_path / "a.tsv") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def nothing(job):
    raise ValueError("too short")


def test_memory_is_flat_over_the_length_of_the_list(tmp_path, monkeypatch):
    """Twenty thousand jobs of 4 kB would be 80 MB."""
    drawn = 0
    ahead, memory = [], []
    record = Manifest.refuse

    def refuse(self, unit, reason):
        record(self, unit, reason)
        ahead.append(drawn - len(ahead))

    def jobs():
        nonlocal drawn
        for number in range(20_000):
            drawn += 1
            if number % 2000 == 0:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
            yield f"artist/album/{number}", bytes([number % 256]) * 4096

    monkeypatch.setattr(Manifest, "refuse", refuse)
    monkeypatch.setattr("labelgen.work.tqdm.write", lambda *_, **__: None)
    monkeypatch.setattr("labelgen.pools.RENEWED", 100_000)
    assert run_units(nothing, jobs(), tmp_path, 1) == 20_000
    assert max(ahead) <= 2
    assert memory[-1] - memory[1] < 8
    assert run_units(nothing, jobs(), tmp_path, 1) == 0
    assert drawn == 40_000
    assert memory[-1] - memory[1] < 8


def test_processes_are_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr("labelgen.pools.RENEWED", 2)
    run_units(make, units(*["good"] * 5), tmp_path, 1)
    processes = [c.details["process"] for c in Manifest(tmp_path).chunks()]
    assert [processes.count(p) for p in dict.fromkeys(processes)] == [4, 4, 2]  # two chunks for a unit


# ----------------------------------------------------------------------------------------------------------------
# the real command line


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    pytest.importorskip("fluidsynth", reason="needs pyfluidsynth", exc_type=ImportError)
    if studio.soundfont() is None:
        pytest.skip("needs Debian's timgm6mb-soundfont")
    root = tmp_path_factory.mktemp("library")
    for number in range(12):
        studio.song(root / "songs" / f"{number}.mid", seed=number)
    (root / "songs" / "text.mid").write_text("not a song")
    studio.one_shots(root / "shots")
    (root / "fonts").mkdir()
    (root / "fonts" / "small.sf2").symlink_to(studio.soundfont())
    return root


def command(library, out, *extra):
    sounds = ("--soundfonts", library / "fonts", "--oneshots", library / "shots" / "manifest.csv")
    form = ("--soundfont-drums", "0.5", "--stems", "--seconds", "3", "--chunks", "3")
    words = [ROOT / "labelgen" / "midi.py", library / "songs", "--out", out, *sounds, *form, *extra]
    return [sys.executable, *map(str, words)]


def state(folder):
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".jsonl"}
    return files, sorted(json.dumps(row) for row in rows(folder))


@pytest.fixture(scope="module")
def uninterrupted(library):
    done = subprocess.run(command(library, library / "whole", "--jobs", "1"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.rstrip().endswith("1 refused")
    return state(library / "whole")


def names(folder):
    return {p.name for p in folder.iterdir() if p.suffix != ".jsonl"} if folder.exists() else set()


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_again_and_again_and_still_the_same(times, library, uninterrupted, tmp_path):
    out = tmp_path / "set"
    half_written = kills = 0

    def partial(before):
        return any(name.endswith(".part") for name in names(out) - before)

    for number in range(times):
        before = names(out)
        with subprocess.Popen(
            command(library, out, "--jobs", "1"), stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            while process.poll() is None:
                if partial(before) and len(names(out) - before) > 12 * (number % 3):
                    os.killpg(process.pid, signal.SIGSTOP)  # all of them, to be sure that the file is still half
                    time.sleep(0.02)
                    if partial(before):
                        half_written += 1
                        break
                    os.killpg(process.pid, signal.SIGCONT)
                time.sleep(0.0005)
            process.kill()  # only the parent, as a careless user or the system would
            process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
        kills += process.returncode == -signal.SIGKILL
        listed = {c.name for c in Manifest(out).chunks()}
        for name in listed:
            for suffix in ("flac", "drums.flac", "backing.flac", "tsv"):
                file = f"{name}.{suffix}"
                assert (out / file).read_bytes() == uninterrupted[0][file]
    assert kills == half_written == times and listed
    assert subprocess.run(command(library, out, "--jobs", "1"), stderr=subprocess.DEVNULL).returncode == 0
    files, lines = state(out)
    assert sorted(files) == sorted(uninterrupted[0])
    assert files == uninterrupted[0]
    assert lines == uninterrupted[1]


# ----------------------------------------------------------------------------------------------------------------
# a real Dask scheduler with two worker processes


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    # one strike, not four: the test has to wait for each
    environment = {**os.environ, "PYTHONPATH": paths, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    dask = [sys.executable, "-m", "dask"]
    local = ["--host", "127.0.0.1", "--scheduler-file", str(file), "--no-dashboard"]
    calls = [
        [*dask, "scheduler", "--port", "0", *local],
        [*dask, "worker", *local, "--nworkers", "2", "--nthreads", "1", "--local-directory", str(folder)],
    ]
    with (folder / "log").open("w") as log:
        processes = []
        for call in calls:
            processes.append(subprocess.Popen(call, cwd=folder, env=environment, stdout=log, stderr=log))
            while not file.exists():
                assert processes[0].poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
        try:
            yield json.loads(file.read_text())["address"]
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(60)


def test_a_cluster_does_the_same(scheduler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = units(*["good"] * 12, "raise", "nothing", "killed", "segfault", "hang", *["good"] * 3)
    refused = run_units(make, iter(jobs), Path("set"), 1, prepare, ("once",), scheduler, limit=10.0)
    manifest = Manifest(tmp_path / "set")
    assert refused == 5
    reasons = manifest.refused()
    assert reasons["raise#12"] == "ValueError: not a song" and reasons["nothing#13"] == "nothing to label"
    for unit in ("killed#14", "segfault#15", "hang#16"):
        assert "worker" in reasons[unit] and "(--limit)" in reasons[unit]
    chunks = manifest.chunks()
    assert len(chunks) == 30
    assert {c.details["folder"] for c in chunks} == {str(tmp_path)}
    assert {c.details["prepared"] for c in chunks} == {1}
    assert len({c.details["process"] for c in chunks}) >= 2 and os.getpid() not in {
        c.details["process"] for c in chunks
    }


def test_a_cluster_renders_the_same_songs(scheduler, library, uninterrupted, tmp_path):
    done = subprocess.run(command(library, tmp_path / "set", "--scheduler", scheduler), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert state(tmp_path / "set") == uninterrupted


def test_a_cluster_that_cannot_prepare_says_why(scheduler, tmp_path, capsys):
    args = arguments(tmp_path, "--scheduler", scheduler)
    code = run_command(args, make, units("good"), prepare, ("broken",), inputs=())
    assert code == 2 and "no kit can be drawn" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_ctrl_c_leaves_nothing_half_done(where, scheduler, library, tmp_path):
    out = tmp_path / "set"
    extra = ("--jobs", "1") if where == "here" else ("--scheduler", scheduler)
    process = subprocess.Popen(command(library, out, *extra), stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not names(out):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes at once
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told and "the same command goes on from here" in told
    if where == "here":  # a cluster's workers finish what they have begun
        assert not [name for name in names(out) if name.endswith(".part")]
    for _ in range(1000):  # no worker is left, or will be soon
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("processes are left")


def test_no_scheduler_is_said_at_once(tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("labelgen.pools.PATIENCE", 0.5)
    assert run_command(arguments(tmp_path, "--scheduler", "tcp://127.0.0.1:9"), make, units("good"), inputs=()) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert run_command(arguments(tmp_path, "--scheduler", "nonsense://"), make, units("good"), inputs=()) == 2


def test_work_options(capsys):
    assert arguments(Path()).jobs == len(os.sched_getaffinity(0))
    for words in (("--jobs", "0"), ("--jobs", "-2"), ("--jobs", "many"), ("--limit", "-1"), ("--limit", "nan")):
        with pytest.raises(SystemExit) as end:
            arguments(Path(), *words)
        assert end.value.code == 2
    assert "--jobs" in capsys.readouterr().err
