"""The figures of the protocol: on sRGB-encoded radiance clamped to [0, 1], sequences scaled to a median of 0.18."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.ssr.postprocess import encode_srgb

__all__ = ["psnr_db", "smape", "ssim", "temporal_error"]

FLOOR = 0.01
WINDOW = (11, 11)
SIGMA = 1.5
STABLE = (0.01**2, 0.03**2)


def psnr_db(result: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Peak signal to noise of two linear pictures [H, W, 3], encoded."""
    error = float(np.mean((encode_srgb(result) - encode_srgb(reference)) ** 2, dtype=np.float64))
    return float(-10 * np.log10(max(error, 1e-12)))


def ssim(result: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Structural similarity of the encoded pictures, 11x11 Gaussian windows (Wang et al. 2004), mean of channels."""
    first, second = encode_srgb(result), encode_srgb(reference)
    mean1, mean2 = _blurred(first), _blurred(second)
    spread1 = _blurred(first**2) - mean1**2
    spread2 = _blurred(second**2) - mean2**2
    joint = _blurred(first * second) - mean1 * mean2
    above = (2 * mean1 * mean2 + STABLE[0]) * (2 * joint + STABLE[1])
    below = (mean1**2 + mean2**2 + STABLE[0]) * (spread1 + spread2 + STABLE[1])
    return float(np.mean(above / below))


def smape(result: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Symmetric mean absolute percentage error of the linear pictures, clamped to [0, 1]."""
    first, second = np.clip(result, 0, 1), np.clip(reference, 0, 1)
    return float(np.mean(np.abs(first - second) / (first + second + FLOOR)))


def temporal_error(result: NDArray[np.float32], before_warped: NDArray[np.float32], same: NDArray[np.bool_]) -> float:
    """Root mean square difference of an encoded frame and the warped one before it, where both show one surface."""
    difference = (encode_srgb(result) - encode_srgb(before_warped))[same]
    return float(np.sqrt(np.mean(difference**2, dtype=np.float64))) if difference.size else 0.0


def _blurred(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, WINDOW, SIGMA), np.float32)
