"""8-bit convolutions: what is rounded, how far the answer moves, and ranges that do not belong to the graph."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.engine import EngineConfig, load_engine
from models.errors import TopologyError
from models.expression import EXPRESSION_NANO
from models.quantization import convolution_inputs, quantize
from models.weights import assemble_onnx


def two_convolutions() -> onnx.ModelProto:
    """A picture through two convolutions; a third reads what the second does, with the second's weights."""
    random = np.random.default_rng(0)
    weights = {
        "first": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "second": random.normal(size=(5, 4, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["picture", "first"], ["seen"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["seen"], ["lit"]),
        helper.make_node("Conv", ["lit", "second"], ["left"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["lit", "second"], ["right"]),
        helper.make_node("ReduceMax", ["right"], ["most"], keepdims=1),
        helper.make_node("Add", ["left", "most"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 5, 8, 8])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def answer(model: bytes, picture: np.ndarray) -> np.ndarray:
    """By onnx's own reference, which rounds as the standard says."""
    from onnx.reference import ReferenceEvaluator

    return np.asarray(ReferenceEvaluator(onnx.load_from_string(model)).run(None, {"picture": picture})[0])


def test_convolutions_but_the_first_read_and_weigh_8_bit_numbers() -> None:
    whole = two_convolutions()
    assert convolution_inputs(whole) == ["lit"]
    picture = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    rounded = quantize(whole.SerializeToString(), {"lit": (0.0, 14.0)})
    model = onnx.load_from_string(rounded)
    onnx.checker.check_model(model, full_check=True)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds["first"] == TensorProto.FLOAT
    assert kinds["second.codes"] == TensorProto.INT8
    assert kinds["lit.zero"] == TensorProto.UINT8  # never negative
    expected = answer(whole.SerializeToString(), picture)
    far = np.abs(answer(rounded, picture) - expected).max() / np.abs(expected).max()
    assert 0 < far < 0.02
    assert rounded == quantize(whole.SerializeToString(), {"lit": (0.0, 14.0)})


def test_what_lies_beyond_its_range_is_cut_off() -> None:
    whole = two_convolutions().SerializeToString()
    picture = np.full((1, 3, 8, 8), 3, np.float32)
    narrow, wide = (answer(quantize(whole, {"lit": (0.0, high)}), picture) for high in (0.5, 60.0))
    assert np.abs(narrow).max() < 0.2 * np.abs(wide).max()


def test_negative_activations_are_signed() -> None:
    model = onnx.load_from_string(quantize(two_convolutions().SerializeToString(), {"lit": (-3.0, 1.0)}))
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert kept["lit.zero"].dtype == np.int8
    assert kept["lit.steps"] == pytest.approx(3 / 127)


@pytest.mark.parametrize("ranges", [{}, {"lit": (0.0, 1.0), "left": (0.0, 1.0)}])
def test_ranges_of_another_graph_are_refused(ranges: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(TopologyError, match=r"missing .* spare .*`ranges` command"):
        quantize(two_convolutions().SerializeToString(), ranges)


def test_an_engine_takes_8_bits_where_ranges_were_measured(tiny: Any) -> None:
    faces = np.random.default_rng(2).integers(0, 256, (8, 48, 48, 1), np.uint8)
    found = {}
    for precision in ("f32", "int8", "auto"):
        config = EngineConfig(compiler="openvino", precision=precision, threads=1)
        with load_engine(EXPRESSION_NANO, config, from_uint8=True) as engine:
            found[precision] = engine.run({EXPRESSION_NANO.input.name: faces})["probabilities"]
            assert engine.precision == ("f32" if precision == "f32" else "int8")
    np.testing.assert_array_equal(found["auto"], found["int8"])
    assert 0 < np.abs(found["int8"] - found["f32"]).max() < 0.1
    with load_engine(tiny.spec, EngineConfig(compiler="openvino", precision="int8"), from_uint8=True) as engine:
        assert engine.precision != "int8"  # nobody measured its ranges


def test_the_records_ranges_are_those_of_the_graph(tiny: Any) -> None:
    ranges = EXPRESSION_NANO.record().ranges
    assert set(ranges) == set(convolution_inputs(onnx.load_from_string(assemble_onnx(EXPRESSION_NANO))))
    assert all(low <= 0 < high for low, high in ranges.values())
    record = json.loads(tiny.spec.record_path.read_text())
    tiny.spec.record_path.write_text(json.dumps(record | {"ranges": ["not", "a", "mapping"]}))
    from models.errors import SpecError

    with pytest.raises(SpecError, match="not a record of weights"):
        tiny.spec.record()
