"""The compiled step: it computes what ONNX Runtime does with the same file, and refuses what does not fit."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper
from stage import model as released

from dance import _tcn
from dance.errors import SpecError
from dance.network import Network
from dance.onnx_file import OnnxFile
from dance.tcn import DESCRIPTION

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from test_restored import CONFIG, USUAL, exported  # noqa: E402

from models import build  # noqa: E402
from training.export import default_spec, export  # noqa: E402

SMALL = {"channels": 8, "dilations": (1, 4, 2)}
FORMS = [{}, {"depth_db": 30.0}, {"usual_db": USUAL}, {"depth_db": 30.0, "usual_db": USUAL, "timbre": 5}]


def music(bands: int) -> np.ndarray:
    """Return frames: noise of changing level with attacks, silence, and something louder than full scale."""
    rng = np.random.default_rng(1)
    frames = rng.normal(-50, 15, (1500, bands)) + 30 * (rng.random((1500, 1)) < 0.05)
    frames[300:400] = -100
    frames[700] = 40
    return frames.astype(np.float32)


def answers(network: Network, frames: np.ndarray) -> np.ndarray:
    return np.stack([np.concatenate([*network.step(f), network.timbre], axis=1)[0].copy() for f in frames])


@pytest.mark.parametrize("sizes", FORMS, ids=" ".join)
def test_it_computes_what_the_graph_does(sizes, tmp_path):
    path = exported(tmp_path, "tcn", **SMALL, **sizes)
    step, graph = Network(path), Network(path, compiled=False)
    assert (step.compiled, graph.compiled) == (True, False)
    assert step.spec == graph.spec
    frames = music(12)
    expected = answers(graph, frames)
    assert expected.std(axis=0).min() > 5e-4, "the test needs answers that differ"
    np.testing.assert_allclose(answers(step, frames), expected, rtol=1e-4, atol=5e-5)
    assert not np.array_equal(answers(step, frames[:20]), answers(Network(path), frames[:20])), "it remembers nothing"
    step.reset()
    assert np.array_equal(answers(step, frames[:20]), answers(Network(path), frames[:20]))


def test_the_released_model_is_compiled():
    step, graph = Network(released()), Network(released(), compiled=False)
    assert step.compiled
    frames = music(step.spec.features.bands)
    labels = len(step.spec.labels)
    differences = np.abs(answers(step, frames) - answers(graph, frames))
    assert differences[:, : 2 * labels].max() < 5e-4
    assert differences.max() < 5e-3  # timbres are not bounded by 1


def test_equal_constants_keep_their_names(tmp_path):
    """A network that was never trained has many; torch writes one of them."""
    path = tmp_path / "new.onnx"
    export(build("tcn", bands=12, labels=3, **SMALL).eval(), default_spec(CONFIG, "new"), path)
    step, graph = Network(path), Network(path, compiled=False)
    assert step.compiled
    frames = music(12)
    np.testing.assert_allclose(answers(step, frames), answers(graph, frames), rtol=1e-4, atol=5e-5)


def test_others_are_left_to_onnx_runtime(tmp_path):
    assert not Network(exported(tmp_path, "gru", channels=8)).compiled


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("frontend"),
        lambda told: told["dilations"].append(1),
        lambda told: told["dilations"].__setitem__(0, 0),
        lambda told: told["dilations"].__setitem__(0, 1.5),
        lambda told: told["dilations"].__setitem__(slice(None), [2**63] * len(told["dilations"])),  # twice: a wrap to 0
        lambda told: told["frontend"].pop("decay"),
        lambda told: told["lift"].pop("share"),
    ],
    ids=["no frontend", "a block too many", "no dilation", "half a frame", "endless", "no decay", "no share"],
)
def test_a_wrong_description_is_refused(spoil, tmp_path):
    path = exported(tmp_path, "tcn", **SMALL, usual_db=USUAL)
    file = onnx.load(path)
    metadata = {entry.key: entry.value for entry in file.metadata_props}
    told = json.loads(metadata[DESCRIPTION])
    spoil(told)
    helper.set_model_props(file, metadata | {DESCRIPTION: json.dumps(told)})
    onnx.save(file, path)
    with pytest.raises(SpecError, match="export it again"):
        Network(path)
    assert not Network(path, compiled=False).compiled


def test_a_weight_that_is_missing_is_told(tmp_path):
    path = exported(tmp_path, "tcn", **SMALL)
    file = onnx.load(path)
    (mix,) = (tensor for tensor in file.graph.initializer if tensor.name == "stack.mix.1")
    mix.name = "other"
    onnx.save(file, path)
    with pytest.raises(SpecError, match=r"stack\.mix\.1"):
        Network(path)


def test_shapes_of_a_step_are_checked():
    network = Network(released())
    frame = np.zeros(network.spec.features.bands, np.float32)
    onset, velocity, timbre = np.zeros((2, 5), np.float32), np.zeros(5, np.float32), network.timbre[0]
    step = network._network.step
    assert isinstance(network._network, _tcn.TCN)
    for wrong in ((frame[1:], onset[0], velocity, timbre), (frame, onset[0, :4], velocity, timbre),
                  (frame, onset[0], velocity[1:], timbre), (frame, onset[0], velocity, timbre[1:])):  # fmt: skip
        with pytest.raises(ValueError, match="need 80 bands"):
            step(*wrong)
    with pytest.raises(ValueError, match="dtype"):
        step(frame.astype(np.float64), onset[0], velocity, timbre)
    with pytest.raises(TypeError, match="float32"):
        network.step(frame.astype(np.float64))


def test_a_file_is_read_as_onnx_reads_it(tmp_path):
    path = exported(tmp_path, "tcn", **SMALL, depth_db=30.0, usual_db=USUAL, timbre=5)
    file, known = OnnxFile.read(path), onnx.load(path)
    assert file.metadata == {entry.key: entry.value for entry in known.metadata_props}
    assert file.arrays.keys() == {tensor.name for tensor in known.graph.initializer}
    for tensor in known.graph.initializer:
        assert np.array_equal(file.arrays[tensor.name], onnx.numpy_helper.to_array(tensor))
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not an ONNX file"):
        OnnxFile.read(tmp_path / "cut.onnx")
