"""Planes of one frame to the network's frame tensor, and the two numbers that make it independent of units.

The order of channels is that of `models.ssr.network`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.ssr.errors import PlanesError

__all__ = [
    "FRAME_SLOTS",
    "MEAN_RADIANCE",
    "PLANE_CHANNELS",
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
FRAME_SLOTS = {
    "radiance": range(3),
    "mask": range(3, 4),
    "albedo": range(4, 7),
    "normal": range(7, 10),
    "shadow": range(10, 11),
    "transparent": range(11, 12),
    "depth": range(12, 13),
    "metallic": range(13, 14),
    "roughness": range(14, 15),
}
"""The channels of the frame tensor. Of shadow and transparent the network takes the means of the colours."""
OPTIONAL = frozenset({"shadow", "transparent", "metallic", "roughness"})
"""Planes that a renderer may leave out: they count as 0 (roughness as 1)."""
MEAN_RADIANCE = 0.3
"""The traced pixels' mean after scaling."""

MEASURED_PIXELS = 1 << 18
MEAN_COLOUR = np.full((1, 3), 1 / 3, np.float32)
HALF_INFINITY = 0x7C00
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
    """Mean of the traced pixels' channels, fireflies cut at 20 times the plain mean; 0 for a black frame.

    Of a large frame only some pairs of rows are read, evenly spread.
    """
    radiance, mask = _some_rows(planes["radiance"]), _some_rows(planes["mask"])
    traced = (mask > 0).view(np.uint8)
    if not traced.any():
        return 0.0
    radiance = as_float32(radiance)
    mean = float(np.mean(cv2.mean(radiance, traced)[:3]))
    cut = cv2.threshold(radiance, 20 * mean, 0, cv2.THRESH_TRUNC)[1]
    return float(np.mean(cv2.mean(cut, traced)[:3]))


def depth_mean(planes: Planes) -> float:
    """Mean of the depth plane, in its own unit; 0 where nothing was hit."""
    return float(planes["depth"].mean(dtype=np.float64))


def frame_tensor(
    planes: Planes, radiance_scale: float, depth_scale: float, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """[15, H, W] with radiance and depth multiplied by their scales; planes that were left out are filled in.

    `out`: where to write it, rows contiguous.
    """
    height, width = planes["radiance"].shape[:2]
    frame = np.empty((15, height, width), np.float32) if out is None else out
    for name, slot in FRAME_SLOTS.items():
        target = frame[slot.start : slot.stop]
        if name not in planes:
            target[:] = 1.0 if name == "roughness" else 0.0
        elif PLANE_CHANNELS[name] == 1:
            target[0] = as_float32(planes[name])
        elif len(slot) == 1:
            target[0] = cv2.transform(as_float32(planes[name]), MEAN_COLOUR)
        else:
            # Written into the layers by OpenCV: NumPy takes longer to part colours.
            cv2.split(as_float32(planes[name]), list(target))
    frame[0:3] *= radiance_scale
    np.maximum(frame[0:3], 0, out=frame[0:3])
    frame[12] *= depth_scale
    return frame


def _some_rows(plane: NDArray[Any]) -> NDArray[Any]:
    """Every pair of rows of a picture of MEASURED_PIXELS, fewer of a larger one."""
    height, width = plane.shape[:2]
    step = height * width // MEASURED_PIXELS
    if step < 2:
        return plane
    pairs = plane[: height // 2 * 2].reshape(height // 2, 2, *plane.shape[1:])[::step]
    return np.ascontiguousarray(pairs).reshape(-1, *plane.shape[1:])


def _finite(values: NDArray[Any]) -> bool:
    if values.dtype == np.float16 and values.size:  # NumPy converts halves one by one: their bits order them as well
        bits = np.ascontiguousarray(values)
        return bool(bits.view(np.int16).max() < HALF_INFINITY and bits.view(np.uint16).max() < HALF_INFINITY | 1 << 15)
    return bool(np.isfinite(values).all())
