"""From linear radiance to what a screen shows, for renders that are asked for as png or jpeg.

Exposure: the producer's header, else so that the log-average luminance becomes mid grey (Reinhard et al., "Photographic
Tone Reproduction", SIGGRAPH 2002, equations 1 and 2), followed slowly so that a stream does not flicker. Curve: clamped
sRGB (IEC 61966-2-1), as the evaluation of the network has it; by a table,
since the power of every pixel costs more than all else here.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["AutoExposure", "to_display"]

MID_GREY = 0.18
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
DARKEST = 1e-4
FOLLOW = 0.1
TABLE_SIZE = 4096


class AutoExposure:
    """The exposure of one stream."""

    def __init__(self) -> None:
        self._log_average: float | None = None

    def reset(self) -> None:
        """Begin afresh, as after a cut."""
        self._log_average = None

    def follow(self, linear_rgb: NDArray[np.float32]) -> float:
        """The factor for this frame, float32 [H, W, 3]."""
        luminance = linear_rgb[::4, ::4] @ LUMINANCE
        average = float(np.log(np.maximum(luminance, DARKEST)).mean())
        previous = self._log_average
        self._log_average = average if previous is None else previous + FOLLOW * (average - previous)
        return MID_GREY / math.exp(self._log_average)


def to_display(linear_rgb: NDArray[np.float32], exposure: float) -> NDArray[np.uint8]:
    """float32 [H, W, 3] linear RGB -> uint8 [H, W, 3] BGR, sRGB."""
    white = TABLE_SIZE - 1
    scaled = linear_rgb * np.float32(exposure * white)
    cv2.threshold(scaled, white, 0, cv2.THRESH_TRUNC, dst=scaled)
    steps = cv2.addWeighted(scaled, 1, scaled, 0, 0, dtype=cv2.CV_16U)  # rounds, and takes what is negative as 0
    return np.asarray(_SRGB.take(cv2.cvtColor(steps, cv2.COLOR_RGB2BGR)), np.uint8)


def _srgb_table() -> NDArray[np.uint8]:
    linear = np.linspace(0, 1, TABLE_SIZE)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(encoded * 255 + 0.5, np.uint8)


_SRGB = _srgb_table()
