"""Weights at rest: a topology and a safetensors file, joined to one ONNX model without torch.

The topology `<name>-<version>.onnx` is an ONNX graph whose initializers have a name, a type and a shape but no data
(kilobytes). The parameters lie in `<name>-<version>.safetensors` under their state_dict names: float16, batch norm
statistics float32; a matrix or kernel may be int8 with its rows' steps beside it (`round_to_8_bits`), which halves what
the repository's history has to carry. So what is served and what fine-tuning loads is one file. `training.export`
writes both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors.numpy import load as load_safetensors

from models.errors import DigestError, SpecError, TopologyError, WeightsMissingError
from models.spec import ModelSpec, Weights

__all__ = [
    "STEPS",
    "assemble_onnx",
    "join",
    "load_state",
    "read_checked",
    "restored",
    "round_to_8_bits",
    "sha256_of",
    "strip",
]

STEPS = ".steps"
"""What a tensor's name has behind it where its steps are meant."""
_RESTORE = "restore it with git (`git checkout -- FILE`), or export the network again"


def assemble_onnx(spec: ModelSpec) -> bytes:
    """The whole float32 ONNX model of a network.

    The bytes are the same for the same two files, so their SHA-256 can key compiled engines.
    Raises: WeightsMissingError, DigestError, TopologyError, SpecError (inputs or outputs are not those of the spec).
    """
    record = spec.record()
    topology = onnx.load_from_string(read_checked(record.topology))
    _check_names(spec, "inputs", [value.name for value in topology.graph.input], [t.name for t in spec.inputs])
    _check_names(spec, "outputs", [value.name for value in topology.graph.output], [t.name for t in spec.outputs])
    return join(topology, restored(load_safetensors(read_checked(record.weights))))


def load_state(spec: ModelSpec) -> dict[str, NDArray[Any]]:
    """The parameters in float32 or float16, digest checked. Raises: WeightsMissingError, DigestError."""
    return restored(load_safetensors(read_checked(spec.record().weights)))


def round_to_8_bits(name: str, values: NDArray[np.float32], largest: int = 127) -> dict[str, NDArray[Any]]:
    """A matrix or kernel as int8 of `values`' shape and float32 steps, one for each output channel (the first axis).

    Codes reach from -`largest` to `largest`.
    """
    rows = values.reshape(len(values), -1)
    steps = np.maximum(np.abs(rows).max(axis=1, initial=0.0), np.finfo(np.float32).tiny) / largest
    rounded = np.rint(rows / steps[:, None]).astype(np.int8)
    return {name: rounded.reshape(values.shape), name + STEPS: steps.astype(np.float32)}


def restored(stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What lies at rest, with 8-bit tensors as float32 again."""
    state = dict(stored)
    for name in [name for name in stored if name + STEPS in stored]:
        steps = state.pop(name + STEPS)
        state[name] = stored[name].astype(np.float32) * steps.reshape(-1, *(1,) * (stored[name].ndim - 1))
    return state


def join(topology: onnx.ModelProto, state: Mapping[str, NDArray[Any]]) -> bytes:
    """Fill the initializers of a topology, casting each to the type that the graph wants.

    Raises: TopologyError if a tensor is missing, spare, or of another shape.
    """
    model = onnx.ModelProto()
    model.CopyFrom(topology)
    wanted = {tensor.name: tensor for tensor in model.graph.initializer}
    missing, spare = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or spare:
        raise TopologyError(
            f"topology and weights do not belong together: missing {missing or 'none'}, spare {spare or 'none'}; "
            "export the network again, both files come from one export"
        )
    for name, tensor in wanted.items():
        values = state[name]
        if tuple(tensor.dims) != values.shape:
            raise TopologyError(
                f"{name}: the topology wants shape {tuple(tensor.dims)}, the weights have {values.shape}; "
                "export the network again, both files come from one export"
            )
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        tensor.raw_data = np.ascontiguousarray(values.astype(kind)).tobytes()
    return bytes(model.SerializeToString(deterministic=True))


def strip(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """The inverse of `join`: the graph without data, and the data by name."""
    topology = onnx.ModelProto()
    topology.CopyFrom(model)
    state: dict[str, NDArray[Any]] = {}
    for tensor in topology.graph.initializer:
        state[tensor.name] = onnx.numpy_helper.to_array(tensor)
        name, kind, dims = tensor.name, tensor.data_type, list(tensor.dims)
        tensor.Clear()
        tensor.CopyFrom(TensorProto(name=name, data_type=kind, dims=dims))
    return topology, state


def read_checked(file: Weights) -> bytes:
    """The bytes of a file, if they are the right ones. Raises: WeightsMissingError, DigestError."""
    try:
        content = file.path.read_bytes()
    except FileNotFoundError as error:
        raise WeightsMissingError(file.path, _RESTORE) from error
    came = sha256_of((content,))
    if came != file.sha256:
        raise DigestError(file.path, file.sha256, came, _RESTORE)
    return content


def sha256_of(chunks: Iterable[bytes] | Path) -> str:
    """Hexadecimal SHA-256 of bytes in pieces, or of a file."""
    if isinstance(chunks, Path):
        with chunks.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _check_names(spec: ModelSpec, side: str, came: list[str], expected: list[str]) -> None:
    if came != expected:
        raise SpecError(
            f"{spec.topology_path}: {side} of the graph are {came}, the spec of {spec.name} says {expected}"
        )
