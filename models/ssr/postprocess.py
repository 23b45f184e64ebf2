"""From linear radiance to display: exposure, clamp, sRGB (IEC 61966-2-1), as the evaluation's protocol has it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["encode_srgb", "to_bgr8"]


def encode_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear RGB to sRGB in [0, 1]; what is outside [0, 1] is clamped."""
    clamped = np.clip(linear, 0, 1)
    return np.where(clamped <= 0.0031308, 12.92 * clamped, 1.055 * clamped ** (1 / 2.4) - 0.055).astype(np.float32)


def to_bgr8(linear: NDArray[np.float32], exposure: float = 1.0) -> NDArray[np.uint8]:
    """Linear RGB [H, W, 3] times `exposure` to uint8 BGR."""
    encoded = encode_srgb(np.asarray(linear, np.float32) * np.float32(exposure))
    return np.ascontiguousarray((encoded[..., ::-1] * 255 + 0.5).astype(np.uint8))
