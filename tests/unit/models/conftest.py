"""A network made by hand, without torch: convolution, batch norm, mean over the image, unit norm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from models.spec import ModelSpec, Normalize, TensorSpec
from models.weights import sha256_of, strip

EPSILON = 1e-5


@dataclass(frozen=True)
class TinyNet:
    """The spec of a written network, and what it should answer."""

    spec: ModelSpec
    state: dict[str, NDArray[Any]]

    def answer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images float32 [N, 3, H, W] normalized -> [N, 4] of norm 1: a 1x1 convolution by hand."""
        state = {name: values.astype(np.float32) for name, values in self.state.items()}
        mixed = np.einsum("nchw,oc->nohw", images, state["conv.weight"][:, :, 0, 0])
        gain = state["bn.weight"] / np.sqrt(state["bn.running_var"] + EPSILON)
        shift = state["bn.bias"] - state["bn.running_mean"] * gain
        pooled = (mixed * gain[:, None, None] + shift[:, None, None]).mean(axis=(2, 3))
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def tiny_onnx(state: dict[str, NDArray[Any]], last: str = "LpNormalization") -> onnx.ModelProto:
    """The graph with its data."""
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight"], ["mixed"]),
        helper.make_node(
            "BatchNormalization",
            ["mixed", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"],
            ["normed"],
            epsilon=EPSILON,
        ),
        helper.make_node("Constant", [], ["axes"], value=numpy_helper.from_array(np.array([2, 3], np.int64))),
        helper.make_node("ReduceMean", ["normed", "axes"], ["pooled"], keepdims=0),
        helper.make_node(last, ["pooled"], ["vector"], **({"axis": 1, "p": 2} if last == "LpNormalization" else {})),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "H", "W"])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in state.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def write_tiny(tmp_path: Path) -> Callable[..., TinyNet]:
    """Write topology, weights and record as `training.export` does."""

    def write(name: str = "tiny", seed: int = 0, last: str = "LpNormalization") -> TinyNet:
        random = np.random.default_rng(seed)
        state: dict[str, NDArray[Any]] = {
            "conv.weight": random.normal(size=(4, 3, 1, 1)).astype(np.float16),
            "bn.weight": random.uniform(0.5, 2, 4).astype(np.float16),
            "bn.bias": random.normal(size=4).astype(np.float16),
            "bn.running_mean": random.normal(size=4).astype(np.float32),
            "bn.running_var": random.uniform(0.5, 2, 4).astype(np.float32),
        }
        spec = ModelSpec(
            name=name,
            version=1,
            paper="none",
            inputs=(TensorSpec("image", "NCHW", channels="RGB", height_multiple=4, width_multiple=4),),
            outputs=(TensorSpec("vector", "NC", length=4, unit_norm=True),),
            folder=tmp_path / "weights",
            licence="none",
            card="none.md",
            normalize=Normalize(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), scale=1 / 255),
        )
        spec.folder.mkdir(exist_ok=True)
        topology, _ = strip(tiny_onnx(state, last))
        files = {"topology": topology.SerializeToString(deterministic=True), "weights": save(state)}
        spec.topology_path.write_bytes(files["topology"])
        spec.weights_path.write_bytes(files["weights"])
        record = {part: {"sha256": sha256_of((content,))} for part, content in files.items()}
        spec.record_path.write_text(json.dumps({**record, "parameters": 20, "metrics": {"made": "by hand"}}))
        return TinyNet(spec, state)

    return write


@pytest.fixture
def tiny(write_tiny: Callable[..., TinyNet]) -> TinyNet:
    """The usual one."""
    return write_tiny()
