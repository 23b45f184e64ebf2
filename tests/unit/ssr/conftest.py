"""A small made-up sequence: a textured wall seen by a camera that slides to the right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

PLACES = ((0, 0), (1, 1), (1, 0), (0, 1))
STEP_PX = 2


@pytest.fixture
def wall() -> Any:
    """wall(index, height, width, seed) -> planes of one frame; irradiance is 0.5 with noise, albedo a pattern."""

    def make(index: int, height: int = 40, width: int = 56, seed: int = 0) -> dict[str, NDArray[Any]]:
        rng = np.random.default_rng((seed, index))
        columns = np.arange(width)[None] + STEP_PX * index
        pattern = 0.3 + 0.4 * ((columns // 6 + np.arange(height)[:, None] // 5) % 2)
        albedo = np.repeat(pattern[..., None], 3, 2).astype(np.float32)
        mask = np.zeros((height, width), np.uint8)
        x, y = PLACES[index % 4]
        mask[y::2, x::2] = 1
        noise = rng.exponential(0.5, (height, width, 1)).astype(np.float32)
        motion = np.zeros((height, width, 2), np.float32)
        motion[..., 0] = STEP_PX
        normal = np.zeros((height, width, 3), np.float32)
        normal[..., 2] = 1
        return {
            "radiance": albedo * noise * mask[..., None],
            "mask": mask,
            "albedo": albedo,
            "normal": normal,
            "depth": np.full((height, width), 3.0, np.float32),
            "motion": motion,
        }

    return make
