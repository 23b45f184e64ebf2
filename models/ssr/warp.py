"""Bring the previous frame's history to where this frame sees it (the paper's operator W).

In float32 and outside the network: half a pixel is lost when film positions are rounded to bf16.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["warp"]

GROUP = 4
"""Channels that OpenCV interpolates at once."""


def warp(
    previous: NDArray[np.float32], motion: NDArray[np.float32], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Bilinear look-up at pixel + motion, 0 outside the frame.

    Shapes: previous [C, H, W]; motion [H, W, 2] in pixels (dx, dy) -> [C, H, W], written to `out` if given.
    """
    channels, height, width = previous.shape
    columns = np.arange(width, dtype=np.float32)[None] + motion[..., 0]
    rows = np.arange(height, dtype=np.float32)[:, None] + motion[..., 1]
    # cv2 works in 16-bit positions: what lies far outside must not wrap around.
    columns = np.clip(columns, -2, width + 1).astype(np.float32)
    rows = np.clip(rows, -2, height + 1).astype(np.float32)
    exact, fraction = cv2.convertMaps(columns, rows, cv2.CV_16SC2)
    warped = np.empty(previous.shape, np.float32) if out is None else out
    for start in range(0, channels, GROUP):
        part = cv2.merge(list(previous[start : start + GROUP]))
        moved = cv2.remap(part, exact, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        cv2.split(moved, list(warped[start : start + GROUP]))  # writes into them
    return warped
