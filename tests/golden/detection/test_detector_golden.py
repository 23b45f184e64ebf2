"""The shipped detector through the real engine, against what torch said of the same picture when it was exported."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from models.detection import DETECTION_NANO, Detector
from models.detection.golden import GOLDEN, drawn_picture, summary
from models.engine import Engine, EngineConfig, load_engine

FLOAT16_WEIGHTS = 0.02
"""Tolerance of a mean of logits and strides (of size 1 to 10), absolute and relative: weights are float16 at rest."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    config = EngineConfig(compiler="openvino", precision="f32", threads=1)
    with load_engine(DETECTION_NANO, config, from_uint8=True) as loaded:
        yield loaded


def test_a_drawn_picture_is_answered_as_when_it_was_exported(engine: Engine) -> None:
    expected = DETECTION_NANO.record().metrics[GOLDEN]
    points = engine.run({"images": drawn_picture()[None]})["points"]
    np.testing.assert_allclose(summary(points), expected, atol=FLOAT16_WEIGHTS, rtol=FLOAT16_WEIGHTS)


def test_nobody_is_in_it(engine: Engine) -> None:
    larger = np.kron(drawn_picture(), np.ones((2, 2, 1), np.uint8))
    found = Detector(engine, threshold=0.6).detect([drawn_picture(), larger])
    assert [len(one) for one in found] == [0, 0]
