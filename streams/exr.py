"""Multi-layer OpenEXR in and out, from bytes to bytes.

One layer a plane ("radiance.R", "normal.X", "depth.Z": `channel_names`), all channels unsubsampled. The OpenEXR
library writes; `streams.exrfile` reads, since files from outside crash the library.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from streams.errors import PayloadError, PlaneError
from streams.exrfile import read_channels

__all__ = ["channel_names", "decode_exr", "decode_exr_image", "encode_exr", "encode_exr_image"]

_VECTORS = frozenset({"normal", "motion"})


def channel_names(plane: str, channels: int) -> tuple[str, ...]:
    """The OpenEXR channels of a plane: colours R, G, B; vectors X, Y, Z; depth Z; every other single value Y."""
    if channels == 0:
        return (f"{plane}.Z" if plane == "depth" else f"{plane}.Y",)
    letters = "XYZ" if plane in _VECTORS else "RGB"
    return tuple(f"{plane}.{letter}" for letter in letters[:channels])


def encode_exr(planes: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Planes [H, W] or [H, W, C], float16, float32 or uint8 (written as half) -> one OpenEXR file, ZIP."""
    channels: dict[str, NDArray[np.generic]] = {}
    for plane, values in planes.items():
        floats = values.astype(np.float16) if values.dtype == np.uint8 else values
        count = 0 if floats.ndim == 2 else floats.shape[2]
        layers = floats[..., None] if count == 0 else floats
        for index, name in enumerate(channel_names(plane, count)):
            channels[name] = np.ascontiguousarray(layers[..., index])
    return _written(channels)


def decode_exr(payload: bytes, width: int, height: int, layout: Mapping[str, int]) -> dict[str, NDArray[np.generic]]:
    """Read the planes of `layout` (name -> channels, 0 for [H, W]) that the file has; `mask` comes back as uint8.

    Raises: PayloadError if the file is broken or of another size than width x height; PlaneError if a plane lacks
    some of its channels, or is of an integer type. Channels that no plane names are ignored.
    """
    pixels = read_channels(
        payload, width, height, {name for plane in layout for name in channel_names(plane, layout[plane])}
    )
    planes: dict[str, NDArray[np.generic]] = {}
    for plane, count in layout.items():
        names = channel_names(plane, count)
        missing = [name for name in names if name not in pixels]
        if len(missing) == len(names):
            continue
        if missing:
            raise PlaneError(plane, f"channels: expected {', '.join(names)}, without {', '.join(missing)}")
        if len({pixels[name].dtype for name in names}) > 1:
            raise PlaneError(plane, "channels: expected all half or all float")
        stacked = np.stack([pixels[name] for name in names], axis=-1)
        planes[plane] = stacked[..., 0] if count == 0 else stacked
    if "mask" in planes:
        mask = planes["mask"]
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise PlaneError("mask", "values: expected 0 (not sampled) or 1 (sampled)")
        planes["mask"] = mask.astype(np.uint8)
    return planes


def encode_exr_image(linear_rgb: NDArray[np.floating]) -> bytes:
    """Linear RGB [H, W, 3] -> an OpenEXR file with the half channels R, G, B."""
    clipped = np.clip(linear_rgb, -65504, 65504).astype(np.float16)
    return _written({name: np.ascontiguousarray(clipped[..., index]) for index, name in enumerate("RGB")})


def decode_exr_image(payload: bytes, width: int, height: int) -> NDArray[np.generic]:
    """Read what `encode_exr_image` wrote -> [H, W, 3]. Raises: PayloadError."""
    pixels = read_channels(payload, width, height, set("RGB"))
    if set(pixels) != set("RGB"):
        raise PayloadError(f"OpenEXR: expected the channels R, G, B, got {', '.join(sorted(pixels)) or 'none of them'}")
    return np.stack([pixels[name] for name in "RGB"], axis=-1)


def _written(channels: dict[str, NDArray[np.generic]]) -> bytes:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    stream = io.BytesIO()
    OpenEXR.File(header, channels).write(stream)
    return stream.getvalue()
