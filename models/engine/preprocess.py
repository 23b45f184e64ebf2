"""Fold the preprocessing of a spec into the graph: uint8 NHWC BGR pixels in, as a decoder gives them.

A quarter of the bytes reach the network and the arithmetic is fused with the first layers by the compiler. It is done
on the ONNX graph, so that both compilers get the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.errors import SpecError
from models.spec import ChannelOrder, ModelSpec, Normalize, TensorSpec

__all__ = ["fold_pixels", "pixel_input"]


def pixel_input(spec: ModelSpec) -> TensorSpec:
    """The input after folding: same name and sizes, NHWC BGR uint8 (one channel if the network takes gray)."""
    tensor = spec.input
    if spec.normalize is None or tensor.layout != "NCHW" or not isinstance(tensor.channels, str):
        raise SpecError(f"{spec.name}: from_uint8 needs one NCHW image input with a colour order, and `normalize`")
    order: ChannelOrder = "GRAY" if tensor.channels == "GRAY" else "BGR"
    return replace(tensor, layout="NHWC", channels=order, dtype="uint8")


def fold_pixels(model_bytes: bytes, spec: ModelSpec) -> bytes:
    """Put cast, layout, colour order and normalization in front of the graph. Raises: SpecError."""
    pixels = pixel_input(spec)
    model = onnx.load_from_string(model_bytes)
    graph = model.graph
    old = next(value for value in graph.input if value.name == spec.input.name)
    inner = f"{old.name}__normalized"
    for node in graph.node:
        node.input[:] = [inner if name == old.name else name for name in node.input]
    dims = old.type.tensor_type.shape.dim
    sizes = [dims[axis].dim_param or dims[axis].dim_value for axis in (0, 2, 3, 1)]
    graph.input.remove(old)
    graph.input.insert(0, helper.make_tensor_value_info(pixels.name, TensorProto.UINT8, sizes))
    nodes, constants = _nodes(pixels.name, inner, spec)
    graph.initializer.extend(constants)
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *kept])
    del graph.value_info[:]
    return bytes(model.SerializeToString(deterministic=True))


def _nodes(source: str, target: str, spec: ModelSpec) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Cast first, since TensorRT takes nothing else on bytes; then layout, order, multiply, add."""
    normalize = spec.normalize or Normalize(mean=(0.0,), std=(1.0,))
    mean, std = np.asarray(normalize.mean, np.float64), np.asarray(normalize.std, np.float64)
    gain = (normalize.scale / std).astype(np.float32).reshape(1, -1, 1, 1)
    shift = (-mean / std).astype(np.float32).reshape(1, -1, 1, 1)
    step = f"{source}__pixels"
    nodes = [
        helper.make_node("Cast", [source], [f"{step}_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", [f"{step}_float"], [f"{step}_nchw"], perm=[0, 3, 1, 2]),
    ]
    constants = [numpy_helper.from_array(gain, f"{step}_gain"), numpy_helper.from_array(shift, f"{step}_shift")]
    last = f"{step}_nchw"
    if spec.input.channels == "RGB":
        constants.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), f"{step}_reversed"))
        nodes.append(helper.make_node("Gather", [last, f"{step}_reversed"], [f"{step}_rgb"], axis=1))
        last = f"{step}_rgb"
    nodes += [
        helper.make_node("Mul", [last, f"{step}_gain"], [f"{step}_scaled"]),
        helper.make_node("Add", [f"{step}_scaled", f"{step}_shift"], [target]),
    ]
    return nodes, constants
