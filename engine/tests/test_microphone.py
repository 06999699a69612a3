"""A real live input: PulseAudio with a null sink whose monitor is the microphone, PyAudio reading it.

The song is played into it while ``dance listen`` hears it; what it tells must be what the file says, but for one
constant offset. Unplugging and stalling are real here, too.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from stage import ROOT, SONG, model, run, until

from dance import Detector, Engine, Microphone, SoundFile, SourceError
from dance.score import match
from dance.tables import Hit, read_hits

TOOLS = ("pulseaudio", "pactl", "pacat", "paplay")
SECONDS = 10.0

missing = [tool for tool in TOOLS if not shutil.which(tool)]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} (apt-get install pulseaudio)")
pytest.importorskip("pyaudio", reason="needs PyAudio (apt-get install portaudio19-dev, pip install pyaudio)")


class Pulse:
    """A sound server of our own, its only device the null sink `vmic`."""

    def __init__(self, folder: Path, rate: int) -> None:
        self.rate = rate
        self.environment = {
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{folder}/native",
        }
        (folder / "default.pa").write_text(
            f"load-module module-null-sink sink_name=vmic rate={rate} channels=1 format=s16le\n"
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={folder}/native\n"
            "set-default-sink vmic\nset-default-source vmic.monitor\n"
        )
        options = [
            "--exit-idle-time=-1",
            "--realtime=no",
            "--high-priority=no",
            "--daemonize=no",
            "--use-pid-file=no",
        ]
        self._processes = [self._begin("pulseaudio", "-n", "-F", str(folder / "default.pa"), *options)]
        until(lambda: self._call("pactl", "info").returncode == 0)
        # Keeps the sink awake; and until the first sample comes out, which takes two seconds, we wait here.
        form = ["--raw", f"--rate={rate}", "--channels=1", "--format=s16le", "--latency-msec=10"]
        self._processes.append(self._begin("pacat", "--playback", "-d", "vmic", *form, "/dev/zero"))
        recorder = self._begin("pacat", "--record", "-d", "vmic.monitor", *form)
        assert recorder.stdout.read(1)
        recorder.terminate()
        recorder.communicate(timeout=10)

    def play(self, path: Path) -> None:
        """Play a file to its end."""
        self._call("paplay", "-d", "vmic", str(path)).check_returncode()

    def control(self, *arguments: str) -> None:
        self._call("pactl", *arguments).check_returncode()

    def close(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.communicate(timeout=10)

    def _begin(self, *command: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.environment}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def _call(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)


@pytest.fixture(params=[44100, 48000])
def pulse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulse]:
    # Not pytest's own folder: the path of a socket must be short.
    with (
        tempfile.TemporaryDirectory(prefix="pulse-") as folder,
        contextlib.closing(Pulse(Path(folder), request.param)) as server,
    ):
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def song(tmp_path: Path, pulse: Pulse) -> Path:
    """Return the beginning of the demo song as the sink takes it, behind half a second of silence."""
    with SoundFile(SONG, pulse.rate) as source:
        sound = np.zeros(round(SECONDS * pulse.rate), np.float32)
        start = pulse.rate // 2
        while start < len(sound) and (read := source.read(sound[start:], 0)).count:
            start += read.count
    soundfile.write(tmp_path / "song.wav", sound, pulse.rate, subtype="PCM_16")
    return tmp_path / "song.wav"


def agreement(heard: list[Hit], true: list[Hit], tolerance: float) -> tuple[float, float]:
    """Return F of one list against the other after removing their constant offset, and that offset."""
    labels = sorted({hit.label for hit in true})

    def pairs(offset: float, tolerance: float) -> Iterator[float]:
        for label in labels:
            ours = [hit.time - offset for hit in heard if hit.label == label]
            theirs = [hit.time for hit in true if hit.label == label]
            yield from (ours[j] - theirs[i] for i, j in match(theirs, ours, tolerance))

    # The first guess lets two of the first events meet, either of which may miss a doubtful one; the median refines it.
    guesses = [ours.time - theirs.time for ours in heard[:5] for theirs in true[:5]]
    guess = max(guesses, key=lambda guess: len(list(pairs(guess, tolerance))))
    offset = guess + float(np.median(list(pairs(guess, 2 * tolerance))))
    return 2 * len(list(pairs(offset, tolerance))) / (len(heard) + len(true)), offset


def test_listen_hears_in_the_microphone_what_is_in_the_file(pulse: Pulse, song: Path, tmp_path: Path) -> None:
    done = run("-m", "dance", "transcribe", song, "--out", tmp_path, "--model", model())
    assert done.returncode == 0
    true = read_hits(tmp_path / "song.tsv")

    command = ["listen", "--device", "pulse", "--plain", "--model", str(model())]
    command += ["--rate", str(pulse.rate), "--seconds", str(SECONDS + 3)]
    path = os.pathsep.join([str(ROOT / "engine"), os.environ.get("PYTHONPATH", "")])
    listener = subprocess.Popen(
        [sys.executable, "-m", "dance", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert listener.stderr.readline() == f"pulse, {pulse.rate} Hz\n"  # it listens
    pulse.play(song)
    output, errors = listener.communicate(timeout=60)
    assert listener.returncode == 0
    assert " 0 samples lost" in errors
    fields = [line.split() for line in output.splitlines()]
    heard = [Hit(float(time_), label, float(velocity)) for time_, _, label, velocity, *_ in fields]
    # the stream begins anywhere between two frames: a hit may fall into the next one, a doubtful one may tip over
    measure, offset = agreement(heard, true, 0.025)
    print(
        f"{pulse.rate} Hz: {len(true)} events in the file, {len(heard)} heard, "
        f"F {measure:.3f}, offset {1000 * offset:.1f} ms"
    )
    assert len(true) > 40
    assert measure >= 0.9


def test_the_samples_are_those_of_the_file(pulse: Pulse, song: Path) -> None:
    sound, _ = soundfile.read(song, dtype="float32")
    sound = sound[: 3 * pulse.rate]
    soundfile.write(song, sound, pulse.rate, subtype="PCM_16")
    heard, player = np.zeros(0, np.float32), None
    with Microphone("pulse", pulse.rate) as source:
        block = np.empty(4096, np.float32)
        while len(heard) < 5 * pulse.rate:
            read = source.read(block, 1.0)
            assert read.lost_before == 0
            heard = np.append(heard, block[: read.count])
            if player is None and len(heard) > pulse.rate // 4:
                player = subprocess.Popen(["paplay", "-d", "vmic", str(song)], env=os.environ)
        assert source.channels == 2
    assert player.wait(60) == 0
    start = int(np.argmax(np.abs(heard) > 0.05) - np.argmax(np.abs(sound) > 0.05))
    np.testing.assert_allclose(heard[start : start + len(sound)], sound, atol=1e-4)


def test_unplugging_ends_the_engine_with_a_line(pulse: Pulse) -> None:
    detector = Detector.load(model(), sample_rate=pulse.rate)
    with Microphone("pulse", pulse.rate) as source:
        engine = Engine(source, detector, lambda event: None)
        engine.start()
        until(lambda: engine.stats.samples)
        pulse.control("unload-module", "module-null-sink")
        assert engine.wait(30)
        with pytest.raises(SourceError, match=r"pulse.*(stopped|sends nothing)"):
            engine.stop()


def test_a_stall_ends_with_a_line(pulse: Pulse) -> None:
    with Microphone("pulse", pulse.rate) as source:
        block = np.empty(4096, np.float32)
        while not source.read(block, 1.0).count:
            pass
        pulse.control("suspend-sink", "vmic", "1")
        with pytest.raises(SourceError, match=r"pulse.*(stopped|sends nothing)"):
            while True:
                source.read(block, 1.0)


def test_devices_lists_it(pulse: Pulse) -> None:
    done = run("-m", "dance", "devices")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pulse" in done.stdout.split()
