"""What the network is measured against, at the same quarter of a sample: no network, and Open Image Denoise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.ssr.warp import warp
from training.ssr.denoise import denoise

__all__ = ["AccumulatedOidn", "TemporalAccumulation", "bilinear", "oidn_half", "oidn_one_sample"]

DARKEST_BASE = 0.04
DEPTH_TOLERANCE = 0.1
NORMAL_TOLERANCE = 0.5
MAX_COUNT = 16.0
Planes = Mapping[str, NDArray[Any]]


def bilinear(planes: Planes) -> NDArray[np.float32]:
    """The tiles' demodulated samples, upsampled bilinearly, times albedo; [H, W, 3]."""
    base = _base(planes)
    return _upsampled(_tiles(planes["radiance"] / base, planes["mask"]), base.shape) * base


def oidn_half(planes: Planes, *, demodulated: bool) -> NDArray[np.float32]:
    """OIDN on the half-resolution image of tiles with albedo and normal of that size, then upsampled."""
    base = _base(planes)
    height, width = base.shape[:2]
    half = (width // 2, height // 2)
    albedo = cv2.resize(planes["albedo"].astype(np.float32), half, interpolation=cv2.INTER_AREA)
    normal = cv2.resize(planes["normal"].astype(np.float32), half, interpolation=cv2.INTER_AREA)
    small = denoise(_tiles(planes["radiance"].astype(np.float32), planes["mask"]), albedo, normal)
    if not demodulated:
        return _upsampled(small, base.shape)
    base_half = cv2.resize(base, half, interpolation=cv2.INTER_AREA)
    return _upsampled(small / base_half, base.shape) * base


def oidn_one_sample(radiance: NDArray[np.float32], planes: Planes) -> NDArray[np.float32]:
    """OIDN on one sample at every pixel, four times what the others get."""
    return denoise(radiance, planes["albedo"].astype(np.float32), planes["normal"].astype(np.float32))


class TemporalAccumulation:
    """Warp, test depth and normal, average by counts; holes are filled from the tile. One a sequence."""

    def __init__(self) -> None:
        self._layers: NDArray[np.float32] | None = None

    def step(self, planes: Planes) -> NDArray[np.float32]:
        """Linear radiance [H, W, 3] of the next frame."""
        base = _base(planes)
        mask = planes["mask"].astype(np.float32)
        irradiance = planes["radiance"].astype(np.float32) / base
        height, width = mask.shape
        normal, depth = planes["normal"].astype(np.float32), planes["depth"].astype(np.float32)
        total, count = np.zeros_like(irradiance), np.zeros((height, width), np.float32)
        if self._layers is not None:
            past = warp(self._layers, planes["motion"].astype(np.float32))
            turned = ((np.moveaxis(past[4:7], 0, -1) - normal) ** 2).sum(-1)
            same = (np.abs(past[7] - depth) <= DEPTH_TOLERANCE * depth + 1e-3) & (turned < NORMAL_TOLERANCE)
            count = np.minimum(past[3], MAX_COUNT) * same
            total = np.moveaxis(past[0:3], 0, -1) * count[..., None]
        total = total + irradiance * mask[..., None]
        count = count + mask
        mean = total / np.maximum(count, 1e-4)[..., None]
        self._layers = np.concatenate([np.moveaxis(mean, -1, 0), count[None], np.moveaxis(normal, -1, 0), depth[None]])
        filled = np.where(count[..., None] > 0.05, mean, _upsampled(_tiles(irradiance, planes["mask"]), base.shape))
        return np.asarray(filled * base, np.float32)


class AccumulatedOidn:
    """OIDN on the accumulated image, frame by frame. One a sequence."""

    def __init__(self) -> None:
        self._accumulation = TemporalAccumulation()

    def step(self, planes: Planes) -> NDArray[np.float32]:
        """Linear radiance [H, W, 3] of the next frame."""
        return oidn_one_sample(self._accumulation.step(planes), planes)


def _base(planes: Planes) -> NDArray[np.float32]:
    """Albedo, but 1 where it is black, and nowhere nothing."""
    albedo = planes["albedo"].astype(np.float32)
    black = np.clip(1 - 20 * albedo.max(-1, keepdims=True), 0, 1)
    return np.asarray(np.maximum(albedo + black * (1 - albedo), DARKEST_BASE), np.float32)


def _tiles(values: NDArray[np.float32], mask: NDArray[Any]) -> NDArray[np.float32]:
    """The mean of the traced pixels of each 2x2 tile, [H/2, W/2, 3]."""
    height, width = mask.shape
    weights = mask.astype(np.float32)[: height // 2 * 2, : width // 2 * 2]
    shape = (height // 2, 2, width // 2, 2)
    summed = (values[: shape[0] * 2, : shape[2] * 2] * weights[..., None]).reshape(*shape, 3).sum((1, 3))
    return np.asarray(summed / np.maximum(weights.reshape(shape).sum((1, 3)), 1)[..., None], np.float32)


def _upsampled(half: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(half, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)
