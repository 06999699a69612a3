"""Says in pytest's header what the tests ran on, and has the longest files begin first."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

LONGEST = (
    "test_labelgen_audio",
    "test_labelgen_work",
    "test_cli",
    "test_training_distributed",
    "test_training",
    "test_restored",
    "test_instructions",
)
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that take minutes first: begun last, they would leave the other processes idle."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
