"""Topology and weights are joined only if they are the right ones and belong together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

from models.errors import DigestError, SpecError, TopologyError, WeightsMissingError
from models.spec import TensorSpec
from models.weights import assemble_onnx, join, load_state, round_to_8_bits, sha256_of, strip


def rewrite(spec: Any, state: dict[str, NDArray[Any]]) -> None:
    content = save(state)
    spec.weights_path.write_bytes(content)
    record = json.loads(spec.record_path.read_text())
    record["weights"]["sha256"] = sha256_of((content,))
    spec.record_path.write_text(json.dumps(record))


def test_the_topology_carries_no_data(tiny: Any) -> None:
    topology = onnx.load(tiny.spec.topology_path)
    assert [tensor.name for tensor in topology.graph.initializer] == list(tiny.state)
    assert not any(tensor.raw_data or tensor.float_data for tensor in topology.graph.initializer)


def test_joined_weights_are_float32_under_their_names(tiny: Any) -> None:
    model = onnx.load_from_string(assemble_onnx(tiny.spec))
    onnx.checker.check_model(model)
    _, joined = strip(model)
    for name, values in tiny.state.items():
        assert joined[name].dtype == np.float32
        np.testing.assert_array_equal(joined[name], values.astype(np.float32))


def test_the_bytes_are_the_same_every_time(tiny: Any) -> None:
    assert assemble_onnx(tiny.spec) == assemble_onnx(tiny.spec)


def test_the_state_keeps_its_stored_type(tiny: Any) -> None:
    state = load_state(tiny.spec)
    assert state["conv.weight"].dtype == np.float16
    assert state["bn.running_var"].dtype == np.float32


def test_eight_bits_are_restored_within_half_a_step_of_each_row(tiny: Any) -> None:
    whole = np.random.default_rng(0).normal(size=tiny.state["conv.weight"].shape).astype(np.float32)
    whole *= 10.0 ** np.arange(len(whole), dtype=np.float32).reshape(-1, 1, 1, 1)  # rows of very different size
    whole[0] = 0
    state = {name: values for name, values in tiny.state.items() if name != "conv.weight"}
    stored = round_to_8_bits("conv.weight", whole)
    assert stored["conv.weight"].dtype == np.int8
    rewrite(tiny.spec, state | stored)
    restored = load_state(tiny.spec)
    assert restored.keys() == tiny.state.keys()
    largest = np.abs(whole).max(axis=(1, 2, 3), keepdims=True)
    assert (np.abs(restored["conv.weight"] - whole) <= largest / 127 * 0.501).all()
    _, joined = strip(onnx.load_from_string(assemble_onnx(tiny.spec)))
    np.testing.assert_array_equal(joined["conv.weight"], restored["conv.weight"])


@pytest.mark.parametrize("part", ["topology_path", "weights_path"])
def test_a_changed_file_is_refused_with_its_name_and_digests(tiny: Any, part: str) -> None:
    path = getattr(tiny.spec, part)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DigestError, match="git checkout") as caught:
        assemble_onnx(tiny.spec)
    assert caught.value.path == path
    assert caught.value.came == sha256_of(path)
    assert caught.value.expected != caught.value.came


def test_a_missing_file_is_named(tiny: Any) -> None:
    tiny.spec.weights_path.unlink()
    with pytest.raises(WeightsMissingError, match=r"tiny-1\.safetensors: not found"):
        assemble_onnx(tiny.spec)


def test_missing_and_spare_tensors_are_listed(tiny: Any) -> None:
    state = dict(tiny.state)
    state["bn.other"] = state.pop("bn.bias")
    rewrite(tiny.spec, state)
    with pytest.raises(TopologyError, match=r"missing \['bn.bias'\], spare \['bn.other'\]"):
        assemble_onnx(tiny.spec)


def test_a_tensor_of_another_shape_is_named(tiny: Any) -> None:
    rewrite(tiny.spec, {**tiny.state, "bn.bias": np.zeros(5, np.float16)})
    with pytest.raises(TopologyError, match=r"bn.bias: the topology wants shape \(4,\)"):
        assemble_onnx(tiny.spec)


def test_a_graph_with_other_outputs_than_the_spec_is_refused(tiny: Any) -> None:
    spec = replace(tiny.spec, outputs=(TensorSpec("embedding", "NC", length=4),))
    with pytest.raises(SpecError, match=r"outputs of the graph are \['vector'\]"):
        assemble_onnx(spec)


def test_strip_and_join_are_inverse(tiny: Any, write_tiny: Callable[..., Any]) -> None:
    whole = assemble_onnx(tiny.spec)
    assert join(*strip(onnx.load_from_string(whole))) == whole
