"""Network: one step equals a plain run of the model, and files that are no model of ours are refused."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_model
from onnx import TensorProto, helper

from dance.errors import SpecError
from dance.network import Network


def frames(spec, count=300):
    rng = np.random.default_rng(0)
    levels = rng.uniform(-90, -10, (count // 10, spec.features.bands)).repeat(10, axis=0)
    return (levels + rng.normal(0, 3, levels.shape)).astype(np.float32)


def run(network, frames):
    return [tuple(array.copy() for array in network.step(frame)) for frame in frames]


def test_step_equals_plain_run(model_path):
    network = Network(model_path, compiled=False)
    session = onnxruntime.InferenceSession(str(model_path), providers=["CPUExecutionProvider"])
    states = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name != "frame"}
    names = [output.name for output in session.get_outputs()]
    for frame in frames(network.spec):
        expected = dict(zip(names, session.run(names, {"frame": frame[None], **states}), strict=True))
        states = {name: expected["next_" + name] for name in states}
        onset, velocity = network.step(frame)
        assert onset.shape == velocity.shape == (1, len(network.spec.labels))
        np.testing.assert_allclose(onset, expected["onset"], atol=1e-6)
        np.testing.assert_allclose(velocity, expected["velocity"], atol=1e-6)


def test_reset_equals_new(model_path):
    used, new = Network(model_path), Network(model_path)
    sequence = frames(used.spec, 100)
    run(used, sequence[:33])
    used.reset()
    for a, b in zip(run(used, sequence), run(new, sequence), strict=True):
        assert np.array_equal(a, b)


def test_tiny_model_hears_a_rise(tiny_path):
    network = Network(tiny_path)
    assert network.spec == tiny_model.SPEC
    frame = np.full(80, -80, np.float32)
    assert network.step(frame)[0].max() < 0.01
    frame[:27] += 40
    onset, velocity = network.step(frame)
    assert onset[0] == pytest.approx([1, 0, 0], abs=0.01)
    assert velocity[0] == pytest.approx([0.8, 0, 0], abs=0.01)


def test_wrong_frame(tiny_path):
    network = Network(tiny_path)
    with pytest.raises(TypeError):
        network.step(np.zeros(80))
    with pytest.raises(ValueError, match="broadcast"):
        network.step(np.zeros(79, np.float32))


def test_loading_is_quiet_and_leaves_arithmetic_alone(tiny_path, capfd):
    Network(tiny_path)
    assert capfd.readouterr() == ("", "")
    # ONNX Runtime can flush denormal numbers to zero, but then does so for the whole thread of the caller.
    assert np.full(1, 1e-40, np.float32) * np.float32(1) > 0


def without_metadata(model):
    del model.metadata_props[:]


def other_format(model):
    values = json.loads(tiny_model.SPEC.to_json())
    helper.set_model_props(model, {"dance": json.dumps({**values, "format": 99})})


def no_json(model):
    helper.set_model_props(model, {"dance": "tiny"})


def other_bands(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 79


def other_labels(model):
    values = json.loads(tiny_model.SPEC.to_json())
    for name in ("labels", "enabled", "thresholds", "refractory_seconds", "attack_offset_seconds"):
        values[name] = values[name][:2]
    helper.set_model_props(model, {"dance": json.dumps(values)})


def dynamic_shape(model):
    for value in (model.graph.input[1], model.graph.output[2]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def half_precision(model):
    model.graph.input.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT16, [1, 3]))


def no_frame(model):
    model.graph.input[0].name = "frames"
    model.graph.node[0].input[0] = "frames"


def no_velocity(model):
    del model.graph.output[1]


def state_without_next(model):
    del model.graph.output[3]


def next_without_state(model):
    model.graph.output.append(helper.make_tensor_value_info("next_other", TensorProto.FLOAT, [1, 3]))
    model.graph.node.append(helper.make_node("Identity", ["rise"], ["next_other"]))


def state_that_changes_shape(model):
    model.graph.input[2].type.tensor_type.shape.dim[1].dim_value = 1


@pytest.mark.parametrize(
    "spoil",
    [
        without_metadata,
        other_format,
        no_json,
        other_bands,
        other_labels,
        dynamic_shape,
        half_precision,
        no_frame,
        no_velocity,
        state_without_next,
        next_without_state,
        state_that_changes_shape,
    ],
)
def test_other_models_are_refused(spoil, tmp_path):
    model = tiny_model.build()
    spoil(model)
    onnx.save(model, tmp_path / "spoilt.onnx")
    with pytest.raises(SpecError):
        Network(tmp_path / "spoilt.onnx")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(SpecError, match="no model file"):
        Network(tmp_path / "absent.onnx")
    with pytest.raises(SpecError):
        Network(tmp_path)
    (tmp_path / "text.onnx").write_text("this is no model")
    with pytest.raises(SpecError, match="text"):
        Network(tmp_path / "text.onnx")
