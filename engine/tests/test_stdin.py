"""Raw samples through a pipe: whole however they are cut, refused when they are something else."""

import os
import pty
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from stage import ROOT, detector, drums, tiny

from dance import RawInput, Read, SourceError, SpecError

SOUND = drums(1.0)


class Pipe:
    """Both ends of a pipe: what is sent is heard by `source`."""

    def __init__(self, form: str = "f32le") -> None:
        output, self._input = os.pipe()
        self.source = RawInput(form, 44100, os.fdopen(output, "rb"))

    def send(self, data: bytes) -> None:
        assert os.write(self._input, data) == len(data)

    def end(self) -> None:
        if self._input >= 0:
            os.close(self._input)
            self._input = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.end()
    made.source.close()


def heard(source: RawInput, size: int = 1000) -> np.ndarray:
    """Return everything to the end."""
    parts = []
    while True:
        out = np.full(size, np.nan, np.float32)
        read = source.read(out, 60)
        parts.append(out[: read.count])
        if read.ended:
            return np.concatenate(parts)


@pytest.mark.parametrize("cut", [1, 3, 4, 777, 100_000])
@pytest.mark.parametrize("form", ["f32le", "s16le"])
def test_samples_are_whole_however_they_are_cut(form: str, cut: int) -> None:
    sound = SOUND[4000:6000]
    data = sound.astype("<f4").tobytes() if form == "f32le" else np.round(sound * 32768).astype("<i2").tobytes()
    pipe = Pipe(form)

    def send() -> None:
        for start in range(0, len(data), cut):
            pipe.send(data[start : start + cut])
        pipe.end()

    writer = threading.Thread(target=send)
    writer.start()
    np.testing.assert_allclose(heard(pipe.source, 300), sound, atol=0 if form == "f32le" else 1 / 32768)
    writer.join(60)
    pipe.source.close()


def test_half_a_sample_at_the_end_is_none(pipe: Pipe) -> None:
    pipe.send(SOUND[:100].tobytes() + b"\0\0")
    pipe.end()
    np.testing.assert_array_equal(heard(pipe.source), SOUND[:100])


def test_nothing_within_the_timeout_is_nothing_and_nothing_is_lost(pipe: Pipe) -> None:
    out = np.empty(100, np.float32)
    assert pipe.source.read(out, 0.0) == Read(0)
    pipe.send(SOUND[:150].tobytes())
    assert pipe.source.read(out, 60) == Read(100)
    assert pipe.source.read(out, 60) == Read(50)
    assert pipe.source.read(out, 0.001) == Read(0)
    assert pipe.source.read(np.empty(0, np.float32), 0.0) == Read(0)


def test_closing_wakes_a_reader_that_waits(pipe: Pipe) -> None:
    reads = []
    reader = threading.Thread(target=lambda: reads.append(pipe.source.read(np.empty(9, np.float32), 1e6)))
    reader.start()
    pipe.source.close()
    reader.join(60)
    assert reads == [Read(0, ended=True)]
    pipe.source.close()
    assert pipe.source.read(np.empty(9, np.float32), 1e6) == Read(0, ended=True)


@pytest.mark.parametrize(
    ("form", "data", "message"),
    [
        ("f32le", b"RIFF\x24\x00\x00\x00WAVEfmt ", "is a WAV file, not raw samples"),
        ("s16le", b"RIFF\x24\x00\x00\x00WAVEfmt ", "is a WAV file, not raw samples"),
        ("f32le", bytes(400) + np.round(SOUND * 32768).astype("<i2").tobytes(), "does not hold f32le samples"),
        ("f32le", np.full(10, np.nan, "<f4").tobytes(), "does not hold f32le samples"),
    ],
)
def test_what_is_no_such_samples_is_refused(form: str, data: bytes, message: str) -> None:
    pipe = Pipe(form)
    pipe.send(data[:40_000])
    pipe.end()
    with pytest.raises(SourceError, match=message):
        heard(pipe.source, 50)
    pipe.source.close()


def test_a_mishap_after_the_first_second_does_not_end_it(pipe: Pipe) -> None:
    out = np.empty(44100, np.float32)
    pipe.send(SOUND.tobytes())
    assert pipe.source.read(out, 60) == Read(44100)
    pipe.send(np.float32([np.nan, 0.25]).tobytes())
    assert pipe.source.read(out, 60) == Read(2)
    np.testing.assert_array_equal(out[:2], np.float32([np.nan, 0.25]))


def test_a_program_may_have_many_files_open() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < 1200:
        pytest.skip("this system allows no more than 1,200 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 1200), before[1]))
    others = [os.dup(0) for _ in range(1100)]
    try:
        pipe, out = Pipe(), np.zeros(4, np.float32)
        pipe.send(np.ones(4, "<f4").tobytes())
        assert pipe.source.read(out, 1.0) == Read(4)
        pipe.end()
        pipe.source.close()
    finally:
        for descriptor in others:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_unknown_rates_are_told() -> None:
    with pytest.raises(SpecError, match="sample rate"):
        RawInput(sample_rate=44.1)


def test_unknown_formats_are_told() -> None:
    with pytest.raises(SpecError, match="no raw format 'u8'; there are f32le, s16le"):
        RawInput("u8")


def test_a_terminal_is_no_source() -> None:
    ours, theirs = pty.openpty()
    with (
        os.fdopen(theirs, "rb", buffering=0) as terminal,
        pytest.raises(SourceError, match="is a terminal: send samples"),
    ):
        RawInput(stream=terminal)
    os.close(ours)


def test_a_standard_input_that_was_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceError, match="standard input is closed: send samples"):
        RawInput()


def test_a_process_of_multiprocessing_has_no_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.process.parent_process", lambda: True)
    with pytest.raises(SourceError, match="does not reach the process of a ProcessEngine"):
        RawInput()


STOPPED = """
import os, signal
from dance import Detector, Engine, RawInput
reader, writer = os.pipe()
source = RawInput(stream=os.fdopen(reader, "rb", buffering=0))
engine = Engine(source, Detector.load(MODEL, sample_rate=44100))
signal.signal(signal.SIGALRM, lambda *_: engine.stop())
signal.setitimer(signal.ITIMER_REAL, 0.1)
print(engine.run().samples)
"""


def test_a_signal_handler_may_stop_an_engine_that_waits() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED.replace("MODEL", repr(str(tiny())))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr


def listen(*options: object, **streams: object) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(ROOT / "engine"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "dance", "listen", "--plain", "--model", tiny(), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        **streams,
    )


def test_the_command_hears_what_the_detector_hears() -> None:
    sound = drums(2.0, 48000)
    data = np.round(sound * 32768).astype("<i2")
    process = listen("--stdin", "s16le", "--rate", 48000, stdin=subprocess.PIPE)
    output, errors = process.communicate(data.tobytes(), timeout=60)
    assert process.returncode == 0, errors
    assert b"standard input, 48000 Hz\n" in errors
    assert b"2.0 s heard" in errors
    alone = detector(48000)
    events = alone.process(data.astype(np.float32) / 32768) + alone.flush()
    lines = [line.split() for line in output.decode().splitlines()]
    assert [(line[0], line[2]) for line in lines] == [(f"{event.time:.3f}", event.label) for event in events]
    assert len(events) >= 6


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg (apt-get install ffmpeg)")
def test_ffmpeg_into_the_command(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.ogg", drums(2.0), 44100)
    raw = ["-f", "f32le", "-ac", "1", "-ar", "44100", "-"]
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "x.ogg", *raw]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as ffmpeg:
        output, errors = listen("--stdin", stdin=ffmpeg.stdout).communicate(timeout=60)
    assert len(re.findall(rb"^ +\d+\.\d+ s  (kick|snare|hihat) ", output, re.MULTILINE)) >= 6, errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stdin"], b"dance: standard input is a WAV file"),
        (["--stdin", "--rate", "32000"], b"dance: tiny takes .*, not 32000: .* ffmpeg -ar 44100, .* --rate 44100"),
        (["--stdin", "--device", "USB"], b"dance: --stdin and --device are two sources"),
    ],
)
def test_what_is_wrong_is_one_line_and_code_2(options: list[str], message: bytes) -> None:
    process = listen(*options, stdin=subprocess.PIPE)
    output, errors = process.communicate(b"RIFF\x24\x00\x00\x00WAVEfmt ", timeout=60)
    assert (process.returncode, output) == (2, b"")
    assert re.search(message, errors)
    assert b"Traceback" not in errors
