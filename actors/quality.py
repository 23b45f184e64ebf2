"""How good a crop of a person is to be recognized by: size, sharpness, whether the picture's edge cuts it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_WH", "crop_quality", "too_small"]

LEAST_WH = (8, 16)
"""Pixels of a person, below which the network would see hardly more than a colour."""

FULL_HEIGHT = 128.0
"""Pixels beyond which more add nothing: the network's own input is 256 high, and most of it is enlarged."""
SHARP = 100.0
"""Variance of the Laplacian, of the crop at 128 x 64, at which half of the sharpness is reached."""
CUT = 0.5
"""What is left of the quality where the box lies on the picture's edge and the person is not given whole."""


def too_small(box_xyxy: tuple[float, float, float, float], size_wh: tuple[int, int]) -> bool:
    """Whether too little of a box, in pixels of a picture of that size, is inside it for anybody to be recognized."""
    left, top, right, bottom = box_xyxy
    width, height = min(right, size_wh[0]) - max(left, 0), min(bottom, size_wh[1]) - max(top, 0)
    return width < LEAST_WH[0] or height < LEAST_WH[1]


def crop_quality(image_bgr: NDArray[np.uint8], box_xyxy: tuple[float, float, float, float], *, whole: bool) -> float:
    """0 to 1, for a box in the pixels of an image uint8 [H, W, 3]; `whole`: it is a crop, whose edges cut nobody.

    The variance of the Laplacian as a focus measure: Pech-Pacheco et al., ICPR 2000.
    """
    height, width = image_bgr.shape[:2]
    left, top = max(0, int(box_xyxy[0])), max(0, int(box_xyxy[1]))
    right, bottom = min(width, int(np.ceil(box_xyxy[2]))), min(height, int(np.ceil(box_xyxy[3])))
    if right <= left or bottom <= top:
        return 0.0
    grey = cv2.cvtColor(image_bgr[top:bottom, left:right], cv2.COLOR_BGR2GRAY)
    spread = float(cv2.Laplacian(cv2.resize(grey, (64, 128), interpolation=cv2.INTER_AREA), cv2.CV_64F).var())
    size = min(1.0, (bottom - top) / FULL_HEIGHT)
    on_edge = left <= 0 or top <= 0 or right >= width or bottom >= height
    return float(size * spread / (spread + SHARP) * (CUT if on_edge and not whole else 1.0))
