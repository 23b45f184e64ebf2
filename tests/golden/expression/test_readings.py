"""The shipped expression network gives the recorded readings for drawn faces."""

import importlib.util
from pathlib import Path

import numpy as np

from models.engine import EngineConfig, load_engine
from models.expression import EXPRESSION_NANO, ExpressionReader

HERE = Path(__file__).parent
TOLERANCE_F32 = 1e-3  # a sum's order differs by processor


def test_readings_are_the_recorded_ones() -> None:
    spec = importlib.util.spec_from_file_location("record_expression", HERE / "record.py")
    assert spec is not None
    assert spec.loader is not None
    record = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(record)
    with np.load(HERE / "expression-nano.npz") as kept:
        probabilities, rest, weights = kept["probabilities"], kept["rest"], str(kept["weights"])
    remedy = "other weights: run python tests/golden/expression/record.py"
    assert weights == EXPRESSION_NANO.record().weights.sha256, remedy
    config = EngineConfig(compiler="openvino", precision="f32", threads=1)
    readings = ExpressionReader(load_engine(EXPRESSION_NANO, config, from_uint8=True)).read_faces(record.faces())
    np.testing.assert_allclose([one.probabilities for one in readings], probabilities, atol=TOLERANCE_F32)
    found = [(one.valence, one.arousal, one.uncertainty) for one in readings]
    np.testing.assert_allclose(found, rest, atol=TOLERANCE_F32)
