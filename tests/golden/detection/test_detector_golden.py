"""The shipped detectors through the real engine, against what torch said of the same picture when it was exported."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from models.detection import Detector
from models.detection.golden import GOLDEN, drawn_picture, summary
from models.detection.spec import DETECTORS
from models.engine import Engine, EngineConfig, load_engine
from models.spec import ModelSpec

ROUNDED = 0.02
"""Tolerance of a mean of logits and strides (of size 1 to 10), absolute and relative: weights are rounded at rest."""


@pytest.fixture(scope="module", params=DETECTORS)
def loaded(request: pytest.FixtureRequest) -> Iterator[tuple[ModelSpec, Engine]]:
    config = EngineConfig(compiler="openvino", precision="f32", threads=1)
    with load_engine(DETECTORS[request.param], config, from_uint8=True) as engine:
        yield DETECTORS[request.param], engine


def test_a_drawn_picture_is_answered_as_when_it_was_exported(loaded: tuple[ModelSpec, Engine]) -> None:
    spec, engine = loaded
    points = engine.run({"images": drawn_picture()[None]})["points"]
    np.testing.assert_allclose(summary(points), spec.record().metrics[GOLDEN], atol=ROUNDED, rtol=ROUNDED)


def test_nobody_is_in_it(loaded: tuple[ModelSpec, Engine]) -> None:
    larger = np.kron(drawn_picture(), np.ones((2, 2, 1), np.uint8))
    found = Detector(loaded[1], threshold=0.6).detect([drawn_picture(), larger])
    assert [len(one) for one in found] == [0, 0]
