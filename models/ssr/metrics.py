"""The figures of the protocol: on sRGB-encoded radiance clamped to [0, 1], sequences scaled to a median of 0.18."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.ssr.postprocess import encode_srgb
from models.ssr.warp import warp

__all__ = [
    "FIGURES",
    "MIDDLE_GREY",
    "figures",
    "luminance",
    "protocol_exposure",
    "psnr_db",
    "smape",
    "ssim",
    "unsteady",
]

MIDDLE_GREY = 0.18
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
FIGURES = ("psnr", "ssim", "smape", "temporal")
FLOOR = 0.01
WINDOW = (11, 11)
SIGMA = 1.5
STABLE = (0.01**2, 0.03**2)
SAME_DEPTH = 0.02

Planes = Mapping[str, NDArray[Any]]


def figures(
    result: NDArray[np.float32],
    reference: NDArray[np.float32],
    before: NDArray[np.float32] | None,
    planes: Planes,
    planes_before: Planes | None,
) -> dict[str, float]:
    """FIGURES of one frame by name; `temporal` is left out where there is no frame before it.

    All pictures are linear [H, W, 3] and scaled by the protocol's exposure.
    """
    found = {"psnr": psnr_db(result, reference), "ssim": ssim(result, reference), "smape": smape(result, reference)}
    if before is not None and planes_before is not None:
        found["temporal"] = unsteady(result, before, planes, planes_before)
    return found


def luminance(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rec. 709 luminance of linear RGB [..., 3]."""
    return np.asarray(picture @ LUMINANCE, np.float32)


def protocol_exposure(references: Sequence[NDArray[Any]]) -> float:
    """The factor that brings a sequence's median luminance to 0.18; 1 where the references are black."""
    medians = [float(np.median(luminance(np.asarray(picture, np.float32)))) for picture in references]
    median = float(np.median(medians)) if medians else 0.0
    return MIDDLE_GREY / median if median > 0 else 1.0


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


def unsteady(result: NDArray[np.float32], before: NDArray[np.float32], planes: Planes, planes_before: Planes) -> float:
    """The warped temporal error: root mean square difference of an encoded frame and the one before it, brought by
    `planes["motion"]` to where this frame sees it, over the pixels whose depth says that both show one surface.
    """
    layers = np.concatenate([np.moveaxis(before, -1, 0), planes_before["depth"][None]]).astype(np.float32)
    moved = warp(np.ascontiguousarray(layers), planes["motion"].astype(np.float32))
    depth = planes["depth"].astype(np.float32)
    same = np.abs(moved[3] - depth) < SAME_DEPTH * depth
    difference = (encode_srgb(result) - encode_srgb(np.moveaxis(moved[:3], 0, -1)))[same]
    return float(np.sqrt(np.mean(difference**2, dtype=np.float64))) if difference.size else 0.0


def _blurred(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, WINDOW, SIGMA, borderType=cv2.BORDER_REFLECT), np.float32)
