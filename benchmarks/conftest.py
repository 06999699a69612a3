"""What the pytest-benchmark files share: options for a model and a recording."""

from pathlib import Path

import pytest

from benchmarks.common import SONG
from dance.detector import RELEASED


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("dance")
    group.addoption("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    group.addoption("--song", type=Path, default=SONG, help="recording to run over (default: the demo song)")
