"""ModelSpec and FeatureSpec: what they refuse, and that nothing is lost in a file."""

import json
import math
from dataclasses import replace

import pytest
from tiny_model import SPEC

from dance.errors import SpecError
from dance.spec import FeatureSpec, ModelSpec

NAN, INF = math.nan, math.inf


def test_json_round_trip():
    spec = replace(SPEC, features=FeatureSpec(bands=40, f_max=12345.6), thresholds=(0.1, 1 / 3, 0.9))
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_files_that_do_not_name_expectation_votes_and_evidence_have_none():
    values = json.loads(replace(SPEC, expectation=2.0, votes=0.5, evidence=1.0).to_json())
    del values["expectation"], values["votes"], values["evidence"]
    assert ModelSpec.from_json(json.dumps(values)) == SPEC


def change(**values):
    return json.dumps({**json.loads(SPEC.to_json()), **values})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        "{}",
        change(format=2),
        change(features=None),
        change(features={"bands": 80}),
        change(surprise=1),
        json.dumps({k: v for k, v in json.loads(SPEC.to_json()).items() if k != "thresholds"}),
    ],
)
def test_unknown_json(text):
    with pytest.raises(SpecError):
        ModelSpec.from_json(text)


@pytest.mark.parametrize(
    "values",
    [
        {"labels": ()},
        {"labels": ("kick", "kick", "hihat")},
        {"enabled": ("cowbell",)},
        {"thresholds": (0.5, 0.5)},
        {"thresholds": (0.0, 0.5, 0.5)},
        {"refractory_seconds": ()},
        {"attack_offset_seconds": (0.01,)},
        {"attack_offset_seconds": (0.01, float("nan"), 0.01)},
        {"refractory_seconds": ("a", "b", "c")},
        {"refractory_seconds": (0.05, -1.0, 0.05)},
        {"sample_rates": ()},
        {"sample_rates": (44100, 22050)},
        {"presence_seconds": 0.0},
        {"presence_seconds": NAN},
        {"presence_seconds": INF},
        {"maximum_seconds": -1.0},
        {"maximum_seconds": NAN},
        {"maximum_seconds": INF},
        {"sample_rates": (44100, NAN)},
        {"expectation": -1.0},
        {"expectation": NAN},
        {"expectation": INF},
        {"evidence": -1.0},
        {"votes": -0.1},
        {"votes": 1.1},
    ],
)
def test_wrong_model_spec(values):
    with pytest.raises(SpecError):
        replace(SPEC, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"hop_seconds": 0.0},
        {"hop_seconds": 0.1},
        {"attack_seconds": 0.0425},
        {"f_min": 16000.0},
        {"hop_seconds": NAN},
        {"window_seconds": INF},
        {"f_max": INF},
        {"bands": 0},
        {"floor": 0.0},
        {"floor": NAN},
        {"floor": INF},
    ],
)
def test_wrong_feature_spec(values):
    with pytest.raises(SpecError):
        FeatureSpec(**values)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_frames_end_on_the_grid(rate):
    spec = FeatureSpec(hop_seconds=0.0101)
    ends = [spec.frame_end(frame, rate) for frame in range(10000)]
    exact = [(frame + 1) * 0.0101 * rate for frame in range(10000)]
    assert max(abs(a - b) for a, b in zip(ends, exact, strict=True)) <= 0.5 + 1e-6
