"""A microphone without hardware: a PulseAudio server of our own whose only device is a cable.

What is played into its output comes out of its input, bit for bit. Nothing else on the machine hears it.

Contents
--------
VirtualMicrophone
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from .errors import SourceError

_TOOLS = ("pulseaudio", "pactl", "pacat")
_START_SECONDS = 20.0


class VirtualMicrophone:
    """The server, and for as long as it is open the environment in which this process's PortAudio finds it.

    Open it before the first device: PortAudio's name for input and output is ``pulse``.

    Parameters
    ----------
    sample_rate : int
        In hertz.

    Raises
    ------
    SourceError
        If PulseAudio is missing or does not start.
    """

    name = "pulse"
    """What PortAudio calls its input and its output."""

    def __init__(self, sample_rate: int = 44100) -> None:
        missing = [tool for tool in _TOOLS if not shutil.which(tool)]
        if missing:
            raise SourceError(
                f"a virtual microphone needs {', '.join(missing)}: "
                "sudo apt-get install pulseaudio pulseaudio-utils libasound2-plugins"
            )
        # In the system's own folder: the path of a socket must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="pulse-")
        folder = Path(self._folder.name)
        ours = {
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{folder}/native",
        }
        self.sample_rate = sample_rate
        self._before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._begin(folder, sample_rate)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the server and restore the environment; any number of times."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            process.communicate()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before = {}
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, folder: Path, rate: int) -> None:
        script = folder / "default.pa"
        script.write_text(
            f"load-module module-null-sink sink_name=vmic rate={rate} channels=1 format=s16le\n"
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={folder}/native\n"
            "set-default-sink vmic\nset-default-source vmic.monitor\n"
        )
        options = ("--exit-idle-time=-1", "--realtime=no", "--high-priority=no", "--daemonize=no", "--use-pid-file=no")
        server = self._run("pulseaudio", "-n", "-F", str(script), *options)
        deadline = monotonic() + _START_SECONDS
        while subprocess.run(["pactl", "info"], capture_output=True, check=False).returncode:
            if server.poll() is not None or monotonic() > deadline:
                raise SourceError('PulseAudio does not start; see what "pulseaudio -n -vv" says')
            sleep(0.05)
        # Silence keeps the sink awake; until its first sample comes out, which takes two seconds, we wait here.
        form = ("--raw", f"--rate={rate}", "--channels=1", "--format=s16le", "--latency-msec=10")
        self._run("pacat", "--playback", "-d", "vmic", *form, "/dev/zero")
        recorder = self._run("pacat", "--record", "-d", "vmic.monitor", *form)
        assert recorder.stdout is not None
        if not recorder.stdout.read(1):
            raise SourceError("PulseAudio's virtual microphone gives no sound; close other sound servers and try again")
        self._processes.remove(recorder)
        recorder.terminate()
        recorder.communicate()

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        # In a session of their own, so that Ctrl-C ends us first, and then we end them.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        self._processes.append(process)
        return process
