"""The peer that the expression network is timed beside has the shape, and about the size, that its authors name."""

import numpy as np
import openvino as ov
import pytest

from benchmarks.faces import mini_xception


def test_mini_xception_gives_distributions_and_has_its_size() -> None:
    model = mini_xception(3)
    weights = sum(np.prod(one.shape) for one in model.get_ops() if one.get_type_name() == "Constant" and one.shape)
    assert 50_000 < weights < 65_000  # 58,000 and a little with batch norm
    said = ov.Core().compile_model(model, "CPU")(np.random.default_rng(0).random((3, 1, 64, 64), np.float32))[0]
    assert said.shape == (3, 7)
    assert said.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-3)
