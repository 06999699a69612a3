"""What the documentation tells people to type works: it is run here, or a table says why not.

Contents
--------
NOT_RUN, NOT_PROGRAMS, OUTPUTS, STAND_INS
"""

import gc
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from stage import PATIENCE, RELEASED, ROOT, drums, tiny

from dance import Settings, SoundFile
from dance.cli import main, make_parser

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "data" / "README.md",
    ROOT / "examples/README.md",
]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

OUTPUTS = ('"pulse" -> ', '{"label":', "F within 50 ms", "engine/dance/   the package")
"""How blocks begin that show what a program prints, or a layout, and nothing to type."""

NOT_RUN = {
    r"make (demo|listen|test)\b": "installs, and hears a microphone or runs these tests; .ci does it from nothing",
    r"(sudo|apt-get|([\w./]+/bin/)?pip|git|scp|ssh|systemctl|echo (performance|snd-seq)) ": "changes a machine",
    r"(alsamixer|pw-top|pw-metadata|pactl|journalctl)\b": "asks a sound server or a service of the user's",
    r"arecord -l$": "asks for sound cards",
    r"(arecord|parec) .*\| dance listen": "needs a sound card or server; the same pipe is run with ffmpeg",
    r"PULSE_SOURCE=": "needs a sound server; test_microphone.py hears a monitor",
    r"dance latency": "plays for half a minute; test_latency.py runs it",
    r"dance listen --midi": "needs the kernel's sequencer; test_sinks_midi.py runs it",
    r"dance listen --wled": "needs a strip in the network; test_sinks_wled.py runs it",
    r"\.ci/cross-aarch64": "minutes, and a cross compiler; test_aarch64.py runs it",
    r"python labelgen/manual\.py": "test_labelgen_manual.py runs it",
    r"python labelgen/midi\.py": "needs soundfonts; test_labelgen_midi.py runs it",
    r"python training/(train|survey|export|calibrate|evaluate)\.py": "minutes; test_training.py runs it",
    r"python training/finetune\.py": "minutes; test_finetune.py runs it",
    r"python benchmarks/latency\.py": "minutes, and recordings; test_latency.py runs its parts",
    r"python benchmarks/long_run\.py": "hours; test_long_run.py runs it for seconds",
    r"(SDL_VIDEODRIVER=dummy )?python examples/": "as long as the song; test_examples.py runs it on a shorter one",
    r"python engine/tests/photograph": "needs a browser; test_web.py and test_examples.py open the pages",
}
"""Patterns of commands that are not run, and why. A test that is named is one that exists."""

NOT_PROGRAMS = {
    "while not engine.wait(1 / 60)": "a loop that belongs to a window; examples/draw_loop.py is the whole",
    "    ...\n": "an example of arguments",
    "pyaudiowpatch": "Windows",
}
"""Parts of Python programs that are not run, and why; those of docs/embed.md are run by test_embed.py."""

STAND_INS = {
    "https://radio.example/stream": "song.mp3",
    "192.168.1.20:9000": "9000",  # nobody's machine
    "9001": "0",
    "/opt/dance/bin/dance": "dance",
}
"""What a test cannot have, and what stands for it."""

# For programs in a process of their own: a file is the microphone, and any port will do.
PATCHED = """
import functools, dance
dance.Microphone = functools.partial(dance.SoundFile, "song.ogg")
if {monitor}:
    import dance.web.monitor as web
    web.Monitor = functools.partial(web.Monitor, port=0)
"""


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a language, or of none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for own, text in found if own == language]


def lines() -> list[tuple[str, str]]:
    """Return page and command line, of code blocks without a language, comments cut off."""
    found = set()
    for page in PAGES:
        for block in blocks(page, ""):
            if not block.lstrip().startswith(OUTPUTS):
                for line in block.replace("\\\n", " ").splitlines():
                    if line := re.sub(r"(^|\s)#.*", "", line).strip():
                        found.add((str(page.relative_to(ROOT)), line))
    return sorted(found)


def commands() -> Iterator[tuple[str, str]]:
    """Yield page and each command of a line that is ours."""
    for page, line in lines():
        for part in re.split(r"\s(?:\||&&)\s", line):
            if re.match(r"(dance|python\s+\S+\.py|make)\s", part + " "):
                yield page, part


def excuse(line: str) -> str | None:
    """Return why a line is not run."""
    return next((reason for pattern, reason in NOT_RUN.items() if re.match(pattern, line)), None)


RUN = sorted({line for _, line in lines() if not excuse(line)})


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_documented_commands_are_understood(page: str, command: str) -> None:
    words = [word for word in shlex.split(re.sub(r"\s*>.*", "", command)) if word != "..."]
    if words[0] == "make":
        assert set(words[1:]) <= TARGETS
        return
    if words[0] == "dance":
        parser, arguments = make_parser(), words[1:]
        if arguments in ([], ["COMMAND", "-h"]):
            return
    else:
        file = ROOT / words[1]
        if file.parent.name in ("examples", "tests"):  # they read their arguments as they are run
            assert file.is_file()
            return
        pytest.importorskip("torch")
        spec = importlib.util.spec_from_file_location(f"documented_{file.stem}", file)
        assert spec and spec.loader, file
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        parser, arguments = module.parser(), words[2:]
    try:
        parser.parse_args(arguments)
    except SystemExit as end:
        assert end.code == 0, command  # -h and --version


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all that the documented commands name."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "album").mkdir()
    for name in ("song.flac", "song.ogg", "song.mp3", "album/one.mp3", "album/two.mp3"):
        soundfile.write(folder / name, drums(1.5), 44100)
    (folder / "session.f32").write_bytes(drums(1.5).tobytes())
    for name in ("album.onnx", "mine.onnx"):
        shutil.copy(tiny(), folder / name)
    Settings().with_label("kick", gate=0.1).save(folder / "dance-settings.json")
    (folder / "bin").mkdir()
    program = folder / "bin" / "dance"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dance "$@"\n')
    program.chmod(0o755)
    return folder


class FileMicrophone(SoundFile):
    """A microphone that records a file."""

    overflows = 0

    def __init__(self, device: int | str | None, rates: object, *, period: int, **options: object) -> None:
        super().__init__("song.ogg", rates)
        self.name = str(device)


def environment(home: Path) -> dict[str, str]:
    """Return that of a process in which `dance` is this one."""
    path = os.pathsep.join((str(home / "bin"), os.environ["PATH"]))
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "engine"), "PYTHONUNBUFFERED": "1"}


@pytest.mark.skipif(not RELEASED.is_file(), reason="needs the released model")
@pytest.mark.parametrize("line", RUN)
def test_documented_commands_run(
    line: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, stand_in in STAND_INS.items():
        line = re.sub(rf"(?<!\S){re.escape(name)}(?!\S)", stand_in, line)
    if "|" in line:
        pipe(line, home)
    elif "--loop" in line:
        until_interrupted(line, home)
    else:
        program, *words = shlex.split(line)
        assert program == "dance", f"{line}: neither run nor in NOT_RUN"
        monkeypatch.chdir(home)
        if words[0] == "listen":
            monkeypatch.setattr("dance.commands.listen.Microphone", FileMicrophone)
            monkeypatch.setattr("dance.commands.monitor.PORT", 0)
            monkeypatch.setattr("dance.commands.outputs.PORT", 0)
        code = main(
            [name for word in words for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        )
        gc.unfreeze()  # which `listen` has frozen, for its process
        said = capsys.readouterr()
        check(words, code, said.out, said.err, home)


def check(words: list[str], code: int, output: str, errors: str, home: Path) -> None:
    """Check that a command of ours has done what it is for."""
    if words[0] == "listen":
        assert code == 0, errors
        assert "kick" in output
        assert (output[0] == "{") == ("--json" in words)
        assert ("in a browser" in errors) == ("--web" in words)
    elif words[0] == "transcribe":
        assert code == 0, errors
        wanted = (
            ["song.tsv"]
            if "--format" not in words
            else [f"{n}.{k}" for n in ("one", "two") for k in ("mid", "txt", "png")]
        )
        assert all((home / "heard" / name).stat().st_size for name in wanted)
    elif words[0] == "devices":  # there may be none
        assert (code, "rate  name" in output) in ((0, True), (2, False))
    else:
        assert words == ["doctor"]
        assert code in (0, 1)
        assert "self-test" in output


def pipe(line: str, home: Path) -> None:
    """Run a line with a pipe, to its end."""
    program = line.split()[0]
    if not shutil.which(program):
        pytest.skip(f"needs {program} (apt-get install {program})")
    command = ["sh", "-c", line.replace("ffmpeg ", "ffmpeg -nostdin -loglevel error ")]
    done = subprocess.run(
        command, cwd=home, env=environment(home), capture_output=True, text=True, timeout=60 * PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "kick" in done.stdout


def until_interrupted(line: str, home: Path) -> None:
    """Run a line that has no end until it has told some hits."""
    words = shlex.split(line.replace("--web", "--web 0"))
    process = subprocess.Popen(
        words, cwd=home, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        told = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60 * PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert all(re.match(r"\s+\d+\.\d+ s  (kick|snare|hihat)", hit) for hit in told)


def programs() -> Iterator[tuple[str, str]]:
    """Yield page and Python program."""
    for page in PAGES:
        if page.name != "embed.md":
            for program in blocks(page, "python"):
                if not any(part in program for part in NOT_PROGRAMS):
                    yield str(page.relative_to(ROOT)), program


@pytest.mark.skipif(not RELEASED.is_file(), reason="needs the released model")
@pytest.mark.parametrize(("page", "program"), list(programs()), ids=lambda text: text.splitlines()[-1].strip()[:30])
def test_documented_programs_run(page: str, program: str, home: Path) -> None:
    for module, extra in (("pythonosc", "osc"), ("websockets", "web"), ("mido", "midi")):
        pytest.importorskip(module, reason=f'needs {module}: pip install ".[{extra}]"')
    (home / "heard").mkdir(exist_ok=True)
    file = home / "program.py"
    file.write_text(PATCHED.format(monitor="Monitor" in program) + program)
    done = subprocess.run(
        [sys.executable, file], cwd=home, env=environment(home), capture_output=True, text=True, timeout=60 * PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"kick|song\.mid", done.stdout)


def test_the_tables_hold_nothing_else() -> None:
    """An excuse that nothing needs, or that names a test which is gone, would hide a new command."""
    every = [line for _, line in lines()]
    for pattern, reason in NOT_RUN.items():
        assert any(re.match(pattern, line) for line in every), pattern
        assert all((ROOT / "engine" / "tests" / name).is_file() for name in re.findall(r"test_\w+\.py", reason))
    texts = [block.lstrip() for page in PAGES for block in blocks(page, "")]
    assert all(any(text.startswith(begin) for text in texts) for begin in OUTPUTS)
    python = [program for page in PAGES for program in blocks(page, "python")]
    assert all(any(part in program for program in python) for part in NOT_PROGRAMS)
    assert all(any(name in line for line in every) for name in STAND_INS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target
