"""What all tests share: the models to test with."""

from pathlib import Path

import pytest
import tiny_model
from hypothesis import settings

import dance

# How long an example takes says something about the machine, not about the code.
settings.register_profile("dance", deadline=None)
settings.load_profile("dance")


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model that is always there."""
    return tiny_model.save(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session", params=["tiny", "released"])
def model_path(request: pytest.FixtureRequest, tiny_path: Path) -> Path:
    """Give each model in turn: what holds for one has to hold for all."""
    if request.param == "tiny":
        return tiny_path
    released = Path(dance.__file__).parent / "released" / "dance.onnx"
    if not released.is_file():
        pytest.skip("no released model yet")
    return released
