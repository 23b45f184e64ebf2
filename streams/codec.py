"""Still frames in and out: jpeg, png and raw-bgr24; and the pixels of a render.

The size that a frame's headers claim has passed `FrameLimits`; here the size inside the compressed bytes is read
first and compared with it, so that no header can make this process decode a larger picture.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Literal, cast

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from streams.errors import PayloadError
from streams.headers import FrameCodec
from streams.records import FrameRecord

__all__ = ["Reduce", "decode_half", "decode_image", "encode_half", "encode_image", "sniff"]

Reduce = Literal[1, 2, 4]
Image = NDArray[np.uint8]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
EXR_MAGIC = b"\x76\x2f\x31\x01"


def decode_image(record: FrameRecord, *, reduce: Reduce = 1) -> Image:
    """Unpack one still frame, at full, half or a quarter of its size.

    Shapes: -> uint8 [ceil(height / reduce), ceil(width / reduce), 3], BGR, contiguous. A JPEG is reduced inside its
    inverse transform, which costs less than decoding it whole; the others by area.

    Raises: PayloadError if the bytes are truncated, corrupted, of another codec or of another size than the headers
    say; ValueError for h264 and hevc, which need a `VideoDecoder`.
    """
    decoders: dict[FrameCodec, Callable[[FrameRecord, Reduce], Image]] = {
        FrameCodec.JPEG: _decode_jpeg,
        FrameCodec.PNG: _decode_png,
        FrameCodec.RAW_BGR24: _decode_raw,
    }
    if record.codec not in decoders:
        raise ValueError(f"codec {record.codec}: expected a still frame; streams.video.VideoDecoder reads this one")
    return decoders[record.codec](record, reduce)


def encode_image(image_bgr: Image, codec: FrameCodec, *, quality: int = 85) -> bytes:
    """Pack uint8 [H, W, 3] BGR as jpeg (`quality` 1 to 100), png or raw-bgr24.

    Raises: ValueError if the array is no such image, or the codec is a video codec.
    """
    if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or 0 in image_bgr.shape:
        raise ValueError(f"image: expected uint8 [H, W, 3], got {image_bgr.dtype} {list(image_bgr.shape)}")
    image = np.ascontiguousarray(image_bgr)
    if codec is FrameCodec.JPEG:
        return cast(
            bytes,
            simplejpeg.encode_jpeg(image, quality=quality, colorspace="BGR", colorsubsampling="420", fastdct=True),
        )
    if codec is FrameCodec.PNG:
        # Level 1 packs four times as fast as the default and 5 to 10 % larger: frames are short-lived.
        return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])
    if codec is FrameCodec.RAW_BGR24:
        return image.tobytes()
    raise ValueError(f"codec {codec}: expected jpeg, png or raw-bgr24; streams.video.VideoEncoder packs this one")


def encode_half(linear: NDArray[np.floating]) -> bytes:
    """Pack linear RGB [H, W, 3] as little-endian float16, row by row; what is beyond 65,504 is cut to it."""
    return bytes(np.clip(linear, -65504, 65504).astype("<f2").tobytes())


def decode_half(value: bytes, width: int, height: int) -> NDArray[np.float16]:
    """Unpack what `encode_half` wrote -> float16 [height, width, 3]. Raises: PayloadError on another length."""
    if len(value) != height * width * 6:
        raise PayloadError(f"half: expected {height * width * 6:,} bytes for {width}x{height}, got {len(value):,}")
    return np.frombuffer(value, "<f2").reshape(height, width, 3)


def sniff(payload: bytes) -> str:
    """What the first bytes look like, for error messages."""
    for name, magic in (("jpeg", JPEG_MAGIC), ("png", PNG_MAGIC), ("OpenEXR", EXR_MAGIC)):
        if payload.startswith(magic):
            return name
    if payload.startswith((b"\0\0\0\1", b"\0\0\1")):
        return "an h264 or hevc access unit"
    return f"unknown bytes {payload[:8].hex(' ')}"


def _decode_jpeg(record: FrameRecord, reduce: Reduce) -> Image:
    _check_magic(record, JPEG_MAGIC)
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(record.payload)
        _check_size(record, width, height)
        image = simplejpeg.decode_jpeg(
            record.payload,
            colorspace="BGR",
            fastdct=True,
            min_height=-(-height // reduce),
            min_width=-(-width // reduce),
            strict=True,
        )
    except PayloadError:
        raise
    except ValueError as error:
        raise PayloadError(f"jpeg: {error}; the frame is truncated or corrupted") from error
    return cast(Image, image)


def _decode_png(record: FrameRecord, reduce: Reduce) -> Image:
    payload = record.payload
    _check_magic(record, PNG_MAGIC)
    if len(payload) < 33 or payload[12:16] != b"IHDR":
        raise PayloadError("png: the IHDR chunk is missing; the frame is truncated or corrupted")
    width, height = struct.unpack(">II", payload[16:24])
    _check_size(record, width, height)
    try:
        # Orientation is ignored, since boxes must be in the pixels that the headers name.
        image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise PayloadError(f"png: {error}; the frame is corrupted") from error
    if image is None or image.shape != (height, width, 3):
        raise PayloadError("png: no picture comes out; the frame is truncated or corrupted")
    return _reduced(cast(Image, image), reduce)


def _decode_raw(record: FrameRecord, reduce: Reduce) -> Image:
    expected = record.width * record.height * 3
    if len(record.payload) != expected:
        raise PayloadError(
            f"raw-bgr24: expected {expected:,} bytes for {record.width}x{record.height}, "
            f"got {len(record.payload):,}, which are {sniff(record.payload)}"
        )
    image = np.frombuffer(record.payload, np.uint8).reshape(record.height, record.width, 3)
    return _reduced(image, reduce)


def _check_magic(record: FrameRecord, magic: bytes) -> None:
    if not record.payload.startswith(magic):
        raise PayloadError(f"header 'codec' says {record.codec}, but the value is {sniff(record.payload)}")


def _check_size(record: FrameRecord, width: int, height: int) -> None:
    if (width, height) != (record.width, record.height):
        raise PayloadError(
            f"headers 'width' and 'height' say {record.width}x{record.height}, "
            f"but the {record.codec} is {width}x{height}"
        )


def _reduced(image: Image, reduce: Reduce) -> Image:
    if reduce == 1:
        return image
    size_wh = (-(-image.shape[1] // reduce), -(-image.shape[0] // reduce))
    return cast(Image, cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA))
