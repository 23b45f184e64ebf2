"""Planes of one frame to the network's frame tensor, and the two numbers that make it independent of units.

The order of channels is that of `models.ssr.network`: radiance, mask, albedo, normal, shadow, transparent, depth,
metallic, roughness.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.ssr.errors import PlanesError

__all__ = [
    "MEAN_RADIANCE",
    "PLANE_CHANNELS",
    "PLANE_ORDER",
    "as_float32",
    "blank_planes",
    "check_planes",
    "depth_mean",
    "frame_tensor",
    "radiance_mean",
]

PLANE_CHANNELS = {
    "radiance": 3,
    "mask": 1,
    "albedo": 3,
    "normal": 3,
    "shadow": 3,
    "transparent": 3,
    "depth": 1,
    "metallic": 1,
    "roughness": 1,
    "motion": 2,
}
PLANE_ORDER = tuple(name for name in PLANE_CHANNELS if name != "motion")
OPTIONAL = frozenset({"shadow", "transparent", "metallic", "roughness"})
"""Planes that a renderer may leave out: they count as 0 (roughness as 1)."""
MEAN_RADIANCE = 0.3
"""The traced pixels' mean after scaling."""

NOTHING = (0.0, 0.0, 0.0, 0.0)
"""A scalar of OpenCV's: one zero for each of up to four channels."""

Planes = Mapping[str, NDArray[Any]]


def check_planes(planes: Planes) -> tuple[int, int]:
    """Height and width of a frame's planes.

    Raises: PlanesError if a plane is missing, of another size or number of channels, not numeric, or not finite.
    """
    if "radiance" not in planes or planes["radiance"].ndim != 3:
        raise PlanesError("radiance", "expected an array [H, W, 3]; send the traced radiance")
    height, width = planes["radiance"].shape[:2]
    for name, channels in PLANE_CHANNELS.items():
        if name not in planes:
            if name in OPTIONAL:
                continue
            raise PlanesError(name, "is missing; only shadow, transparent, metallic and roughness may be left out")
        values = planes[name]
        shape = (height, width) if channels == 1 else (height, width, channels)
        if values.shape != shape:
            raise PlanesError(name, f"expected shape {shape}, got {values.shape}; all planes of a frame have one size")
        if values.dtype.kind not in "fuib":
            raise PlanesError(name, f"expected numbers, got {values.dtype}")
        if values.dtype.kind == "f" and not _finite(values):
            raise PlanesError(name, "has NaN or infinite values; replace them with 0 before sending")
    return height, width


def as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """The same in float32; half floats by OpenCV, which takes a seventh of NumPy's time."""
    if values.dtype != np.float16 or values.size == 0:
        return values.astype(np.float32, copy=False)
    return np.asarray(cv2.add(np.ascontiguousarray(values), NOTHING, dtype=cv2.CV_32F), np.float32).reshape(
        values.shape
    )


def blank_planes(width: int, height: int) -> dict[str, NDArray[np.float32]]:
    """An empty frame, to warm an engine with."""
    shapes = {name: (height, width) if count == 1 else (height, width, count) for name, count in PLANE_CHANNELS.items()}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def radiance_mean(planes: Planes) -> float:
    """Mean of the traced pixels' channels, fireflies cut at 20 times the plain mean; 0 for a black frame."""
    traced = (planes["mask"] > 0).view(np.uint8)
    if not traced.any():
        return 0.0
    radiance = as_float32(planes["radiance"])
    mean = float(np.mean(cv2.mean(radiance, traced)[:3]))
    return float(np.mean(cv2.mean(np.minimum(radiance, np.float32(20 * mean)), traced)[:3]))


def depth_mean(planes: Planes) -> float:
    """Mean of the depth plane, in its own unit; 0 where nothing was hit."""
    return float(planes["depth"].mean(dtype=np.float64))


def frame_tensor(
    planes: Planes, radiance_scale: float, depth_scale: float, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """[19, H, W] with radiance and depth multiplied by their scales; planes that were left out are filled in.

    `out`: where to write it, rows contiguous.
    """
    height, width = planes["radiance"].shape[:2]
    frame = np.empty((19, height, width), np.float32) if out is None else out
    at = 0
    for name in PLANE_ORDER:
        channels = PLANE_CHANNELS[name]
        if name not in planes:
            frame[at : at + channels] = 1.0 if name == "roughness" else 0.0
        elif channels == 1:
            frame[at] = as_float32(planes[name])
        else:
            # Written into the layers by OpenCV: NumPy takes longer to part colours.
            cv2.split(as_float32(planes[name]), list(frame[at : at + channels]))
        at += channels
    frame[0:3] *= radiance_scale
    np.maximum(frame[0:3], 0, out=frame[0:3])
    frame[16] *= depth_scale
    return frame


def _finite(values: NDArray[Any]) -> bool:
    if values.dtype == np.float16:  # NumPy converts halves one by one: compare their exponents instead
        return bool((np.ascontiguousarray(values).view(np.uint16) & 0x7C00).max(initial=0) < 0x7C00)
    return bool(np.isfinite(values).all())
