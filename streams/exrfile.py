"""Reads the channels of an OpenEXR file from bytes, in Python and numpy alone.

Why not the library: `OpenEXR` 3.5.3 ends the process (segmentation fault) on about one in nine files with one changed
byte in the header, and its `File` hands out zeros for a corrupted chunk. A record from outside must not do that.
Layout: "OpenEXR File Layout", openexr.com; ZIP's predictor and interleaving: ImfZip.cpp there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.errors import PayloadError, PlaneError

__all__ = ["read_channels"]

MAGIC = b"\x76\x2f\x31\x01"
# Version 2; flags: 0x200 tiles, 0x400 long names, 0x800 deep data, 0x1000 several parts.
VERSION_MASK, VERSION, REFUSED_FLAGS = 0xFF, 2, 0x200 | 0x800 | 0x1000
MAX_ATTRIBUTES = 256
MAX_CHANNELS = 48

# Compression -> scan lines a chunk.
LINES_OF = {0: 1, 2: 1, 3: 16}
UNCOMPRESSED = 0
PIXEL_TYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
UINT = 0


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str
    kind: int
    sampling: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Header:
    channels: tuple[_Channel, ...]
    compression: int
    window: tuple[int, int, int, int]
    end: int


def read_channels(payload: bytes, width: int, height: int, wanted: Collection[str]) -> dict[str, NDArray[np.generic]]:
    """The wanted channels that the file has, each float16 or float32 [height, width].

    One flat part of scan lines, uncompressed, ZIP or ZIPS.

    Raises: PayloadError if the file is broken, of another kind or of another size; PlaneError if a wanted channel is
    of an integer type or subsampled.
    """
    try:
        header = _header(payload)
        _check(header, width, height, wanted)
        lines = _lines(payload, header, width, height)
    except (struct.error, zlib.error, UnicodeDecodeError, IndexError) as error:
        raise _broken(str(error)) from error
    pixels: dict[str, NDArray[np.generic]] = {}
    start = 0
    for channel in header.channels:
        dtype = PIXEL_TYPES[channel.kind]
        end = start + width * dtype.itemsize
        if channel.name in wanted:
            pixels[channel.name] = np.ascontiguousarray(lines[:, start:end]).view(dtype)
        start = end
    return pixels


def _header(payload: bytes) -> _Header:
    if not payload.startswith(MAGIC):
        raise PayloadError(f"header 'codec' says exr, but the value starts with {payload[:8].hex(' ')}")
    (version,) = struct.unpack_from("<I", payload, 4)
    if version & VERSION_MASK != VERSION or version & REFUSED_FLAGS:
        raise PayloadError("OpenEXR: expected one flat part of scan lines; tiles, deep data and several parts are not")
    attributes: dict[str, bytes] = {}
    position = 8
    while payload[position] != 0:
        name, position = _text(payload, position)
        _, position = _text(payload, position)
        (size,) = struct.unpack_from("<i", payload, position)
        position += 4
        if size < 0 or position + size > len(payload) or len(attributes) >= MAX_ATTRIBUTES:
            raise _broken(f"attribute {name!r}")
        attributes[name] = payload[position : position + size]
        position += size
    missing = [name for name in ("channels", "compression", "dataWindow") if not attributes.get(name)]
    if missing:
        raise _broken(f"without {', '.join(missing)}")
    return _Header(
        channels=_channels(attributes["channels"]),
        compression=attributes["compression"][0],
        window=struct.unpack("<4i", attributes["dataWindow"]),
        end=position + 1,
    )


def _channels(data: bytes) -> tuple[_Channel, ...]:
    channels: list[_Channel] = []
    position = 0
    while data[position] != 0:
        name, position = _text(data, position)
        kind, _, x, y = struct.unpack_from("<i4s2i", data, position)
        position += 16
        channels.append(_Channel(name, kind, (x, y)))
        if kind not in PIXEL_TYPES or len(channels) > MAX_CHANNELS:
            raise _broken(f"channel {name!r}")
    if len({channel.name for channel in channels}) != len(channels):
        raise _broken("a channel comes twice")
    return tuple(channels)


def _check(header: _Header, width: int, height: int, wanted: Collection[str]) -> None:
    left, top, right, bottom = header.window
    size_wh = (right - left + 1, bottom - top + 1)
    if size_wh != (width, height):
        raise PayloadError(
            f"headers 'width' and 'height' say {width}x{height}, but the OpenEXR file is {size_wh[0]}x{size_wh[1]}"
        )
    if header.compression not in LINES_OF:
        raise PayloadError(
            f"OpenEXR: compression {header.compression} is not read; write the file with ZIP, ZIPS or none"
        )
    for channel in header.channels:
        if channel.sampling != (1, 1):
            raise PlaneError(_plane_of(channel), f"channel {channel.name}: subsampled; write all at full size")
        if channel.kind == UINT and channel.name in wanted:
            raise PlaneError(_plane_of(channel), f"channel {channel.name}: expected half or float, got uint")


def _lines(payload: bytes, header: _Header, width: int, height: int) -> NDArray[np.uint8]:
    """All scan lines, uint8 [height, bytes of a line], each with the channels one after the other."""
    stride = width * sum(PIXEL_TYPES[channel.kind].itemsize for channel in header.channels)
    step = LINES_OF[header.compression]
    count = -(-height // step)
    # The table of offsets must be there before anything of the picture's size is made.
    offsets = struct.unpack_from(f"<{count}Q", payload, header.end)
    lines = np.empty((height, stride), np.uint8)
    seen: set[int] = set()
    for offset in offsets:
        if offset + 8 > len(payload):
            raise _broken("a chunk lies beyond the end")
        y, size = struct.unpack_from("<2i", payload, offset)
        first = y - header.window[1]
        if first % step or not 0 <= first < height or first in seen or not 0 <= size <= len(payload) - offset - 8:
            raise _broken(f"chunk of line {y}")
        seen.add(first)
        rows = min(step, height - first)
        data = _unpacked(payload[offset + 8 : offset + 8 + size], rows * stride, header.compression)
        lines[first : first + rows] = data.reshape(rows, stride)
    return lines


def _unpacked(data: bytes, expected: int, compression: int) -> NDArray[np.uint8]:
    if len(data) == expected:  # a chunk that compression would not make smaller is left as it is
        return np.frombuffer(data, np.uint8)
    if compression == UNCOMPRESSED:
        raise _broken(f"a chunk of {len(data):,} bytes instead of {expected:,}")
    inflated = zlib.decompressobj().decompress(data, expected + 1)
    if len(inflated) != expected:
        raise _broken(f"a chunk does not unpack to {expected:,} bytes")
    # Each byte is the difference to the one before it, plus 128; then the even bytes, then the odd ones.
    deltas = np.frombuffer(inflated, np.uint8).copy()
    deltas[1:] -= 128
    summed = np.cumsum(deltas, dtype=np.uint8)
    half = (expected + 1) // 2
    plain = np.empty(expected, np.uint8)
    plain[0::2], plain[1::2] = summed[:half], summed[half:]
    return plain


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = data.find(b"\0", position, position + 256)
    if end <= position:
        raise _broken("a name does not end")
    return data[position:end].decode(), end + 1


def _plane_of(channel: _Channel) -> str:
    return channel.name.partition(".")[0]


def _broken(what: str) -> PayloadError:
    return PayloadError(f"OpenEXR: {what}; the file is truncated or corrupted")
