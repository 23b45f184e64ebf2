"""G-buffers: the named planes of one rendered frame, packed one after the other, or as one OpenEXR file.

A plane unpacks to exactly the bytes that its shape and dtype ask for, and no more than one byte beyond them is ever
written, whatever the packed bytes claim.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import lz4.frame
import numpy as np
import zstandard
from numpy.typing import NDArray

from streams.errors import PayloadError, PlaneError
from streams.exr import decode_exr
from streams.headers import GBufferCodec, GBufferHeaders, PlaneCodec, PlaneHeader
from streams.records import GBufferRecord

__all__ = ["PLANES", "REQUIRED_PLANES", "check_layout", "check_planes", "decode_planes", "encode_planes"]

Planes = dict[str, NDArray[np.generic]]

# Plane -> channels; 0 is a plane [H, W] without a channel axis. Meanings: docs/wire-contract.md.
PLANES: Final[Mapping[str, int]] = {
    "radiance": 3,
    "mask": 0,
    "albedo": 3,
    "normal": 3,
    "shadow": 3,
    "transparent": 3,
    "depth": 0,
    "metallic": 0,
    "roughness": 0,
    "motion": 2,
}
REQUIRED_PLANES: Final = frozenset({"radiance", "mask", "albedo", "normal", "depth", "motion"})

FLOATS = ("float16", "float32")
ZSTD_LEVEL = 3
# Zstandard frames may ask for a window of gigabytes; no plane within the frame limits needs more than this.
MAX_WINDOW_BYTES = 2**27


def encode_planes(
    planes: Mapping[str, NDArray[np.generic]],
    codec: PlaneCodec = PlaneCodec.LZ4,
    *,
    dtypes: Mapping[str, str] | None = None,
) -> tuple[bytes, tuple[PlaneHeader, ...]]:
    """Pack planes into a record's value and its `planes` header.

    Shapes: as `PLANES`, all of one height and width. Floats travel as little-endian float16 unless `dtypes` names
    another for a plane ({"depth": "float32"}); `mask` is uint8.

    Raises: PlaneError naming the plane, before anything is sent: unknown, missing, misshapen, not finite in its dtype.
    """
    heights_widths = {tuple(plane.shape[:2]) for plane in planes.values()}
    if len(heights_widths) != 1:
        raise PlaneError("*", f"expected planes of one height and width, got {sorted(heights_widths)}")
    converted: Planes = {}
    for name, plane in planes.items():
        dtype = (dtypes or {}).get(name, "uint8" if name == "mask" else "float16")
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and is named by the check below
            converted[name] = np.ascontiguousarray(plane, dtype=np.dtype(dtype).newbyteorder("<"))
    height, width = heights_widths.pop()
    check_planes(converted, width, height)
    packed = [_pack(plane.tobytes(), codec) for plane in converted.values()]
    headers = tuple(
        PlaneHeader(name=name, dtype=str(plane.dtype.name), shape=plane.shape, codec=codec, length=len(data))  # type: ignore[arg-type]
        for (name, plane), data in zip(converted.items(), packed, strict=True)
    )
    return b"".join(packed), headers


def decode_planes(record: GBufferRecord, *, required: Collection[str] = REQUIRED_PLANES) -> Planes:
    """Unpack a G-buffer: plane name -> array of its shape in `PLANES`, floats in the dtype that was sent.

    Raises: PlaneError naming the plane, PayloadError if the OpenEXR file is unreadable.
    """
    if record.codec is GBufferCodec.EXR:
        planes = decode_exr(record.payload, record.width, record.height, PLANES)
    else:
        check_layout(record.headers, len(record.payload))
        planes, start = {}, 0
        for header in record.headers.planes:
            data = memoryview(record.payload)[start : start + header.length]
            start += header.length
            planes[header.name] = _unpack(header, data)
    check_planes(planes, record.width, record.height, required)
    return planes


def check_layout(headers: GBufferHeaders, payload_length: int) -> None:
    """Check the `planes` header against the frame's size and the value's length, unpacking nothing.

    Raises: PlaneError, PayloadError.
    """
    if headers.codec is not GBufferCodec.PLANES:
        return
    names = [plane.name for plane in headers.planes]
    for plane in headers.planes:
        _check_shape(plane.name, plane.shape, headers.width, headers.height)
        if names.count(plane.name) > 1:
            raise PlaneError(plane.name, "expected once, got it twice")
        expected = _unpacked_bytes(plane)
        if plane.codec is PlaneCodec.RAW and plane.length != expected:
            raise PlaneError(plane.name, f"length: expected {expected:,} bytes of its shape, got {plane.length:,}")
    total = sum(plane.length for plane in headers.planes)
    if total != payload_length:
        raise PayloadError(f"header 'planes': lengths add up to {total:,} bytes, but the value has {payload_length:,}")


def check_planes(
    planes: Mapping[str, NDArray[np.generic]],
    width: int,
    height: int,
    required: Collection[str] = REQUIRED_PLANES,
) -> None:
    """Check names, shapes, dtypes and values of a frame's planes. Raises: PlaneError naming the plane."""
    for name in sorted(required):
        if name not in planes:
            raise PlaneError(name, f"missing; a G-buffer needs {', '.join(sorted(required))}")
    for name, plane in planes.items():
        _check_shape(name, plane.shape, width, height)
        expected = ("uint8",) if name == "mask" else FLOATS
        if plane.dtype.name not in expected:
            raise PlaneError(name, f"dtype: expected {' or '.join(expected)}, got {plane.dtype.name}")
        if name == "mask":
            if plane.size and plane.max() > np.uint8(1):
                raise PlaneError(name, "values: expected 0 (not sampled) or 1 (sampled)")
        elif not _all_finite(plane):
            raise PlaneError(
                name,
                f"values: NaN or infinity in {plane.dtype.name}; "
                "write 0 where nothing was hit, and send float32 what exceeds 65,504",
            )


def _check_shape(name: str, shape: tuple[int, ...], width: int, height: int) -> None:
    if name not in PLANES:
        raise PlaneError(name, f"unknown; expected one of {', '.join(PLANES)}")
    expected = (height, width, PLANES[name]) if PLANES[name] else (height, width)
    if tuple(shape) != expected:
        raise PlaneError(name, f"shape: expected {list(expected)} of a {width}x{height} frame, got {list(shape)}")


def _all_finite(plane: NDArray[np.generic]) -> bool:
    if plane.dtype.name == "float16":  # numpy tests halves one by one; all exponent bits set means NaN or infinity
        exponent = np.uint16(0x7C00)
        return not bool(((plane.view(np.uint16) & exponent) == exponent).any())
    return bool(np.isfinite(plane).all())


def _unpacked_bytes(plane: PlaneHeader) -> int:
    count = 1
    for side in plane.shape:
        count *= side
    return count * np.dtype(plane.dtype).itemsize


def _pack(data: bytes, codec: PlaneCodec) -> bytes:
    if codec is PlaneCodec.LZ4:
        return bytes(lz4.frame.compress(data, store_size=True))
    if codec is PlaneCodec.ZSTD:
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)
    return data


def _unpack(plane: PlaneHeader, data: memoryview) -> NDArray[np.generic]:
    expected = _unpacked_bytes(plane)
    unpackers = {PlaneCodec.LZ4: _unlz4, PlaneCodec.ZSTD: _unzstd}
    try:
        raw = unpackers[plane.codec](data, expected) if plane.codec in unpackers else data
    except (RuntimeError, EOFError, ValueError, zstandard.ZstdError) as error:
        raise PlaneError(plane.name, f"{plane.codec}: {error}; the plane is truncated or corrupted") from error
    if len(raw) != expected:
        got = f"{len(raw):,}" if len(raw) < expected else "more"
        raise PlaneError(plane.name, f"{plane.codec}: expected {expected:,} bytes of its shape, got {got}")
    return np.frombuffer(raw, np.dtype(plane.dtype).newbyteorder("<")).reshape(plane.shape)


def _unlz4(data: memoryview, expected: int) -> bytes:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    raw = bytes(decompressor.decompress(data, max_length=expected + 1))
    if not decompressor.eof or decompressor.unused_data:
        raise ValueError(f"the frame does not end after {expected:,} bytes")
    return raw


def _unzstd(data: memoryview, expected: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    with decompressor.stream_reader(data, read_across_frames=False) as reader:
        return reader.read(expected + 1)
