"""How long a frame takes, from planes in memory to the linear picture: made-up planes, one stream."""

from __future__ import annotations

import time

import numpy as np

from models.engine import Engine
from models.ssr.history import History
from models.ssr.preprocess import blank_planes
from models.ssr.reconstructor import Reconstructor

__all__ = ["SIZES_WH", "time_frames"]

SIZES_WH = ((480, 270), (256, 256), (2048, 1024))
WARM_FRAMES = 3


def time_frames(engine: Engine, size_wh: tuple[int, int], frames: int) -> dict[str, float]:
    """Milliseconds: median and 90th percentile without the first frames; the first one, which builds the engine."""
    width, height = size_wh
    rng = np.random.default_rng(0)
    planes = {name: values.astype(np.float16) for name, values in blank_planes(width, height).items()}
    planes["mask"][::2, ::2] = 1
    planes["radiance"][::2, ::2] = rng.exponential(0.3, planes["radiance"][::2, ::2].shape)
    planes["albedo"][:], planes["depth"][:], planes["normal"][..., 2] = 0.5, 3, 1
    planes["motion"][:] = rng.normal(0, 1, planes["motion"].shape)
    reconstructor = Reconstructor(engine)
    history: History | None = None
    spent = []
    for _ in range(frames + WARM_FRAMES):
        began = time.perf_counter()
        [(_picture, history)] = reconstructor.reconstruct([planes], [history])
        spent.append((time.perf_counter() - began) * 1e3)
    steady = spent[WARM_FRAMES:]
    found = {"median_ms": np.median(steady), "p90_ms": np.percentile(steady, 90), "first_ms": spent[0]}
    return {name: round(float(value), 1) for name, value in found.items()}
