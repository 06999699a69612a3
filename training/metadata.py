"""What a model file says about itself.

Contents
--------
write_spec, write_metadata
"""

import onnx

from dance.onnx_session import METADATA
from dance.spec import ModelSpec


def write_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Put `spec` into the model's metadata, replacing an earlier one."""
    write_metadata(model, METADATA, spec.to_json())


def write_metadata(model: onnx.ModelProto, key: str, value: str) -> None:
    """Put `value` under `key` into the model's metadata, replacing an earlier one."""
    kept = [p for p in model.metadata_props if p.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=key, value=value)
