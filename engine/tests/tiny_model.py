"""A model without training: three regions of the spectrum, an onset where the level of one rises.

It has what a released model has (streaming step, several states, metadata), costs nothing and always says the
same, so tests of everything around a network use it.

Contents
--------
SPEC, build, save, song
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dance.spec import FeatureSpec, ModelSpec

SPEC = ModelSpec(
    name="tiny",
    labels=("kick", "snare", "hihat"),
    enabled=("kick", "snare", "hihat"),
    features=FeatureSpec(),
    sample_rates=(44100, 48000),
    thresholds=(0.5, 0.5, 0.5),
    refractory_seconds=(0.05, 0.05, 0.05),
    attack_offset_seconds=(0.008, 0.008, 0.008),
)

_BIAS = 12.0
"""Rise of a region's mean level in dB over two frames at which the onset activation is one half."""


def build(spec: ModelSpec = SPEC) -> onnx.ModelProto:
    """Return the model; the labels share the bands evenly, lowest first."""
    bands, labels = spec.features.bands, len(spec.labels)
    regions = np.zeros((bands, labels), np.float32)
    for label, region in enumerate(np.array_split(np.arange(bands), labels)):
        regions[region, label] = 1 / len(region)
    constants = {
        "regions": regions,
        "bias": np.float32(_BIAS),
        "gain": np.float32(0.5),
        "full": np.float32(0.02),
        "zero": np.float32(0),
        "one": np.float32(1),
    }
    nodes = [
        helper.make_node("MatMul", ["frame", "regions"], ["next_last"]),
        helper.make_node("Identity", ["last"], ["next_earlier"]),
        helper.make_node("Min", ["last", "earlier"], ["least"]),
        helper.make_node("Sub", ["next_last", "least"], ["rise"]),
        helper.make_node("Sub", ["rise", "bias"], ["above"]),
        helper.make_node("Mul", ["above", "gain"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["onset"]),
        helper.make_node("Mul", ["rise", "full"], ["part"]),
        helper.make_node("Clip", ["part", "zero", "one"], ["velocity"]),
    ]

    def values(name: str, size: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])

    graph = helper.make_graph(
        nodes,
        "tiny",
        [values("frame", bands), values("last", labels), values("earlier", labels)],
        [values(name, labels) for name in ("onset", "velocity", "next_last", "next_earlier")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"dance": spec.to_json()})
    onnx.checker.check_model(model)
    return model


def save(path: Path, spec: ModelSpec = SPEC) -> Path:
    """Write the model to `path` and return it."""
    onnx.save(build(spec), path)
    return path


def song(sample_rate: int, seconds: float = 3.0) -> NDArray[np.float32]:
    """Return hits that the model hears: four a second, low, middle and high in turn, over a quiet hum.

    It is computed from formulas without anything above 12 kHz, so that it is the same music at any rate.
    """
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    hum = np.geomspace(40, 12000, 40)[:, None]
    samples = np.sum(3e-4 * np.sin(2 * np.pi * hum * time + hum), axis=0)
    partials = ((50, 90, 170), (1400, 1800, 2300), (5000, 8000, 12000))
    for hit in range(int(seconds * 4)):
        since = time - (0.1234 + hit / 4)
        swell = np.sin(np.pi / 2 * since.clip(0, 0.004) / 0.004) ** 2
        level = 0.2 * swell * np.exp(-since.clip(0) / 0.03)
        for frequency in partials[hit % 3]:
            samples += level * np.sin(2 * np.pi * frequency * since)
    return samples.astype(np.float32)
