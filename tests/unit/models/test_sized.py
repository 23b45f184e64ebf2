"""Engines of fixed sizes behind one of open sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.engine import EngineConfig, ShapeProfile, load_engine
from models.engine.sized import KEPT, SizedEngine
from models.errors import EngineError

CPU = EngineConfig(compiler="openvino", precision="f32", threads=1)


def _images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).normal(size=(count, 3, height, width)).astype(np.float32)


def test_every_size_and_batch_gets_its_answer(tiny: Any) -> None:
    with load_engine(replace(tiny.spec, by_size=True), CPU) as engine:
        assert isinstance(engine, SizedEngine)
        for count, height, width in ((1, 8, 12), (3, 8, 12), (2, 4, 20), (1, 8, 12)):
            images = _images(count, height, width)
            came = engine.run({"image": images})["vector"]
            np.testing.assert_allclose(came, tiny.answer(images), atol=2e-6)


def test_sizes_are_built_once_and_kept_on_disk(tiny: Any, tmp_path: Path) -> None:
    config = CPU.model_copy(update={"cache_dir": tmp_path})
    with load_engine(replace(tiny.spec, by_size=True), config) as engine:
        for _ in range(2):
            engine.run({"image": _images(2, 8, 12)})
            engine.run({"image": _images(1, 4, 12)})
    assert len(list(tmp_path.glob("*.engine"))) == 2


def test_more_sizes_than_are_kept_still_answer(tiny: Any) -> None:
    with load_engine(replace(tiny.spec, by_size=True), CPU) as engine:
        for height in [4 * step for step in range(1, KEPT + 3)] + [4]:
            images = _images(1, height, 8)
            np.testing.assert_allclose(engine.run({"image": images})["vector"], tiny.answer(images), atol=2e-6)


def test_a_closed_one_and_one_of_given_shapes(tiny: Any) -> None:
    spec = replace(tiny.spec, by_size=True)
    engine = load_engine(spec, CPU)
    engine.close()
    with pytest.raises(EngineError, match="is closed"):
        engine.run({"image": _images(1, 8, 12)})
    with load_engine(spec, CPU, ShapeProfile.of(spec, height=8, width=12)) as fixed:
        assert not isinstance(fixed, SizedEngine)
