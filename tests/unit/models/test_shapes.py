"""Which sizes an engine takes is said once and checked on every call."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.engine import ShapeProfile
from models.errors import InputShapeError, SpecError
from models.spec import ModelSpec, TensorSpec


@pytest.fixture
def spec() -> ModelSpec:
    return ModelSpec(
        name="net",
        version=1,
        paper="none",
        inputs=(
            TensorSpec("planes", "NCHW", channels=10, height_multiple=8, width_multiple=8),
            TensorSpec("history", "NCHW", channels=4, height_multiple=4, width_multiple=4),
        ),
        outputs=(TensorSpec("y", "NCHW", channels=3),),
        folder=Path("nowhere"),
        licence="none",
        card="none",
    )


def test_sizes_are_shared_unless_an_input_has_its_own(spec: ModelSpec) -> None:
    profile = ShapeProfile.of(spec, batch=(1, 2, 4), height=64, width=(32, 64, 96), history={"H": 32, "W": 16})
    assert profile.ranges["planes"] == ((1, 2, 4), (10, 10, 10), (64, 64, 64), (32, 64, 96))
    assert profile.ranges["history"] == ((1, 2, 4), (4, 4, 4), (32, 32, 32), (16, 16, 16))


def test_open_sizes_stay_open(spec: ModelSpec) -> None:
    profile = ShapeProfile.of(spec)
    assert profile.ranges["planes"] == (None, (10, 10, 10), None, None)
    assert profile.usual(spec.inputs[0]) == (1, 10, 256, 256)
    assert profile.batch() is None


def test_usual_ranges_leave_nothing_open_and_keep_the_multiples(spec: ModelSpec) -> None:
    profile = ShapeProfile.usual_of(spec, batch=4, height=72)
    assert profile.ranges["planes"] == ((1, 4, 4), (10, 10, 10), (72, 72, 72), (64, 640, 1920))


@pytest.mark.parametrize(
    ("size", "message"),
    [((64, 32, 96), "planes.H"), (60, "steps of 8"), ((0, 8, 16), "planes.H")],
)
def test_bad_ranges_are_refused(spec: ModelSpec, size: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ShapeProfile.of(spec, height=size)  # type: ignore[arg-type]


def test_an_unknown_input_is_refused(spec: ModelSpec) -> None:
    with pytest.raises(SpecError, match=r"no input \['depth'\]"):
        ShapeProfile.of(spec, depth={"H": 8})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 10, 64), "expected NCHW"),
        ((1, 9, 64, 64), r"planes.C: expected 10, got 9"),
        ((1, 10, 72, 64), r"planes.H: expected 64 in steps of 8, got 72"),
        ((1, 10, 64, 104), r"planes.W: expected 32 to 96 in steps of 8, got 104"),
        ((1, 10, 64, 60), r"steps of 8, got 60"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_by_dimension(
    spec: ModelSpec, shape: tuple[int, ...], message: str
) -> None:
    profile = ShapeProfile.of(spec, batch=2, height=64, width=(32, 64, 96))
    with pytest.raises(InputShapeError, match=message):
        profile.check(spec.inputs[0], shape)


def test_any_batch_passes_because_the_engine_splits_it(spec: ModelSpec) -> None:
    ShapeProfile.of(spec, batch=2, height=64, width=64).check(spec.inputs[0], (7, 10, 64, 64))
