"""8-bit convolutions: an ONNX model (QDQ) whose convolutions read and weigh 8-bit numbers.

Static quantization after training (Jacob et al., CVPR 2018, section 2): weights by output channel, with the steps of
`models.weights.round_to_8_bits`, activations by tensor with the ranges that `training.ranges` measured and the
network's record keeps. The first convolution, which reads the picture, and everything that is no convolution stay as
they are: rounding residuals too (measured) was no faster on fixed sizes and cost up to 0.3 points.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from models.errors import TopologyError
from models.weights import STEPS, round_to_8_bits

__all__ = ["Ranges", "convolution_inputs", "quantize"]

Ranges = Mapping[str, tuple[float, float]]
"""Least and largest value of an activation, by its name in the graph."""

_CODES, _ZERO, _READ = ".codes", ".zero", ".read"


def convolution_inputs(model: onnx.ModelProto) -> list[str]:
    """The activations that convolutions read, but for the network's own inputs."""
    given = {value.name for value in model.graph.input}
    weights = {tensor.name for tensor in model.graph.initializer}
    read = [node.input[0] for node in model.graph.node if node.op_type == "Conv" and node.input[1] in weights]
    return [name for name in dict.fromkeys(read) if name not in given]


def quantize(onnx_bytes: bytes, ranges: Ranges) -> bytes:
    """QuantizeLinear and DequantizeLinear before every convolution whose input has a range, and its weights in int8.

    Activations that are never negative are uint8, others int8; 0 is 0. The same bytes for the same arguments.
    Raises: TopologyError if a convolution's input has no range, or a range belongs to no convolution.
    """
    model = onnx.load_from_string(onnx_bytes)
    expected = convolution_inputs(model)
    if set(expected) != set(ranges):
        missing, spare = sorted(set(expected) - set(ranges)), sorted(set(ranges) - set(expected))
        raise TopologyError(
            f"ranges and graph do not belong together: missing {missing or 'none'}, spare {spare or 'none'}; "
            "measure them again: the `ranges` command of the network's training module"
        )
    graph = model.graph
    floats = {tensor.name: tensor for tensor in graph.initializer}
    for name in expected:
        step, zero = _scale(ranges[name])
        graph.initializer.append(numpy_helper.from_array(step, name + STEPS))
        graph.initializer.append(numpy_helper.from_array(zero, name + _ZERO))
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Conv" and node.input[0] in ranges:
            weight = node.input[1]
            if weight in floats:
                graph.initializer.remove(tensor := floats.pop(weight))
                for name, values in _rounded(weight, numpy_helper.to_array(tensor)).items():
                    graph.initializer.append(numpy_helper.from_array(values, name))
                nodes.append(_dequantize(weight, axis=0))
            node.input[0], node.input[1] = node.input[0] + _READ, weight + _READ
        nodes.append(node)
        for name in (output for output in node.output if output in ranges):  # in an order of its own: bytes are keys
            nodes.append(helper.make_node("QuantizeLinear", _names(name, ""), [name + _CODES]))
            nodes.append(_dequantize(name))
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(model.SerializeToString(deterministic=True))


def _scale(limits: tuple[float, float]) -> tuple[NDArray[np.float32], NDArray[np.uint8] | NDArray[np.int8]]:
    low, high = limits
    tiny = float(np.finfo(np.float32).tiny)
    if low >= 0:
        return np.array(max(high, tiny) / 255, np.float32), np.zeros((), np.uint8)
    return np.array(max(-low, high, tiny) / 127, np.float32), np.zeros((), np.int8)


def _rounded(name: str, values: NDArray[np.float32]) -> dict[str, NDArray[np.int8] | NDArray[np.float32]]:
    rounded = round_to_8_bits(name, values)
    steps = rounded[name + STEPS]
    return {name + _CODES: rounded[name], name + STEPS: steps, name + _ZERO: np.zeros(len(steps), np.int8)}


def _names(name: str, form: str) -> list[str]:
    return [name + form, name + STEPS, name + _ZERO]


def _dequantize(name: str, **attributes: int) -> NodeProto:
    return helper.make_node("DequantizeLinear", _names(name, _CODES), [name + _READ], **attributes)
