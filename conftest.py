"""Says in pytest's header what the tests ran on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("dance", "numpy", "onnxruntime", "torch", "soundfile", "soxr", "pyaudio")


def pytest_report_header() -> list[str]:
    """Return the versions of what matters and the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return [
        "packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        f"processor: {model or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}",
    ]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
