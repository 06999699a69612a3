"""The report on a machine: what it finds, what it keeps to itself, and its exit code."""

import importlib.util
import itertools
import os
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stage import run
from tiny_model import SPEC, save

import dance.detector
from dance import Event
from dance.cli import main
from dance.commands import doctor
from dance.portaudio import Device


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that a hop takes a tenth of a millisecond: the machine that tests may be busy."""
    clock = itertools.count(0, 1e-4)
    monkeypatch.setattr(doctor, "perf_counter", lambda: next(clock))


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["doctor"])
    return code, capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_a_machine_with_a_microphone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    device = Device(index=3, name="USB Audio: - (hw:1,0)", channels=2, sample_rate=48000, default=True)
    monkeypatch.setattr(doctor, "list_devices", lambda: [device])
    code, text = report(capsys)
    assert code == 0
    for line in (
        rf"dance +{re.escape(dance.__version__)}",
        r"python +3\..*NumPy.*ONNX Runtime \d.*",
        r"input +3 USB Audio: - \(hw:1,0\): 2 at 48000 Hz, used by default",
        r"model +\S.*kick, snare, hihat.*; \d+ bytes, [0-9a-f]{12}",
        r"self-test +44100 Hz: (\d+) of \1 drums heard, 0 events where nothing was hit",
        r"self-test +48000 Hz: (\d+) of \1 drums heard, 0 events where nothing was hit",
        r"cost +48000 Hz: a hop of 10 ms takes 0.10 ms \(median\), 0.10 ms \(p99\); 1.0% of real time: keeps up",
        r"the engine can run here",
    ):
        assert re.search(rf"^{line}$", text, re.MULTILINE), line


@pytest.mark.usefixtures("quick")
def test_without_pyaudio_the_engine_runs_and_the_cure_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    code, text = report(capsys)
    assert code == 0
    assert re.search(
        r'^inputs +live input needs .*apt-get install portaudio19-dev.*pip install "\.\[mic\]"', text, re.M
    )
    assert "can run, but has no microphone" in text


@pytest.mark.parametrize("content", [None, b"no model"])
def test_without_a_model_the_engine_cannot_run(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "secret" / "dance.onnx"
    monkeypatch.setattr(dance.detector, "RELEASED", broken)
    if content:
        broken.parent.mkdir()
        broken.write_bytes(content)
    code, text = report(capsys)
    assert code == 1
    assert re.search(r"^model +install dance again", text, re.MULTILINE)
    assert "the engine cannot run here" in text
    assert "secret" not in text


@pytest.mark.usefixtures("quick")
def test_a_model_that_hears_nothing_fails_the_self_test(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = tiny_path.read_bytes()
    assert deaf.count(b"hihat") > 0
    other = tiny_path.with_name("deaf.onnx")
    other.write_bytes(deaf.replace(b"hihat", b"other"))
    monkeypatch.setattr(dance.detector, "RELEASED", other)
    code, text = report(capsys)
    assert code == 1
    assert re.search(r"^self-test +the model does not work here", text, re.MULTILINE)


@pytest.mark.usefixtures("quick")
def test_a_model_for_one_rate_is_asked_at_that_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        dance.detector, "RELEASED", save(tmp_path / "only48.onnx", replace(SPEC, name="only48", sample_rates=(48000,)))
    )
    _, text = report(capsys)
    assert re.search(r"^model +only48: kick, snare, hihat; ", text, re.MULTILINE)
    assert re.search(r"^self-test +48000 Hz: ", text, re.MULTILINE)
    assert "44100" not in text


@pytest.mark.parametrize(
    ("milliseconds", "verdict", "unfit"),
    [([1.0] * 100, "keeps up", False), ([1.0] * 90 + [5.0] * 10, "tight", False), ([11.0] * 100, "too slow", True)],
)
def test_the_verdict_on_the_cost(milliseconds: list[float], verdict: str, unfit: bool) -> None:
    finding = doctor.cost(48000, 0.01, np.array(milliseconds) / 1000)
    assert finding.text.endswith(verdict)
    assert finding.unfit == unfit
    assert bool(finding.remedy) == (verdict != "keeps up")


def test_right_and_stray_events() -> None:
    def event(label: str, seconds: float) -> Event:
        sample = round(48000 * seconds)
        return Event(label, 0.5, 0.9, sample, sample + 480, 48000)

    hits = [(1.0, "kick"), (1.25, "hihat"), (1.5, "snare")]
    events = [event("kick", 1.02), event("snare", 1.25), event("snare", 1.5), event("hihat", 1.5), event("kick", 1.4)]
    assert doctor.judge(hits, events) == (2, 1)


def test_nothing_tells_who_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        pw_name = "jrandom"
        pw_gecos = "Josephine Random,,,"

    monkeypatch.setattr("pwd.getpwuid", lambda number: Entry)
    monkeypatch.setattr(socket, "gethostname", lambda: "studio-7")
    monkeypatch.setenv("HOME", "/srv/people/jr0815")
    text = doctor.discreet(
        "Josephine's AirPods on STUDIO-7: '/srv/people/jr0815/music/x.onnx' (jrandom), hw:1,0, 44100 Hz at 1/2"
    )
    assert text == "…'s AirPods on …: '…/x.onnx' (…), hw:1,0, 44100 Hz at 1/2"


def test_it_needs_neither_list_of_users_nor_home_nor_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pwd", None)  # as on Windows
    monkeypatch.delattr(os, "getloadavg")
    monkeypatch.setattr(doctor.Path, "home", raising(RuntimeError("Could not determine home directory.")))
    spec = importlib.util.find_spec(doctor.__name__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.discreet("a machine") == "a machine"
    assert "cores" in {finding.subject: finding for finding in module.machine()}["processor"].text


def raising(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def test_it_says_all_in_a_process_of_its_own() -> None:
    """With whatever this machine has; nothing may raise, and nothing goes to standard error."""
    done = run("-m", "dance", "doctor", timeout=300)
    assert done.returncode in (0, 1)
    assert done.stderr == ""
    assert re.search(r"^the engine c", done.stdout, re.MULTILINE)
