"""A drawn picture without people, and what the shipped network says of it: kept in its record, compared by a test."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["GOLDEN", "drawn_picture", "summary"]

GOLDEN = "mean_of_points_on_the_drawn_picture"
"""Its name among the record's metrics."""


def drawn_picture() -> NDArray[np.uint8]:
    """Shades, a disc, a box and a line: uint8 [192, 320, 3] BGR, the same everywhere."""
    rows, columns = np.mgrid[:192, :320]
    shades = np.stack((columns * 255 // 319, rows * 255 // 191, (columns + rows) % 256), -1)
    image = np.ascontiguousarray(shades.astype(np.uint8))
    cv2.circle(image, (90, 96), 40, (30, 60, 200), -1)
    cv2.rectangle(image, (180, 40), (260, 150), (220, 220, 40), -1)
    cv2.line(image, (0, 180), (319, 160), (0, 0, 0), 3)
    return image


def summary(points: NDArray[Any]) -> list[float]:
    """points [1, A, 16] -> the mean of each column over all points."""
    return [round(float(one), 5) for one in points[0].astype(np.float64).mean(0)]
