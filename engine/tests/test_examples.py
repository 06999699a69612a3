"""The examples do what they show."""

import ast
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from browser import HOW, MISSING, chromium
from stage import ROOT, SONG, Script, detector, drums, run, tiny, until

from dance import Engine, Event
from dance.colours import COLOURS, colour
from dance.labels import LABELS

EXAMPLES = ROOT / "examples"
CELL = re.compile(r"\x1b\[48;2;(\d+);(\d+);(\d+)m ")
HEARS = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "touchdesigner.py")  # that one only listens


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "drums.wav", drums(1.5), 44100)
    return tmp_path / "drums.wav"


def cells(text: str) -> np.ndarray:
    """Return the colours of the coloured blanks in a line."""
    return np.array([list(map(int, match)) for match in CELL.findall(text)]).reshape(-1, 3)


def assert_colour(found: np.ndarray, label: str) -> None:
    """Assert that the brightest cell has the drum's hue."""
    brightest = found[np.argmax(found.sum(axis=1))].astype(float)
    wanted = np.array(list(bytes.fromhex(colour(label)[1:])), float)
    assert brightest @ wanted / np.linalg.norm(brightest) / np.linalg.norm(wanted) > 0.97


@pytest.mark.parametrize("path", HEARS, ids=lambda path: path.name)
def test_each_explains_itself(path: Path) -> None:
    if path.name == "pygame_rings.py":
        pytest.importorskip("pygame", reason="needs pygame (pip install pygame)")
    done = run(path, "-h")
    assert done.returncode == 0
    assert "--model" in done.stdout


def test_each_is_short() -> None:
    for path in (*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.html"), *EXAMPLES.glob("*/*.pde")):
        assert len(path.read_text().splitlines()) < 120, path


def test_callback(wav: Path) -> None:
    done = run("examples/callback.py", wav, "--model", tiny())
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) >= 6
    assert {line[2] for line in lines} <= {"kick", "snare", "hihat"}
    assert float(lines[0][0]) == pytest.approx(0.125, abs=0.02)


def test_draw_loop(wav: Path) -> None:
    done = run("examples/draw_loop.py", wav, "--model", tiny())
    assert (done.returncode, done.stderr) == (0, "")
    frames = done.stdout.strip().splitlines()  # a \r ends a line here
    assert len(frames) > 10
    assert any("#" in frame for frame in frames)
    assert all("kick" in frame and "hihat" in frame for frame in frames)


def test_pygame_rings(wav: Path, tmp_path: Path) -> None:
    pygame = pytest.importorskip("pygame", reason="needs pygame (pip install pygame)")
    picture = tmp_path / "rings.png"
    done = run("examples/pygame_rings.py", wav, "--model", tiny(), "--picture", picture, SDL_VIDEODRIVER="dummy")
    assert (done.returncode, done.stderr) == (0, "")
    pixels = pygame.surfarray.array3d(pygame.image.load(picture)).astype(int)
    assert pixels.shape == (960, 540, 3)
    for number, label in enumerate(("kick", "snare", "hihat")):  # a disc for each
        assert_colour(pixels[160 + 320 * number, 270][None], label)
    assert pixels[5, 535].sum() < 60  # on a dark ground


def test_terminal(wav: Path, tmp_path: Path) -> None:
    picture = tmp_path / "lines.png"
    done = run("examples/terminal.py", wav, "--model", tiny(), "--width", 61, "--picture", picture)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, name = done.stdout.splitlines()
    assert name == str(picture)
    shown = [cells(line) for line in lines]
    assert all(line.shape == (61, 3) for line in shown)
    middle = max(shown, key=lambda line: line[30].sum())[30]  # where kicks are
    assert middle.sum() > 100
    assert_colour(middle[None], "kick")
    assert not shown[0].any()  # nothing was hit yet
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_led_strip_simulated(wav: Path, tmp_path: Path) -> None:
    picture = tmp_path / "strip.png"
    options = ("--simulate", "--leds", 30, "--picture", picture)
    done = run("examples/led_strip.py", wav, "--model", tiny(), *options)
    assert (done.returncode, done.stderr) == (0, "")
    frames = [cells(frame) for frame in done.stdout.splitlines() if CELL.search(frame)]  # a \r ends a line here
    assert all(frame.shape == (30, 3) for frame in frames)
    assert_colour(max(frames, key=lambda frame: frame[15].sum())[15:16], "kick")
    assert not frames[-1].any()  # dark at the end
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_led_strip_drives_the_real_library(wav: Path, tmp_path: Path) -> None:
    (tmp_path / "rpi_ws281x.py").write_text(
        "class PixelStrip:\n"
        "    def __init__(self, num, pin, brightness): self.leds = [None] * num; print('made', num, pin, brightness)\n"
        "    def begin(self): print('begun')\n"
        "    def setPixelColorRGB(self, n, red, green, blue): self.leds[n] = red, green, blue\n"
        "    def show(self): print(self.leds)\n"
    )
    done = run(
        "examples/led_strip.py", wav, "--model", tiny(), "--leds", 8, "--brightness", 1, PYTHONPATH=str(tmp_path)
    )
    assert (done.returncode, done.stderr) == (0, "")
    made, begun, *frames = done.stdout.splitlines()
    assert (made, begun) == ("made 8 18 255", "begun")
    assert max(red for frame in frames for red, _, _ in ast.literal_eval(frame)) > 50
    assert frames[-1] == str([(0, 0, 0)] * 8)


@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_whatever_ends_it_leaves_the_strip_dark(ending: str) -> None:
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "led_strip.py", SONG, "--simulate", "--leds", "9", "--model", tiny()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "engine")},
    )
    assert process.stdout.read(10)
    process.send_signal(signal.Signals[ending])
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert not cells(output.decode().rpartition("\r")[2]).any()


@pytest.mark.parametrize("path", HEARS, ids=lambda path: path.name)
def test_what_cannot_be_opened_is_a_line(path: Path, tmp_path: Path) -> None:
    if path.name == "pygame_rings.py":
        pytest.importorskip("pygame", reason="needs pygame (pip install pygame)")
    simulate = ["--simulate"] * (path.name == "led_strip.py")
    done = run(path, tmp_path / "none.wav", *simulate, "--model", tiny(), SDL_VIDEODRIVER="dummy")
    assert done.returncode == 1
    assert "none.wav" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_strip_needs_its_library(wav: Path) -> None:
    done = run("examples/led_strip.py", wav, "--model", tiny())
    assert done.returncode == 1
    assert "rpi_ws281x" in done.stderr and "--simulate" in done.stderr and "Traceback" not in done.stderr


def test_touchdesigner() -> None:
    spec = importlib.util.spec_from_file_location("touchdesigner_callbacks", EXAMPLES / "touchdesigner.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pulses: list[str] = []

    class Parameter:
        def __init__(self, val: object) -> None:
            self.val = val

        def eval(self) -> object:
            return self.val

    fields = {f"name{number}": Parameter("") for number in range(40)}
    fields |= {f"value{number}": Parameter(0.0) for number in range(40)}
    drums_chop = SimpleNamespace(par=SimpleNamespace(**fields))
    kick = SimpleNamespace(par=SimpleNamespace(Pulse=SimpleNamespace(pulse=lambda: pulses.append("kick"))))
    module.op = {"drums": drums_chop, "kick": kick}.get

    for address, value in (
        ("/dance/kick", 0.8),
        ("/dance/kick", 0.0),  # released
        ("/dance/presence/kick", 0.8),
        ("/dance/presence/snare", 0.3),
        ("/dance/snare", 0.3),  # nobody wants to know
        ("/dance/presence/kick", 0.4),
    ):
        module.onReceiveOSC(None, 0, f"{address} {value}", b"", 0.0, address, [value], None)
    shown = {fields[f"name{number}"].val: fields[f"value{number}"].val for number in range(3)}
    assert shown == {"kick": 0.4, "snare": 0.3, "": 0.0}
    assert pulses == ["kick"]


def test_the_receivers_know_the_addresses_that_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address that the Processing sketch asks for is one that `Osc` sends."""
    pytest.importorskip("pythonosc", reason='needs python-osc: pip install ".[osc]"')
    from pythonosc import udp_client

    from dance.sinks import Osc

    sent: set[str] = set()
    monkeypatch.setattr(udp_client.SimpleUDPClient, "send_message", lambda self, address, value: sent.add(address))
    sink = Osc(("kick", "snare", "hihat"), port=12000)
    for label in ("kick", "snare", "hihat"):
        sink(Event(label, 0.8, 1.0, 0, 0, 44100))
    sink.pulse()
    sink.close()
    sketch = (EXAMPLES / "processing" / "processing.pde").read_text()
    names = re.search(r"drums = \{ (.*) \}", sketch)[1].replace('"', "").split(", ")
    asked = {prefix + name for prefix in re.findall(r'checkAddrPattern\("(.*?)" \+ drums', sketch) for name in names}
    assert asked == sent
    assert re.findall(r"#[0-9A-F]{6}", sketch) == [COLOURS[name].upper() for name in names]


def test_the_web_visual_has_the_colours_of_the_drums() -> None:
    page = (EXAMPLES / "visual.html").read_text()
    assert dict(re.findall(r'(\w+): "(#[0-9a-f]{6})"', page)) == {label: COLOURS[label] for label in LABELS}
    assert not re.search(r"(src|href)=|https?:|@import", page)  # nothing from elsewhere


@pytest.mark.skipif(bool(MISSING), reason=f"needs {MISSING} ({HOW})")
def test_the_web_visual_shows_hits_and_waits_for_the_program() -> None:
    pytest.importorskip("websockets", reason="needs websockets (pip install websockets)")
    from dance.sinks import WebSocket

    labels = ("kick", "snare", "hihat")
    socket = WebSocket(labels, port=0)
    page = f"{(EXAMPLES / 'visual.html').as_uri()}?{socket.url}"
    ready = Script(drums(2.0), None)
    with chromium(600, 400) as browser:
        browser.get(page)
        until(lambda: browser.execute_script("return labels.length") == 3)
        with Engine(ready, detector(), socket) as engine:
            until(lambda: engine.stats.events >= 6)
            until(lambda: int(re.search(r"\d+|$", browser.title)[0] or 0) >= engine.stats.events)
        port = int(re.search(r":(\d+)", socket.url)[1])
        socket.close()
        until(lambda: "waiting for ws:" in browser.find_element("tag name", "p").text)
        again = WebSocket(labels, port=port)
        try:
            until(lambda: browser.find_element("tag name", "p").text == "")
        finally:
            again.close()
        assert not [entry for entry in browser.get_log("browser") if "SyntaxError" in entry["message"]]
