"""TensorRT builds every network of the catalogue without a GPU, and says which layers it could not take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from models.catalogue import CATALOGUE
from models.engine import EngineConfig, ShapeProfile, load_engine
from models.engine.load import choose_compiler
from models.errors import BuildError, CompilerMissingError, SpecError, UnsupportedLayersError
from models.spec import ModelSpec, Normalize, TensorSpec
from models.weights import assemble_onnx

pytestmark = pytest.mark.train
pytest.importorskip("tensorrt_rtx")

CAPABILITIES = ("8.6", "8.9", "12.0")


def onnx_of(*operators: str) -> tuple[bytes, ModelSpec]:
    """x -> operators -> y, on [N, 4]."""
    steps = ["x", *(f"t{index}" for index in range(len(operators) - 1)), "y"]
    nodes = [
        helper.make_node(operator, [steps[index]], [steps[index + 1]], name=f"node_{index}")
        for index, operator in enumerate(operators)
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    graph = helper.make_graph(
        nodes, "g", values[:1], values[1:], [numpy_helper.from_array(np.ones(1, np.float32), "u")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    tensors = tuple(TensorSpec(name, "NC", length=4) for name in ("x", "y"))
    return model.SerializeToString(), ModelSpec(
        "g", 1, "none", tensors[:1], tensors[1:], Path("nowhere"), "none", "none"
    )


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_network_is_built(name: str) -> None:
    from models.engine.tensorrt import TensorRtBuilder

    spec = CATALOGUE[name]
    builder = TensorRtBuilder(CAPABILITIES)
    blob = builder.build(assemble_onnx(spec), spec.stem, spec.inputs, ShapeProfile.usual_of(spec))
    assert len(blob) > 1000


def test_the_command_builds_for_a_gpu_that_is_not_here(tmp_path: Path) -> None:
    from foveal.commands.models import app

    arguments = ["build", "--compiler", "tensorrt", "--compute-capability", "8.9", "--cache", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    reports = json.loads(result.stdout)
    assert {report["name"]: (report["ok"], report["layers"]) for report in reports} == {
        name: (True, []) for name in CATALOGUE
    }
    assert result.exit_code == 0
    folded = sum(spec.normalize is not None for spec in CATALOGUE.values())
    assert len(list(tmp_path.glob("*.engine"))) == len(CATALOGUE) + folded


def test_layers_that_it_cannot_take_are_named() -> None:
    from models.engine.tensorrt import TensorRtBuilder

    model, spec = onnx_of("Relu", "Det", "StringNormalizer")
    with pytest.raises(UnsupportedLayersError, match="could not take") as caught:
        TensorRtBuilder(("8.9",)).build(model, "g-1", spec.inputs, ShapeProfile.usual_of(spec))
    assert caught.value.model == "g-1"
    assert any("node_1" in layer or "Det" in layer for layer in caught.value.layers)


def test_folded_pixels_are_built() -> None:
    from models.engine.preprocess import fold_pixels, pixel_input
    from models.engine.tensorrt import TensorRtBuilder

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    tensors = tuple(TensorSpec(name, "NCHW", channels="RGB") for name in ("x", "y"))
    norm = Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 1 / 255)
    spec = ModelSpec("g", 1, "none", tensors[:1], tensors[1:], Path("nowhere"), "none", "none", norm)
    pixels = pixel_input(spec)
    profile = ShapeProfile.usual_of(spec).in_layout(spec.input, pixels)
    assert TensorRtBuilder(("8.9",)).build(fold_pixels(model, spec), "g-1", (pixels,), profile)


def test_an_open_size_and_an_unknown_capability_are_refused() -> None:
    from models.engine.tensorrt import TensorRtBuilder

    model, spec = onnx_of("Relu")
    with pytest.raises(SpecError, match=r"g-1\.x: TensorRT wants a range"):
        TensorRtBuilder(("8.9",)).build(model, "g-1", spec.inputs, ShapeProfile.of(spec))
    with pytest.raises(BuildError, match=r"'9\.0'; it knows .*8\.9"):
        TensorRtBuilder(("9.0",)).build(model, "g-1", spec.inputs, ShapeProfile.usual_of(spec))


def test_without_a_gpu_auto_takes_openvino_and_tensorrt_says_what_is_missing() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert choose_compiler(EngineConfig()).name == "openvino"
    with pytest.raises(CompilerMissingError, match="torch finds no CUDA device"):
        choose_compiler(EngineConfig(compiler="tensorrt"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_on_a_gpu_tensorrt_agrees_with_openvino(name: str, tmp_path: Path) -> None:
    spec = CATALOGUE[name]
    shapes = ShapeProfile.usual_of(spec, batch=4, height=256, width=256)
    random = np.random.default_rng(0)
    inputs = {t.name: random.random((3, *shapes.usual(t)[1:]), dtype=np.float32) for t in spec.inputs}
    with load_engine(spec, EngineConfig(compiler="openvino", precision="f32"), shapes) as engine:
        expected = engine.run(inputs)
    with load_engine(spec, EngineConfig(compiler="tensorrt", cache_dir=tmp_path), shapes) as engine:
        came = engine.run(inputs)
    for output in spec.outputs:
        np.testing.assert_allclose(came[output.name], expected[output.name], rtol=2e-2, atol=2e-2)
