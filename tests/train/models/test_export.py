"""What torch computes is what the assembled model computes, and the file that is served is the file that is tuned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from models.engine import EngineConfig, ShapeProfile, load_engine
from models.errors import SpecError, TopologyError
from models.spec import ModelSpec, Normalize, TensorSpec

if TYPE_CHECKING:
    from torch import nn

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")


def make_network(seed: int = 0, channels: int = 8) -> nn.Module:
    """A little of everything that networks here use, with two equal (zero) biases, which exporters like to merge."""
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.SiLU())
            self.deep = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels)
            self.up = nn.Conv2d(channels, 4 * channels, 1)
            self.norm = nn.BatchNorm1d(channels)
            self.head = nn.Linear(channels, 5)
            self.twin = nn.Linear(channels, 5, bias=False)
            self.gain = nn.Parameter(torch.full((5,), 0.5))
            self.register_buffer("steps", torch.arange(5.0), persistent=False)

        def forward(self, image: Any) -> tuple[Any, Any]:
            maps = self.deep(self.stem(image))
            large = torch.nn.functional.pixel_shuffle(self.up(maps), 2)[..., ::2, :]
            vector = self.norm(maps.mean((2, 3)) + maps.amax((2, 3)))
            return large, self.head(vector) + self.twin(vector) * self.gain + self.steps

    torch.manual_seed(seed)
    net = Net()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    torch.nn.init.zeros_(net.deep.bias)
    torch.nn.init.zeros_(net.stem[1].bias)
    return net


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return ModelSpec(
        name="net",
        version=1,
        paper="none",
        inputs=(TensorSpec("image", "NCHW", channels="RGB", height_multiple=4, width_multiple=4),),
        outputs=(TensorSpec("large", "NCHW", channels=8), TensorSpec("vector", "NC", length=5)),
        folder=tmp_path / "weights",
        licence="none",
        card="none",
        normalize=Normalize((0.4, 0.5, 0.6), (0.2, 0.2, 0.2), 1 / 255),
    )


@pytest.fixture
def image() -> Any:
    torch.manual_seed(1)
    return torch.rand(2, 3, 32, 48)


def test_the_engine_agrees_with_torch_on_other_sizes_too(spec: ModelSpec, image: Any) -> None:
    from training.export import export, load_network

    network = make_network()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    export(network, spec, (image,), metrics={"loss": 0.5})
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    rounded = load_network(make_network(seed=9), spec).eval()
    other = torch.rand(5, 3, 64, 20)
    for shapes in (None, ShapeProfile.of(spec, batch=(1, 2, 4), height=64, width=20)):
        with load_engine(spec, EngineConfig(compiler="openvino", precision="f32"), shapes) as engine:
            came = engine.run({"image": other.numpy()})
        with torch.inference_mode():
            large, vector = rounded(other)
        np.testing.assert_allclose(came["large"], large.numpy(), atol=1e-4)
        np.testing.assert_allclose(came["vector"], vector.numpy(), atol=1e-4)


def test_initializers_are_the_state_dict_and_constants_stay_in_the_topology(spec: ModelSpec, image: Any) -> None:
    from training.export import export

    network = make_network()
    export(network, spec, (image,))
    graph = onnx.load(spec.topology_path).graph
    expected = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    assert {tensor.name for tensor in graph.initializer} == expected
    assert "BatchNormalization" in {node.op_type for node in graph.node}
    assert spec.topology_path.stat().st_size < 10_000


def test_the_record_says_what_was_measured_and_what_rounding_costs(spec: ModelSpec, image: Any) -> None:
    from training.export import export

    record = export(make_network(), spec, (image,), metrics={"loss": 0.5})
    assert record.metrics == {"loss": 0.5}
    assert record.parameters == sum(p.numel() for p in make_network().parameters())
    rounding = json.loads(spec.record_path.read_text())["rounding"]
    assert set(rounding) == {"large", "vector"}
    assert all(0 < change < 0.01 for change in rounding.values())


def test_eight_bits_at_rest_are_the_large_tensors_and_half_the_bytes(spec: ModelSpec, image: Any) -> None:
    from safetensors.numpy import load_file

    from training.export import export, load_network

    network = make_network(channels=64)
    sizes = {}
    for bits in (16, 8):
        export(network, spec, (image,), bits=bits)  # compares what is served with torch
        sizes[bits] = spec.weights_path.stat().st_size
    assert sizes[8] < 0.7 * sizes[16]
    stored = load_file(spec.weights_path)
    assert {name for name, values in stored.items() if values.dtype == np.int8} == {"up.weight"}
    assert np.abs(stored["up.weight"]).max() == 80
    loaded = load_network(make_network(seed=3, channels=64), spec)
    step = network.up.weight.detach().abs().amax((1, 2, 3), keepdim=True) / 80
    assert ((loaded.up.weight - network.up.weight).abs() <= 0.501 * step).all()
    assert not torch.equal(loaded.up.weight, network.up.weight)


def test_ranges_are_measured_where_convolutions_read_and_the_engine_uses_them(spec: ModelSpec, image: Any) -> None:
    from training.export import export
    from training.ranges import record_ranges

    pictures = np.random.default_rng(0).integers(0, 256, (3, 2, 32, 48, 3), np.uint8)
    before = export(make_network(), spec, [image])
    assert not before.ranges
    record = record_ranges(spec, pictures)
    assert len(record.ranges) == 2  # of three convolutions the first reads the picture
    assert (record.weights, record.metrics) == (before.weights, before.metrics)
    found = []
    for precision in ("f32", "int8"):
        with load_engine(spec, EngineConfig(compiler="openvino", precision=precision), from_uint8=True) as engine:
            found.append(engine.run({"image": pictures[0]})["large"])
    assert 0 < np.abs(found[1] - found[0]).max() < 0.05 * np.abs(found[0]).max()
    with pytest.raises(ValueError, match="no picture"):
        record_ranges(spec, ())


def test_an_export_is_the_same_every_time(spec: ModelSpec, image: Any) -> None:
    from training.export import export

    assert export(make_network(), spec, (image,)) == export(make_network(), spec, (image,))


def test_training_heads_may_be_left_out(spec: ModelSpec, image: Any) -> None:
    from torch import nn

    from training.export import export, load_network

    export(make_network(), spec, (image,))
    larger = make_network(seed=2)
    larger.classifier = nn.Linear(5, 600)
    with pytest.raises(TopologyError, match=r"classifier\.bias"):
        load_network(larger, spec)
    load_network(larger, spec, without=("classifier",))
    torch.testing.assert_close(larger.gain.detach(), torch.full((5,), 0.5))


def test_a_weight_that_does_not_fit_float16_is_named(spec: ModelSpec, image: Any) -> None:
    from training.export import export

    network = make_network()
    with torch.no_grad():
        network.gain[0] = 1e6
    with pytest.raises(TopologyError, match="gain: largest magnitude 1e\\+06 does not fit float16"):
        export(network, spec, (image,))
    assert not spec.topology_path.exists()
    export(network, spec, (image,), keep_float32=("gain",))


def test_a_size_frozen_while_tracing_is_found(spec: ModelSpec, image: Any) -> None:
    from torch import nn

    from training.export import export

    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make_network()
            self.calls = 0

        def forward(self, x: Any) -> tuple[Any, Any]:
            self.calls += 1
            large, vector = self.inner(x)
            return large, vector * float(self.calls)  # a Python number: another one in the trace than afterwards

    with pytest.raises(TopologyError, match=r"net\.vector: the assembled model differs from torch"):
        export(Frozen(), spec, (image,))


def test_the_number_of_examples_must_fit(spec: ModelSpec, image: Any) -> None:
    from training.export import export

    with pytest.raises(SpecError, match="has 1 inputs, got 2 examples"):
        export(make_network(), spec, (image, image))
