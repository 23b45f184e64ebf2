"""A spec refuses to contradict itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import SpecError, WeightsMissingError
from models.spec import ModelSpec, Normalize, TensorSpec


def make(**changes: object) -> ModelSpec:
    usual: dict[str, object] = {
        "name": "net",
        "version": 3,
        "paper": "none",
        "inputs": (TensorSpec("x", "NCHW", channels="RGB", height=8, width=6),),
        "outputs": (TensorSpec("y", "NC", length=5),),
        "folder": Path("nowhere"),
        "licence": "none",
        "card": "card.md",
    }
    return ModelSpec(**{**usual, **changes})  # type: ignore[arg-type]


def test_sizes_follow_the_layout() -> None:
    assert TensorSpec("x", "NCHW", channels="RGB", height=8).dims == (None, 3, 8, None)
    assert TensorSpec("x", "NHWC", channels="GRAY", height=8, width=6).dims == (None, 8, 6, 1)
    assert TensorSpec("y", "NC", length=512).dims == (None, 512)
    assert TensorSpec("y", "NLC", channels=16).dims == (None, None, 16)
    assert TensorSpec("y", "N").dims == (None,)


def test_the_files_are_named_after_name_and_version() -> None:
    assert [path.name for path in (make().topology_path, make().weights_path, make().record_path)] == [
        "net-3.onnx",
        "net-3.safetensors",
        "net-3.json",
    ]


def test_width_and_height() -> None:
    assert make().input.size_wh == (6, 8)
    with pytest.raises(SpecError, match="dynamic"):
        _ = TensorSpec("x", "NCHW", channels=3).size_wh


@pytest.mark.parametrize(
    ("layout", "dtype"), [("NCXW", "float32"), ("NCC", "float32"), ("", "float32"), ("NC", "float8")]
)
def test_bad_tensors_are_refused(layout: str, dtype: str) -> None:
    with pytest.raises(SpecError, match="x"):
        TensorSpec("x", layout, dtype=dtype)


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": ()},
        {"outputs": (TensorSpec("x", "NC"),)},
        {"normalize": Normalize((0.5,), (0.5,))},
        {"normalize": Normalize((0.5,), (0.5,)), "inputs": (TensorSpec("a", "NC"), TensorSpec("b", "NC"))},
    ],
)
def test_bad_specs_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="net"):
        make(**changes)


@pytest.mark.parametrize(
    ("mean", "std", "scale"), [((0.1, 0.2), (1.0,), 1.0), ((0.1,), (0.0,), 1.0), ((0.1,), (1.0,), 0.0)]
)
def test_bad_normalization_is_refused(mean: tuple[float, ...], std: tuple[float, ...], scale: float) -> None:
    with pytest.raises(SpecError, match="normalize"):
        Normalize(mean, std, scale)


def test_a_missing_record_names_the_card() -> None:
    with pytest.raises(WeightsMissingError, match=r"net-3.json: not found.*card\.md"):
        make().record()


def test_an_unreadable_record_is_named(tmp_path: Path) -> None:
    spec = make(folder=tmp_path)
    spec.record_path.write_text('{"topology": {}}')
    with pytest.raises(SpecError, match="not a record of weights"):
        spec.record()
