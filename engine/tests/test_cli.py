"""The command: what it prints, writes and returns."""

import io
import json
import math
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soundfile
from stage import RELEASED, ROOT, SONG, TRUTH, detector, drums, model, run, tiny
from wires import hit

from dance import SourceError, Stats, __version__
from dance.cli import main
from dance.commands.common import _sum_up
from dance.commands.transcribe import output_names
from dance.portaudio import Device

HEADER = "time\tlabel\tvelocity\tconfidence\treported"


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "drums.wav", drums(2.0), 44100, subtype="FLOAT")
    return tmp_path / "drums.wav"


def dance(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "dance", *arguments, **environment)


def transcribe(*arguments: object) -> int:
    """Transcribe in this process."""
    return main(["transcribe", *map(str, arguments), "--model", str(tiny()), "--jobs", "1"])


def stand_in(folder: Path, name: str, text: str) -> str:
    """Write a module that goes before the installed one; return its folder."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(text)
    return str(folder)


@pytest.mark.parametrize("command", [(), ("devices",), ("listen",), ("play",), ("transcribe",)])
def test_every_command_explains_itself(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "-h"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "usage: dance" in text
    assert not command or f"examples:\n  dance {command[0]}" in text


def test_version() -> None:
    assert dance("--version").stdout == f"dance {__version__}\n"


@pytest.mark.parametrize("command", ["devices", "listen"])
def test_missing_portaudio_is_one_line_and_code_2(tmp_path: Path, command: str) -> None:
    without = stand_in(tmp_path / "m", "pyaudio", "raise ImportError('libportaudio.so.2: cannot open')")
    options = ["--model", tiny()] if command == "listen" else []
    done = dance(command, *options, PYTHONPATH=without)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"dance: live input needs .*apt-get install portaudio19-dev.*\n", done.stderr)


@pytest.mark.parametrize("command", ["devices", "listen"])
def test_no_device_is_one_line_and_code_2(tmp_path: Path, command: str) -> None:
    without = stand_in(
        tmp_path / "m",
        "pyaudio",
        "class PyAudio:\n"
        "    def get_device_count(self): return 0\n"
        "    def get_device_info_by_index(self, index): raise AssertionError\n"
        "    def get_default_input_device_info(self): raise OSError('none')\n"
        "    def terminate(self): pass\n",
    )
    options = ["--model", tiny(), "--no-reconnect"] if command == "listen" else []
    done = dance(command, *options, PYTHONPATH=without)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"dance: no input device: .*\n", done.stderr)


def test_a_missing_model_is_one_line_and_code_2(wav: Path) -> None:
    for command in (["listen"], ["play", wav], ["transcribe", wav, "--out", wav.parent]):
        done = dance(*command, "--model", "nowhere.onnx")
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(r"dance: .*nowhere\.onnx.*\n", done.stderr)


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
def test_transcribe_writes_what_the_detector_says_for_any_block(tmp_path: Path, rate: int) -> None:
    sound = drums(2.0, rate)
    soundfile.write(tmp_path / "x.wav", sound, rate, subtype="FLOAT")
    done = dance("transcribe", tmp_path / "x.wav", "--out", tmp_path / "out", "--model", tiny())
    assert (done.returncode, done.stderr) == (0, "")
    header, *lines = (tmp_path / "out" / "x.tsv").read_text().splitlines()
    assert header == HEADER
    if rate == 22050:  # resampled: the same loop, other samples
        assert len(lines) >= 8
        return
    alone, events = detector(rate), []
    for start in range(0, len(sound), 997):
        events += alone.process(sound[start : start + 997])
    events += alone.flush()
    assert lines == [
        f"{e.time:.5f}\t{e.label}\t{e.velocity:.3f}\t{e.confidence:.3f}\t{e.reported / rate:.5f}" for e in events
    ]
    assert f"{len(events)} events" in done.stdout


def test_a_broken_file_costs_a_line_and_the_others_are_done(tmp_path: Path, wav: Path) -> None:
    (tmp_path / "broken.wav").write_text("not audio")
    files = [tmp_path / "missing.wav", wav, tmp_path / "broken.wav"]
    done = dance("transcribe", *files, "--out", tmp_path / "out", "--model", tiny())
    assert done.returncode == 2
    lines = sorted(done.stderr.splitlines())  # files are done at the same time, in any order
    assert len(lines) == 2
    assert re.fullmatch(r"dance: .*broken\.wav: not readable.*", lines[0])
    assert re.fullmatch(r"dance: .*missing\.wav: no such file", lines[1])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["drums.tsv"]


def test_no_file_ends_the_others_whatever_its_name(
    tmp_path: Path, wav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.raw").write_bytes(bytes(4000))
    odd = tmp_path / os.fsdecode(b"caf\xe9.wav")  # no UTF-8
    shutil.copy(wav, odd)
    files = [tmp_path / "x.raw", tmp_path / ("x" * 300 + ".wav"), odd, wav]
    assert transcribe(*files, "--out", tmp_path / "out", "--format", "tsv,midi") == 2
    out, err = capsys.readouterr()
    raw, long = err.splitlines()
    assert raw.endswith("x.raw: raw samples, which do not tell their rate; send them to `dance listen --stdin`")
    assert long.endswith("xxx.wav: File name too long")
    assert r"caf\udce9.wav -> " in out
    names = {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    assert names == {b"caf\xe9.tsv", b"caf\xe9.mid", b"drums.tsv", b"drums.mid"}
    assert rb"caf\udce9" in (tmp_path / "out" / os.fsdecode(b"caf\xe9.mid")).read_bytes()


def test_names_are_printed_where_there_are_only_ascii_letters(
    tmp_path: Path, wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = shutil.copy(wav, tmp_path / "日本 ü.wav")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert transcribe(song, "--out", tmp_path) == 0
    assert rb"\u65e5\u672c \xfc.wav -> " in sys.stdout.buffer.getvalue()


def test_what_lies_beside_the_song_is_spared(tmp_path: Path, wav: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "drums.tsv").write_text("mine")
    (tmp_path / "drums.kick.svl").write_text("mine")
    for name, form in (("drums.tsv", "tsv"), ("drums.kick.svl", "csv,sv")):
        assert transcribe(wav, "--out", tmp_path, "--format", form) == 2
        line = rf"dance: .*{re.escape(name)} lies beside the song: .*--force\n"
        assert re.fullmatch(line, capsys.readouterr().err)
        assert (tmp_path / name).read_text() == "mine"
    assert transcribe(wav, "--out", tmp_path, "--format", "csv") == 0
    assert transcribe(wav, "--out", tmp_path, "--force") == 0
    assert (tmp_path / "drums.tsv").read_text().startswith(HEADER)
    for _ in range(2):
        assert transcribe(wav, "--out", tmp_path / "out") == 0


def test_a_name_that_is_too_long_costs_a_line(tmp_path: Path, wav: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = shutil.copy(wav, tmp_path / f"{'x' * 251}.wav")
    assert transcribe(long, wav, "--out", tmp_path / "out", "--format", "jams") == 2
    assert "the name is too long for those of its results" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["drums.jams"]


def test_names_of_many_files() -> None:
    names = output_names([*["a/mix.wav"] * 3000, "b/mix-2.wav", "mix.wav"])
    assert names[:3] == ["mix", "mix-2", "mix-3"]
    assert names[-2:] == ["mix-2-2", "mix-3001"]
    assert len(set(names)) == len(names)


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path, wav: Path) -> None:
    other = tmp_path / "other" / "drums.wav"
    other.parent.mkdir()
    soundfile.write(other, np.zeros(4410, np.float32), 44100)
    done = dance("transcribe", wav, other, "--out", tmp_path / "out", "--model", tiny())
    assert done.returncode == 0
    assert len((tmp_path / "out" / "drums.tsv").read_text().splitlines()) > 5
    assert (tmp_path / "out" / "drums-2.tsv").read_text() == HEADER + "\n"
    assert f"{other} -> {tmp_path / 'out' / 'drums-2.tsv'}" in done.stdout


def test_output_names() -> None:
    files = ["a/x.wav", "b/x.flac", "x-2.wav", "x.wav", "y.tar.ogg"]
    assert output_names(files) == ["x", "x-2", "x-2-2", "x-3", "y.tar"]


def test_labels_and_sensitivity(tmp_path: Path) -> None:
    wav = tmp_path / "drums.wav"
    noise = np.random.default_rng(0).normal(0, 0.01, 4 * 44100)  # leaves some hits in doubt
    soundfile.write(wav, drums(4.0) + noise, 44100)

    def labels(*options: str) -> list[str]:
        done = dance("transcribe", wav, "--out", tmp_path / "out", "--model", tiny(), *options)
        assert (done.returncode, done.stderr) == (0, "")
        return [line.split("\t")[1] for line in (tmp_path / "out" / "drums.tsv").read_text().splitlines()[1:]]

    every = labels()
    assert set(labels("--labels", "kick,snare")) == {"kick", "snare"}
    assert len(labels("--sensitivity", "1")) > len(every) > len(labels("--sensitivity", "0"))
    fewer = labels("--sensitivity", "hihat=0.0,kick=0.5")
    assert fewer.count("kick") == every.count("kick")
    assert fewer.count("hihat") < every.count("hihat")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", "cowbell"], "dance: labels must be some of kick, snare, hihat"),
        (["--sensitivity", "1.5"], "dance: sensitivity must lie between 0 and 1"),
        (["--sensitivity", "cowbell=0.5"], "dance: no label 'cowbell'"),
        (["--sensitivity", "much"], "'much' is neither a number nor like"),
    ],
)
def test_wrong_arguments_are_code_2(wav: Path, options: list[str], message: str) -> None:
    done = dance("transcribe", wav, "--out", wav.parent, "--model", tiny(), *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("transcribe --out x --jobs x", "--jobs: 'x' is not a whole number"),
        ("latency --hits x", "--hits: 'x' is not a whole number"),
        ("latency --rate 1.5", "--rate: '1.5' is not a whole number"),
        ("listen --rate 0", "--rate: must be at least 1, not 0"),
        ("listen --osc-release x", "--osc-release: 'x' is not a number of seconds"),
        ("listen --midi-notes 60", "--midi-notes: '60' is not like kick=36,snare=38"),
        ("listen --midi-notes kick=x", "--midi-notes: 'kick=x' is not like kick=36,snare=38"),
        ("listen --web 99999", "--web: must be 0 to 65535, not 99999"),
        ("play song --web -1", "--web: must be 0 to 65535, not -1"),
        ("listen --seconds 0", "--seconds: must be more than 0 seconds, not 0"),
        ("listen --seconds -1", "--seconds: must be more than 0 seconds, not -1"),
        ("listen --seconds nan", "--seconds: must be more than 0 seconds, not nan"),
        ("listen --seconds x", "--seconds: 'x' is not a number of seconds"),
    ],
)
def test_what_is_no_such_number_is_told(command: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(command.split())
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"dance {command.split()[0]}: error: argument {problem}"


@pytest.mark.parametrize(
    ("options", "patience"), [(["--seconds", "2"], 2), ([], math.inf), (["--seconds", "2", "--no-reconnect"], 0)]
)
def test_a_device_is_waited_for_as_long_as_it_would_be_heard(
    options: list[str], patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        def __init__(self, device: object, rates: object, **given: object) -> None:
            assert given["patience"] == patience
            raise SourceError("none")

    monkeypatch.setattr("dance.commands.listen.Microphone", Missing)
    assert main(["listen", "--model", str(tiny()), *options]) == 2


@pytest.mark.parametrize("command", ["transcribe", "play"])
def test_a_folder_that_cannot_be_made_is_one_line(command: str, wav: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(wav), "--out", str(wav / "below"), "--model", str(tiny())]) == 2
    assert re.fullmatch(r"dance: --out .*below: Not a directory; choose another folder\n", capsys.readouterr().err)


def test_transcribing_stays_below_150_mb(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 48000, 2, subtype="PCM_16") as file:
        for _ in range(20):  # ten minutes: 220 MB as float32
            file.write(np.repeat(drums(30.0, 48000)[:, None], 2, axis=1))
    # Not getrusage: its maximum counts what the parent had when it started the child.
    code = (
        "import sys; from dance.cli import main; code = main(sys.argv[1:]);"
        "print(open('/proc/self/status').read(), file=sys.stderr); sys.exit(code)"
    )
    done = run("-c", code, "transcribe", path, "--out", tmp_path, "--model", model(), timeout=300)
    assert done.returncode == 0
    assert int(re.search(r"VmHWM:\s+(\d+) kB", done.stderr)[1]) < 150 * 1000


def test_play_prints_hits_and_score_and_leaves_list_and_picture(tmp_path: Path, wav: Path) -> None:
    truth = [f"{(hit + 0.5) / 4}\t{'snare' if hit % 2 else 'kick'}\t1" for hit in range(8)]
    (tmp_path / "truth.tsv").write_text("\n".join(["time\tlabel\tvelocity", *truth]))
    out = tmp_path / "out"
    done = dance("play", wav, "--truth", tmp_path / "truth.tsv", "--out", out, "--model", tiny())
    assert done.returncode == 0
    assert re.search(r"^ +0\.1\d\d s  kick +\d\.\d\d  #+$", done.stdout, re.MULTILINE)
    assert re.search(r"^kick +4 +\d+ +\d\.\d\d\d +1\.000 ", done.stdout, re.MULTILINE)
    assert re.search(r"^all +8 ", done.stdout, re.MULTILINE)
    assert re.search(r"2\.0 s heard, \d+ events, 0 samples lost", done.stderr)
    dance("transcribe", wav, "--out", tmp_path, "--model", tiny())
    assert (out / "drums.tsv").read_text() == (tmp_path / "drums.tsv").read_text()
    assert (out / "drums.png").read_bytes().startswith(b"\x89PNG")


def test_with_json_standard_output_holds_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "dance.plot", None)  # takes a second
    soundfile.write(tmp_path / "x.wav", drums(0.5), 44100)
    (tmp_path / "truth.tsv").write_text("time\tlabel\tvelocity\n0.125\tkick\t1\n")
    options = ["--json", "--truth", tmp_path / "truth.tsv", "--out", tmp_path, "--model", tiny()]
    assert main(["play", *map(str, [tmp_path / "x.wav", *options])]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["label"] for line in out.splitlines()]
    assert "precision" in err and f"{tmp_path / 'x.tsv'}\n" in err


def test_the_cost_of_the_first_moments_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    _sum_up(Stats(44100, samples=441, busy=1.0))
    assert capsys.readouterr().err == "0.0 s heard, 0 events, 0 samples lost\n"
    _sum_up(Stats(44100, samples=44100, busy=0.02))
    assert capsys.readouterr().err == "1.0 s heard, 0 events, 0 samples lost, 2.0% of real time busy\n"


def test_the_meter_passes_over_drums_that_it_does_not_show() -> None:
    from dance.sinks.meter import Meter

    meter = Meter(["snare"], "")
    meter(hit("kick"))
    meter(hit("snare"))
    assert meter._counts == {"snare": 1}


def test_play_does_not_overwrite_the_truth(tmp_path: Path, wav: Path) -> None:
    (tmp_path / "drums.tsv").write_text(truth := "time\tlabel\tvelocity\n0.125\tkick\t1\n")
    done = dance("play", wav, "--truth", tmp_path / "drums.tsv", "--out", tmp_path, "--model", tiny())
    assert done.returncode == 2
    assert re.fullmatch(r"dance: .*drums\.tsv is the truth.*\n", done.stderr)
    assert (tmp_path / "drums.tsv").read_text() == truth


def test_play_spares_what_lies_beside_the_song(
    tmp_path: Path, wav: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "dance.plot", None)  # takes a second
    play = ["play", wav, "--out", tmp_path, "--model", tiny()]
    for name in ("drums.tsv", "drums.png"):
        (tmp_path / name).write_text("mine")
        assert main(list(map(str, play))) == 2
        assert re.search(rf"{re.escape(name)} lies beside the song: .*--force\n", capsys.readouterr().err)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "drums.tsv").write_text("mine")
    assert main(list(map(str, [*play, "--force"]))) == 0
    assert (tmp_path / "drums.tsv").read_text().startswith(HEADER)


def test_a_name_with_signs_of_mathematics_is_drawn(tmp_path: Path, wav: Path) -> None:
    song = shutil.copy(wav, tmp_path / "A$AP_$.wav")
    assert transcribe(song, "--out", tmp_path, "--plot") == 0
    assert (tmp_path / "A$AP_$.png").is_file()


def test_play_without_matplotlib_leaves_the_list(tmp_path: Path, wav: Path) -> None:
    without = stand_in(tmp_path / "m", "matplotlib", "raise ImportError('none')")
    done = dance("play", wav, "--out", tmp_path / "out", "--model", tiny(), PYTHONPATH=without)
    assert done.returncode == 0
    assert "no picture without matplotlib" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["drums.tsv"]


def on_terminal(
    *arguments: object, interrupt_at: bytes = b"", stdout: IO[str] | None = None, **environment: str
) -> tuple[int, str]:
    """Run the command on a terminal, interrupt it when it shows something; return code and what is seen there."""
    path = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), str(ROOT / "engine")]))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dance", *map(str, arguments)],
        stdin=theirs,
        stdout=stdout or theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "60", "PYTHONPATH": path},
    )
    os.close(theirs)
    output = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            output += os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if interrupt_at and interrupt_at in output:
            process.send_signal(signal.SIGINT)
            interrupt_at = b""
    os.close(ours)
    return process.wait(60), output.decode()


def test_play_on_a_terminal_shows_the_meter(wav: Path) -> None:
    code, text = on_terminal("play", wav, "--model", tiny())
    assert code == 0
    assert "█" in text
    assert re.search(r"2\.0 s heard, \d+ events", text)


def test_play_on_a_terminal_without_rich_prints_lines(tmp_path: Path, wav: Path) -> None:
    without = stand_in(tmp_path / "m", "rich", "raise ImportError('none')")
    code, text = on_terminal("play", wav, "--model", tiny(), PYTHONPATH=without)
    assert code == 0
    assert 'pip install ".[show]"' in text
    assert "s  kick" in text
    assert "█" not in text


def test_transcribe_on_a_terminal_shows_progress(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", drums(60.0), 44100)
    code, text = on_terminal("transcribe", tmp_path / "a.wav", "--out", tmp_path, "--model", tiny())
    assert code == 0
    assert "━" in text
    assert re.search(r"a\.wav -> .*a\.tsv: \d+ events, \d+ x real time", text)  # in one line, however narrow


def test_transcribe_into_a_file_still_shows_progress(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", drums(60.0), 44100)
    with (tmp_path / "list").open("w") as out:
        code, text = on_terminal("transcribe", tmp_path / "a.wav", "--out", tmp_path, "--model", tiny(), stdout=out)
    assert code == 0
    assert "━" in text and "real time" not in text
    assert "x real time" in (tmp_path / "list").read_text()


def test_ctrl_c_ends_with_the_figures_and_code_130() -> None:
    code, text = on_terminal("play", SONG, "--model", tiny(), interrupt_at=b"hits")
    assert code == 130
    assert "s heard" in text
    assert "Traceback" not in text


def test_ctrl_c_in_the_first_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(commands: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dance.cli.make_parser", interrupted)
    assert main(["devices"]) == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_that_end_programs_end_it_as_ctrl_c_does(
    number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    def devices() -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # again, as a whole group may get it: what ends is not disturbed
            signal.raise_signal(signal.SIGTERM)
            ended.append(True)

    monkeypatch.setattr("dance.commands.devices.list_devices", devices)
    assert main(["devices"]) == code
    assert ended == [True]
    assert signal.getsignal(number) is signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    monkeypatch.setattr("dance.commands.devices.list_devices", lambda: signal.raise_signal(signal.SIGHUP) or [])
    try:
        assert main(["devices"]) != 129
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("there", [True, False])
def test_streams_that_were_closed_are_no_traceback(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Device(0, "USB", 1, 44100, True)] if there else []
    monkeypatch.setattr("dance.commands.devices.list_devices", lambda: found)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["devices"]) == (0 if there else 2)


def test_ctrl_c_while_transcribing_leaves_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile(drums(30.0), 40), 44100)
    out = tmp_path / "out"
    code, text = on_terminal("transcribe", tmp_path / "a.wav", "--out", out, "--model", tiny(), interrupt_at=b"a.wav")
    assert code == 130
    assert "Traceback" not in text
    assert list(out.iterdir()) == []


def test_a_closed_pipe_is_no_traceback(wav: Path) -> None:
    path = os.pathsep.join([str(ROOT / "engine"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "dance", "play", wav, "--model", tiny()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    process.stdout.readline()
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1


@pytest.mark.skipif(not RELEASED.is_file(), reason="no released model yet")
def test_the_demo_song_with_the_released_model(tmp_path: Path) -> None:
    done = dance("play", SONG, "--truth", TRUTH, "--out", tmp_path)
    assert done.returncode == 0
    every = re.search(r"^all +\d+ +\d+ +\S+ +\S+ +(\S+)", done.stdout, re.MULTILINE)
    assert float(every[1]) >= 0.8
    assert {path.name for path in tmp_path.iterdir()} == {"song.tsv", "song.png"}
