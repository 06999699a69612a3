"""What is heavy, or not everybody's, is imported only by who uses it."""

import pytest
from stage import run

HEAVY = {
    "torch", "librosa", "scipy", "sklearn", "numba", "matplotlib", "rich", "soundfile", "soxr", "pyaudio", "onnx",
    "lightning", "pandas",
}  # fmt: skip


@pytest.mark.parametrize("module", ["dance", "dance.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    done = run("-c", f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})")
    assert not done.stderr
    loaded = set(done.stdout.split())
    assert {"dance", "numpy"} <= loaded
    assert not loaded & HEAVY


def test_what_takes_long_waits_until_it_is_needed() -> None:
    done = run("-c", "import sys, dance; print(*sys.modules)")
    assert not {"asyncio", "multiprocessing", "onnxruntime", "socket"} & set(done.stdout.split())


def test_listening_does_without_openssl() -> None:
    done = run("-c", "import sys, dance.commands.listen; print(*sys.modules)")
    assert "dance.commands.listen" in done.stdout
    assert not {"_hashlib", "_ssl"} & set(done.stdout.split())


def test_the_public_names() -> None:
    import dance

    assert all(hasattr(dance, name) for name in dance.__all__)
    assert {
        "Detector",
        "Engine",
        "ProcessEngine",
        "Settings",
        "Microphone",
        "SoundFile",
        "Event",
        "__version__",
    } <= set(dance.__all__)
