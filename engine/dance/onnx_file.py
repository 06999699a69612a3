"""What stands in an ``.onnx`` file: metadata and named arrays, read without ONNX Runtime.

The few fields of the format that matter here are declared below, by the numbers of ``onnx.proto``; Protocol
Buffers passes over all others.

Contents
--------
OnnxFile
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_TYPES: Mapping[int, str] = {1: "<f4", 7: "<i8"}  # TensorProto's FLOAT and INT64; others are left out


@dataclass(frozen=True)
class OnnxFile:
    """A model file as data.

    Attributes
    ----------
    path : Path
    metadata : mapping of str to str
    arrays : mapping of str to array
        The constants of the graph that are float32 or int64; not to be written to.
    """

    path: Path
    metadata: Mapping[str, str]
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        OSError
            If it cannot be read.
        ValueError
            If it is no such file.
        """
        from google.protobuf.message import DecodeError

        model = _model()()
        try:
            model.ParseFromString(path.read_bytes())
        except DecodeError as error:
            raise ValueError(f"{path} is not an ONNX file: {error}") from None
        arrays = {
            tensor.name: np.frombuffer(tensor.raw_data, _TYPES[tensor.data_type]).reshape(tuple(tensor.dims))
            for tensor in model.graph.initializer
            if tensor.data_type in _TYPES and tensor.raw_data
        }
        return cls(path, {entry.key: entry.value for entry in model.metadata_props}, arrays)


@cache
def _model() -> Any:
    """Return the class of ONNX's ModelProto, with the fields that are read."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # slow to load

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="dance/onnx.proto", package="dance", syntax="proto2")

    def declare(message: str, fields: Mapping[str, tuple[int, Any]], repeated: frozenset[str]) -> None:
        declared = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = field.LABEL_REPEATED if name in repeated else field.LABEL_OPTIONAL
            if isinstance(kind, str):
                declared.field.add(
                    name=name, number=number, label=label, type=field.TYPE_MESSAGE, type_name=f".dance.{kind}"
                )
            else:
                declared.field.add(name=name, number=number, label=label, type=kind)

    tensor = {
        "dims": (1, field.TYPE_INT64),
        "data_type": (2, field.TYPE_INT32),
        "name": (8, field.TYPE_STRING),
        "raw_data": (9, field.TYPE_BYTES),
    }
    declare("Tensor", tensor, frozenset({"dims"}))
    declare("Graph", {"initializer": (5, "Tensor")}, frozenset({"initializer"}))
    declare("Entry", {"key": (1, field.TYPE_STRING), "value": (2, field.TYPE_STRING)}, frozenset())
    declare("Model", {"graph": (7, "Graph"), "metadata_props": (14, "Entry")}, frozenset({"metadata_props"}))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("dance.Model"))
