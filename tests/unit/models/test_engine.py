"""One engine interface, here on OpenVINO: right answers, split batches, refused input, threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.engine import EngineConfig, ShapeProfile, load_engine
from models.engine.openvino import OpenVinoCompiler
from models.errors import BuildError, EngineError, InputShapeError, SpecError
from models.spec import ModelSpec, TensorSpec

CPU = EngineConfig(compiler="openvino", precision="f32", threads=1)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 12)).astype(np.float32)


@pytest.mark.parametrize("batch", [None, 2, (1, 2, 3), (4, 4, 8)], ids=str)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_answers_are_right_whatever_the_batch(tiny: Any, batch: Any, count: int) -> None:
    shapes = None if batch is None else ShapeProfile.of(tiny.spec, batch=batch, height=8, width=12)
    with load_engine(tiny.spec, CPU, shapes) as engine:
        came = engine.run({"image": images(count)})["vector"]
    assert came.shape == (count, 4)
    np.testing.assert_allclose(came, tiny.answer(images(count)), atol=2e-6)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 5), height=st.sampled_from([4, 8, 12]), width=st.sampled_from([4, 20]), seed=st.integers(0, 99)
)
def test_folding_the_pixels_in_equals_preprocessing_outside(
    tiny: Any, count: int, height: int, width: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    norm = tiny.spec.normalize
    rgb = pixels[..., ::-1].astype(np.float64) * norm.scale
    normalized = ((rgb - norm.mean) / norm.std).transpose(0, 3, 1, 2).astype(np.float32)
    with load_engine(tiny.spec, CPU, from_uint8=True) as engine:
        assert (engine.inputs[0].layout, engine.inputs[0].channels, engine.inputs[0].dtype) == ("NHWC", "BGR", "uint8")
        came = engine.run({"image": pixels})["vector"]
    np.testing.assert_allclose(came, tiny.answer(normalized), atol=1e-5)


def test_folding_needs_an_image_and_its_normalization(tiny: Any) -> None:
    from dataclasses import replace

    with pytest.raises(SpecError, match="from_uint8"):
        load_engine(replace(tiny.spec, normalize=None), CPU, from_uint8=True)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"expected the inputs \['image'\], got \[\]"),
        ({"image": images(1), "other": images(1)}, "got"),
        ({"image": images(1).astype(np.float64)}, "expected float32, got float64"),
        ({"image": images(0)}, "empty array"),
        ({"image": images(1)[:, :2]}, "image.C: expected 3, got 2"),
        ({"image": images(1)[:, :, :7]}, "image.H"),
    ],
)
def test_wrong_input_is_refused_by_name(tiny: Any, inputs: dict[str, np.ndarray], message: str) -> None:
    with load_engine(tiny.spec, CPU) as engine, pytest.raises(InputShapeError, match=message):
        engine.run(inputs)


def test_a_view_of_a_larger_array_is_taken(tiny: Any) -> None:
    large = np.random.default_rng(1).normal(size=(2, 3, 16, 24)).astype(np.float32)
    with load_engine(tiny.spec, CPU) as engine:
        came = engine.run({"image": large[:, :, ::2, ::2]})["vector"]
    np.testing.assert_allclose(came, tiny.answer(large[:, :, ::2, ::2]), atol=2e-6)


def test_a_read_only_array_is_taken(tiny: Any) -> None:
    frozen = images(2)
    frozen.flags.writeable = False
    with load_engine(tiny.spec, CPU) as engine:
        assert engine.warm() > 0
        np.testing.assert_allclose(engine.run({"image": frozen})["vector"], tiny.answer(frozen), atol=2e-6)


def test_an_engine_says_what_it_is(tiny: Any) -> None:
    with load_engine(tiny.spec, CPU) as engine:
        assert (engine.info.model, engine.info.compiler, engine.precision) == ("tiny-1", "openvino", "f32")
        assert "FP32" in engine.device


def test_answers_belong_to_the_caller(tiny: Any) -> None:
    with load_engine(tiny.spec, CPU) as engine:
        first = engine.run({"image": images(2, seed=1)})["vector"]
        kept = first.copy()
        engine.run({"image": images(2, seed=2)})
    np.testing.assert_array_equal(first, kept)


def test_batches_on_their_way_do_not_meet(tiny: Any) -> None:
    with load_engine(tiny.spec, CPU) as engine:
        pending = [engine.run_async({"image": images(3, seed)}) for seed in range(6)]
        for seed, started in reversed(list(enumerate(pending))):
            np.testing.assert_allclose(started.result()["vector"], tiny.answer(images(3, seed)), atol=2e-6)


def test_threads_may_share_an_engine(tiny: Any) -> None:
    with load_engine(tiny.spec, CPU) as engine, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda seed: engine.run({"image": images(2, seed)})["vector"], range(40)))
    for seed, answer in enumerate(answers):
        np.testing.assert_allclose(answer, tiny.answer(images(2, seed)), atol=2e-6)


def test_a_closed_engine_says_so(tiny: Any) -> None:
    engine = load_engine(tiny.spec, CPU)
    engine.warm()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"image": images(1)})


def test_several_inputs_must_be_of_one_batch(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    from models.engine import load_onnx

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "abc"]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "sum", value[:2], value[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    tensors = tuple(TensorSpec(name, "NC", length=4) for name in "abc")
    spec = ModelSpec("sum", 1, "none", tensors[:2], tensors[2:], tmp_path, "none", "none")
    with load_onnx(model, "sum", spec.inputs, spec.outputs, ShapeProfile.of(spec, batch=(1, 2, 4)), CPU) as engine:
        a, b = np.ones((5, 4), np.float32), np.full((5, 4), 2, np.float32)
        np.testing.assert_array_equal(engine.run({"a": a, "b": b})["c"], a + b)
        with pytest.raises(InputShapeError, match="different sizes"):
            engine.run({"a": a, "b": b[:3]})


def test_a_precision_that_the_processor_lacks_is_refused() -> None:
    missing = {"bf16": "BF16", "f16": "FP16"}
    capabilities = OpenVinoCompiler(CPU)._capabilities
    lacking = [name for name, capability in missing.items() if capability not in capabilities]
    for name in lacking:
        with pytest.raises(EngineError, match=f"got {name}.*engine.precision: auto"):
            OpenVinoCompiler(EngineConfig(compiler="openvino", precision=name))  # type: ignore[arg-type]
    chosen = OpenVinoCompiler(EngineConfig(compiler="openvino")).precision
    assert chosen == ("f32" if "bf16" in lacking else "bf16")


def test_an_operator_that_nobody_knows_is_a_build_error(write_tiny: Callable[..., Any]) -> None:
    net = write_tiny("odd", last="NoSuchOperator")
    with pytest.raises(BuildError, match=r"odd-1: OpenVINO .* could not build it.*NoSuchOperator"):
        load_engine(net.spec, CPU)
