"""Multi-layer OpenEXR in and out, from bytes to bytes.

One part, scan lines or tiles, one layer a plane ("radiance.R", "normal.X", "depth.Z": `channel_names`), all channels
unsubsampled. The file's own header is read here first, by the OpenEXR file layout ("OpenEXR File Layout", openexr.com),
so that a file which lies about its size never reaches the library. Reading goes through `OpenEXR.InputFile`, since
`OpenEXR.File` of 3.5 only warns on a corrupted chunk and hands out zeros.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from streams.errors import PayloadError, PlaneError

__all__ = ["channel_names", "decode_exr", "decode_exr_image", "encode_exr", "encode_exr_image"]

MAGIC = b"\x76\x2f\x31\x01"
# Version 2; of the flags only "tiled" (0x200) and "long names" (0x400) are taken: not deep, not multi-part.
VERSION_MASK, VERSION, REFUSED_FLAGS = 0xFF, 2, 0x800 | 0x1000
MAX_ATTRIBUTES = 256
MAX_CHANNELS = 64

# The library has many ways to say that a file is broken.
LIBRARY_ERRORS = (OSError, RuntimeError, TypeError, ValueError, KeyError, AttributeError, MemoryError)

_VECTORS = frozenset({"normal", "motion"})
_PIXEL_TYPES: dict[str, np.dtype[Any]] = {"HALF": np.dtype("<f2"), "FLOAT": np.dtype("<f4")}


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
    pixels = _read(payload, width, height, {name for plane in layout for name in channel_names(plane, layout[plane])})
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
    pixels = _read(payload, width, height, set("RGB"))
    if set(pixels) != set("RGB"):
        raise PayloadError(f"OpenEXR: expected the channels R, G, B, got {', '.join(sorted(pixels)) or 'none of them'}")
    return np.stack([pixels[name] for name in "RGB"], axis=-1)


def _written(channels: dict[str, NDArray[np.generic]]) -> bytes:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    stream = io.BytesIO()
    OpenEXR.File(header, channels).write(stream)
    return stream.getvalue()


def _read(payload: bytes, width: int, height: int, wanted: set[str]) -> dict[str, NDArray[np.generic]]:
    """The wanted channels that are there, each [height, width]."""
    _check_file(payload, width, height)
    try:
        file = OpenEXR.InputFile(io.BytesIO(payload))
        listed: dict[str, Any] = file.header()["channels"]
        if len(listed) > MAX_CHANNELS:
            raise PayloadError(f"OpenEXR: expected at most {MAX_CHANNELS} channels, got {len(listed)}")
        names = sorted(wanted & set(listed))
        dtypes = {name: _dtype_of(name, listed[name]) for name in names}
        rows = file.channels(names)
    except (PayloadError, PlaneError):
        raise
    except LIBRARY_ERRORS as error:
        raise PayloadError(f"OpenEXR: {error}; the file is truncated or corrupted") from error
    pixels: dict[str, NDArray[np.generic]] = {}
    for name, row in zip(names, rows, strict=True):
        if len(row) != width * height * dtypes[name].itemsize:
            raise PayloadError(f"OpenEXR: channel {name} has {len(row):,} bytes, not those of {width}x{height}")
        pixels[name] = np.frombuffer(row, dtypes[name]).reshape(height, width)
    return pixels


def _dtype_of(name: str, channel: Any) -> np.dtype[Any]:
    kind = str(channel.type).rpartition(".")[2]
    if kind not in _PIXEL_TYPES:
        raise PlaneError(name.partition(".")[0], f"channel {name}: expected half or float, got {kind}")
    if (channel.xSampling, channel.ySampling) != (1, 1):
        raise PlaneError(name.partition(".")[0], f"channel {name}: subsampled; write all channels at full size")
    return _PIXEL_TYPES[kind]


def _check_file(payload: bytes, width: int, height: int) -> None:
    """Walk the attributes up to `dataWindow` and compare it with the frame's size. Raises: PayloadError."""
    if not payload.startswith(MAGIC) or len(payload) < 8:
        raise PayloadError(f"header 'codec' says exr, but the value starts with {payload[:8].hex(' ')}")
    version = struct.unpack_from("<I", payload, 4)[0]
    if version & VERSION_MASK != VERSION or version & REFUSED_FLAGS:
        raise PayloadError("OpenEXR: expected one flat part; deep data and several parts are not taken")
    position = 8
    for _ in range(MAX_ATTRIBUTES):
        name_end = payload.find(b"\0", position)
        type_end = payload.find(b"\0", name_end + 1)
        if name_end <= position or type_end < 0 or type_end + 5 > len(payload):
            break
        size = struct.unpack_from("<i", payload, type_end + 1)[0]
        start = type_end + 5
        if size < 0 or start + size > len(payload):
            break
        if payload[position:name_end] == b"dataWindow" and size == 16:
            left, top, right, bottom = struct.unpack_from("<4i", payload, start)
            if (right - left + 1, bottom - top + 1) != (width, height):
                raise PayloadError(
                    f"headers 'width' and 'height' say {width}x{height}, "
                    f"but the OpenEXR file is {right - left + 1}x{bottom - top + 1}"
                )
            return
        position = start + size
    raise PayloadError("OpenEXR: no dataWindow in the header; the file is truncated or corrupted")
