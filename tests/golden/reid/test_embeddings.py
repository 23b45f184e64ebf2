"""The shipped embedder gives the recorded embeddings for synthetic crops."""

import importlib.util
from pathlib import Path

import numpy as np

from models.engine import EngineConfig, load_engine
from models.reid import REID_NANO, Embedder

HERE = Path(__file__).parent
TOLERANCE_F32 = 2e-3  # the recorded values are float16, a sum's order differs by processor


def test_embeddings_are_the_recorded_ones() -> None:
    spec = importlib.util.spec_from_file_location("record_reid", HERE / "record.py")
    assert spec is not None
    assert spec.loader is not None
    record = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(record)
    with np.load(HERE / "reid-nano.npz") as kept:
        expected, weights = kept["embeddings"].astype(np.float32), str(kept["weights"])
    assert weights == REID_NANO.record().weights.sha256, "other weights: run python tests/golden/reid/record.py"
    engine = load_engine(REID_NANO, EngineConfig(compiler="openvino", precision="f32", threads=1), from_uint8=True)
    np.testing.assert_allclose(Embedder(engine).embed_crops(record.crops()), expected, atol=TOLERANCE_F32)
