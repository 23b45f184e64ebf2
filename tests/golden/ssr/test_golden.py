"""The shipped network gives what torch gave when it was exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.engine import EngineConfig, load_engine
from models.ssr import SSR

FLOAT32 = 2e-3
"""Of values up to about 2: another order of summation, and history stored as half floats."""


def test_the_engine_agrees_with_torch(tmp_path: Path) -> None:
    with np.load(Path(__file__).parent / "ssr.npz") as golden:
        frame, history = golden["frame"].astype(np.float32), golden["history"].astype(np.float32)
        with load_engine(SSR, EngineConfig(precision="f32", threads=1, cache_dir=tmp_path)) as engine:
            came = engine.run({"frame": frame, "history": history})
        np.testing.assert_allclose(came["radiance"], golden["radiance"], rtol=FLOAT32, atol=FLOAT32)
        after = golden["history_out"].astype(np.float32)
        np.testing.assert_allclose(came["history_out"], after, rtol=FLOAT32, atol=FLOAT32)
