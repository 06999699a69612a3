"""``dance doctor``: can this machine hear drums, and if not, what to do; a report to paste into an issue.

It looks at everything that has kept an installation from working: versions, optional libraries, processor and
governor, sound server and inputs, the model on drums made here, the cost of a hop. Names of people and machines
and paths of homes are left out. The exit code is 0 if the engine can run, with a microphone or without.
"""

import argparse
import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .. import detector
from .._version import __version__
from ..detector import Detector
from ..errors import DanceError, SourceError, install
from ..events import Event
from ..network import Network
from ..portaudio import list_devices
from ..probe import struck

NAME = "doctor"
HELP = "check this machine and print a report to paste into an issue"
EXAMPLES = (
    "dance doctor",
    "dance doctor > report.txt",
)

_UNFIT = 1
_SPEED = 5  # a hop may take a fifth of its time before the verdict is a warning: other programs need the core, too
_TOLERANCE = 0.03  # seconds between a hit and its event
_ENOUGH = 0.9  # of the hits must be heard; a lone synthetic one may sound like nothing in music
_HITS = 36
_SPACING = 0.25
_LEAD = 1.0
_PATTERN = ("kick", "hihat", "snare", "hihat")
_DEVELOPERS = {"labels", "training", "cluster", "test", "dev"}
"""Extras that are not needed for listening."""
_NOBODY = {"", "root", "pi", "user"}
"""Names that do not identify anybody."""


class Finding(NamedTuple):
    """A line of the report.

    Attributes
    ----------
    subject, text : str
    remedy : str
        What to do, if something is wrong or could be better.
    unfit : bool
        The engine cannot run.
    """

    subject: str
    text: str
    remedy: str = ""
    unfit: bool = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(options: argparse.Namespace) -> int:
    """Print the report; return whether the engine can run."""
    findings = []
    for look in (versions, extras, machine, sound, hearing):
        for finding in look():
            findings.append(finding)
            print(f"{finding.subject:12}{finding.text}", flush=True)
    if any(finding.remedy for finding in findings):
        print("\nto fix or improve")
    for finding in findings:
        if finding.remedy:
            print(f"{finding.subject:12}{finding.remedy}")
    unfit = any(finding.unfit for finding in findings)
    deaf = not any(finding.subject == "input" for finding in findings)
    verdict = "cannot run" if unfit else "can run, but has no microphone" if deaf else "can run"
    print(f"\nthe engine {verdict} here")
    return _UNFIT if unfit else 0


def versions() -> Iterator[Finding]:
    """Look at what is installed."""
    yield Finding("dance", __version__)
    yield Finding(
        "python",
        f"{platform.python_version()}, NumPy {np.__version__}, ONNX Runtime {onnxruntime.__version__}",
    )


def extras() -> Iterator[Finding]:
    """Look at the optional libraries, extra by extra."""
    try:
        required = importlib.metadata.requires("dance") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("extras", "unknown: dance is not installed", "pip install .")
        return
    wanted: dict[str, list[str]] = {}
    for line in required:
        found = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", line)
        if found and found[2] not in _DEVELOPERS and found[1] != "dance":
            wanted.setdefault(found[2], []).append(found[1])
    for extra, packages in wanted.items():
        there = {package: version for package in packages if (version := _version(package))}
        texts = [f"{package} {there.get(package, 'missing')}" for package in packages]
        # The microphone's own test below says more than this could.
        remedy = "" if len(there) == len(packages) or extra == "mic" else f"if you want it: {install(extra)}"
        yield Finding(extra, ", ".join(texts), remedy)


def machine() -> Iterator[Finding]:
    """Look at the system and the processor."""
    system = _read("/etc/os-release")
    pretty = re.search(r'^PRETTY_NAME="?(.*?)"?$', system, re.MULTILINE)
    kernel = f"{platform.system()} {platform.release()}"
    yield Finding("system", f"{pretty[1] if pretty else kernel}, {kernel}, {platform.machine()}")
    board = _read("/proc/device-tree/model").rstrip("\0")
    name = re.search(r"^model name\s*:\s*(.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    rest = [f"{os.cpu_count()} cores"]
    if hasattr(os, "getloadavg"):  # not on Windows
        rest.append(f"load {os.getloadavg()[0]:.1f}")
    if memory := re.search(r"^MemAvailable:\s*(\d+)", _read("/proc/meminfo"), re.MULTILINE):
        rest.append(f"{int(memory[1]) // 1024} MB of memory free")
    yield Finding("processor", ", ".join([board or (name[1] if name else platform.machine()), *rest]))
    folder = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    if governor := _read(folder / "scaling_governor"):
        top = int(_read(folder / "scaling_max_freq") or 0) // 1000
        remedy = ""
        if governor not in ("performance", "schedutil"):
            remedy = (
                "for even delays keep the clock up (until the next start): "
                "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            )
        yield Finding("governor", f"{governor}, up to {top} MHz", remedy)
    else:
        yield Finding("governor", "none: the clock cannot be set here")
    throttled = _output("vcgencmd", "get_throttled").removeprefix("throttled=")
    if throttled:
        # Low four bits: now; the bits above 16: since the start.
        bad = int(throttled, 16) if re.fullmatch(r"0x[0-9a-fA-F]+", throttled) else 0
        reasons = [
            text
            for bit, text in enumerate(("under-voltage", "clock capped", "throttled", "too hot"))
            if bad & (1 << bit | 1 << bit + 16)
        ]
        yield Finding(
            "power",
            f"{throttled} ({', '.join(reasons) or 'never throttled'})",
            "use the board's own power supply, and cool the board" if reasons else "",
        )


def sound() -> Iterator[Finding]:
    """Look at PortAudio, sound server and inputs."""
    try:
        import pyaudio
    except ImportError:
        pass  # `list_devices` below says what to do
    else:
        yield Finding("portaudio", pyaudio.get_portaudio_version_text())
    user = os.getuid() if hasattr(os, "getuid") else 0  # none on Windows
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{user}"))
    sockets = {"PipeWire": runtime / "pipewire-0", "PulseAudio": runtime / "pulse" / "native"}
    servers = [name for name, path in sockets.items() if path.exists()]
    told = re.search(r"^Server Name: (.*)$", _output("pactl", "info"), re.MULTILINE)
    yield Finding("server", discreet(told[1]) if told else ", ".join(servers) or "none, ALSA alone")
    cards = re.findall(r"^\s*\d+ \[.*?\]: (.*)$", _read("/proc/asound/cards"), re.MULTILINE)
    yield Finding("cards", discreet("; ".join(cards)) or "none")
    groups = "sudo usermod -aG audio $USER, then log in again"
    closed = [path for path in Path("/dev/snd").glob("pcm*c") if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        yield Finding("access", "this user may not open the sound devices", groups)
    try:
        devices = list_devices()
    except SourceError as error:
        yield Finding("inputs", "unknown", discreet(str(error)))
        return
    if not devices:
        yield Finding(
            "inputs",
            "none",
            "plug in a microphone, and check that `arecord -l` lists it; log in again if the sound server is new",
        )
    for device in devices:
        mark = ", used by default" if device.default else ""
        yield Finding(
            "input", f"{device.index} {discreet(device.name)}: {device.channels} at {device.sample_rate} Hz{mark}"
        )


def hearing() -> Iterator[Finding]:
    """Look at the model: what it is, whether it hears, and what that costs."""
    path = detector.RELEASED
    again = "install dance again, from its checkout: pip install --force-reinstall ."
    if not path.is_file():
        yield Finding("model", "missing", again, unfit=True)
        return
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    try:
        network = Network(path)
    except DanceError as error:
        yield Finding("model", f"{len(content)} bytes, {digest}: {discreet(str(error))}", again, unfit=True)
        return
    spec = network.spec
    yield Finding("model", f"{spec.name}: {', '.join(spec.labels)}; {len(content)} bytes, {digest}")
    for rate in spec.sample_rates:
        network.reset()
        samples, hits = drums(rate)
        hop = round(spec.features.hop_seconds * rate)
        events, seconds = hear(Detector(network, sample_rate=rate), samples, hop)
        right, stray = judge(hits, events)
        works = right >= _ENOUGH * len(hits) and not stray
        yield Finding(
            "self-test",
            f"{rate} Hz: {right} of {len(hits)} drums heard, {stray} events where nothing was hit",
            "" if works else f"the model does not work here; {again}; if that does not help, open an issue",
            unfit=not works,
        )
        yield cost(rate, hop / rate, seconds)


def cost(rate: int, hop: float, seconds: NDArray[np.float64]) -> Finding:
    """Return the verdict on what each hop of `hop` seconds took."""
    median, late = (float(value) for value in np.percentile(seconds, (50, 99)))
    text = (
        f"{rate} Hz: a hop of {1000 * hop:.0f} ms takes {1000 * median:.2f} ms (median), "
        f"{1000 * late:.2f} ms (p99); {seconds.mean() / hop:.1%} of real time"
    )
    if seconds.mean() >= hop:
        return Finding("cost", f"{text}: too slow", "this machine cannot keep up; close what else runs", unfit=True)
    if late * _SPEED >= hop:
        return Finding("cost", f"{text}: tight", "close what else runs, and see `governor` above")
    return Finding("cost", f"{text}: keeps up")


def drums(sample_rate: int) -> tuple[NDArray[np.float32], list[tuple[float, str]]]:
    """Return drums made from formulas after a second of silence, float32 mono, and (seconds, label) of each."""
    random = np.random.default_rng(0)
    hits = [(_LEAD + hit * _SPACING, _PATTERN[hit % len(_PATTERN)]) for hit in range(_HITS)]
    samples = np.zeros(round((hits[-1][0] + 2 * _SPACING) * sample_rate))
    for at, label in hits:
        drum = struck(label, sample_rate, random)
        start = round(at * sample_rate)
        samples[start : start + len(drum)] += drum
    return samples.astype(np.float32), hits


def hear(detector: Detector, samples: NDArray[np.float32], hop: int) -> tuple[list[Event], NDArray[np.float64]]:
    """Return all events and the seconds that each hop took, the samples coming hop by hop as live ones do."""
    events: list[Event] = []
    seconds = []
    for start in range(0, len(samples), hop):
        began = perf_counter()
        events += detector.process(samples[start : start + hop])
        seconds.append(perf_counter() - began)
    return events + detector.flush(), np.array(seconds)


def judge(hits: list[tuple[float, str]], events: list[Event]) -> tuple[int, int]:
    """Return how many hits were heard under their names, and how many events were near no hit at all."""
    right = sum(
        any(event.label == label and abs(event.time - at) <= _TOLERANCE for event in events) for at, label in hits
    )
    stray = sum(all(abs(event.time - at) > _TOLERANCE for at, _ in hits) for event in events)
    return right, stray


def discreet(text: str) -> str:
    """Return a text from outside without paths, and without the names of this user and this machine."""
    text = re.sub(r"(?<!\w)~?(?:/[^/\s:;,'\"]+)+/([^/\s:;,'\"]+)", r"…/\1", text)
    names = {socket.gethostname()}
    with contextlib.suppress(RuntimeError):  # without HOME, as below
        names.add(Path.home().name)
    try:
        import pwd  # Windows has none

        entry = pwd.getpwuid(os.getuid())
        names |= {entry.pw_name, *re.split(r"[,\s]+", entry.pw_gecos)}
    except (ImportError, KeyError):  # a container may run as a user whom nobody knows
        pass
    for name in names - _NOBODY:
        text = re.sub(rf"\b{re.escape(name)}\b", "…", text, flags=re.IGNORECASE)
    return text


def _read(path: str | Path) -> str:
    """Return a file of the system, or nothing where there is none."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _output(*command: str) -> str:
    """Return what a command prints, or nothing where it is missing or fails."""
    if not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=5, env={**os.environ, "LC_ALL": "C"}, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
