"""What is kept of a stream between two frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["History"]


@dataclass(frozen=True, slots=True)
class History:
    """The network's history of the last frame and the scales it is in. Opaque to callers, but for the two numbers.

    `layers` float32 [7, H', W'] are the network's, `surface` float32 [4, H', W'] the frame's normal and depth, sides
    padded to a multiple of 16; `size_wh` is the frame's own size in pixels;
    `history_frames` counts the frames that went into it, the last one included.
    """

    layers: NDArray[np.float32]
    surface: NDArray[np.float32]
    size_wh: tuple[int, int]
    radiance_scale: float
    depth_scale: float
    radiance_mean: float
    history_frames: int
