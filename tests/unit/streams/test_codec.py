"""Still frames: sizes, truth of the headers, truncation, a codec that lies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.codec import decode_half, decode_image, encode_half, encode_image
from streams.errors import PayloadError
from streams.headers import FrameCodec, FrameHeaders
from streams.records import FrameRecord, Origin, RawRecord

STILLS = (FrameCodec.JPEG, FrameCodec.PNG, FrameCodec.RAW_BGR24)


def record(codec: FrameCodec, payload: bytes, width: int = 43, height: int = 31) -> FrameRecord:
    headers = FrameHeaders(codec=codec, seq=0, captured_at_ns=0, width=width, height=height)
    raw = RawRecord(Origin("foveal.frames", 0, 0), b"cam", (), payload, 0)
    return FrameRecord(
        origin=raw.origin,
        part_offsets=(0,),
        stream_id="cam",
        payload=payload,
        appended_at_ms=0,
        raws=(raw,),
        headers=headers,
    )


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:31, 0:43]
    return np.stack([rows * 8, columns * 5, rows + columns], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("codec", STILLS)
def test_a_picture_comes_back(codec: FrameCodec, picture: NDArray[np.uint8]) -> None:
    got = decode_image(record(codec, encode_image(picture, codec, quality=95)))
    assert got.shape == picture.shape
    assert np.abs(got.astype(int) - picture).mean() < (3 if codec is FrameCodec.JPEG else 1e-9)


@pytest.mark.parametrize("codec", STILLS)
@pytest.mark.parametrize(("reduce", "shape"), [(2, (16, 22, 3)), (4, (8, 11, 3))])
def test_a_reduced_picture_is_rounded_up(codec: FrameCodec, reduce: int, shape: tuple[int, int, int]) -> None:
    flat = np.full((31, 43, 3), 90, np.uint8)
    got = decode_image(record(codec, encode_image(flat, codec)), reduce=reduce)  # type: ignore[arg-type]
    assert got.shape == shape
    assert np.abs(got.astype(int) - 90).max() <= 3


@pytest.mark.parametrize("codec", STILLS)
@pytest.mark.parametrize("keep", [0.999, 0.5, 0.02])
def test_a_truncated_picture_is_an_error(codec: FrameCodec, keep: float, picture: NDArray[np.uint8]) -> None:
    whole = encode_image(picture, codec)
    with pytest.raises(PayloadError):
        decode_image(record(codec, whole[: min(int(len(whole) * keep), len(whole) - 1)]))


@pytest.mark.parametrize("codec", STILLS)
def test_the_header_may_not_lie_about_the_size(codec: FrameCodec, picture: NDArray[np.uint8]) -> None:
    with pytest.raises(PayloadError, match="44x31"):
        decode_image(record(codec, encode_image(picture, codec), width=44))


@pytest.mark.parametrize(("codec", "truth"), [(FrameCodec.JPEG, FrameCodec.PNG), (FrameCodec.PNG, FrameCodec.JPEG)])
def test_the_header_may_not_lie_about_the_codec(
    codec: FrameCodec, truth: FrameCodec, picture: NDArray[np.uint8]
) -> None:
    with pytest.raises(PayloadError, match=f"says {codec}, but the value is {truth}"):
        decode_image(record(codec, encode_image(picture, truth)))


def test_a_flipped_bit_in_a_png_is_an_error(picture: NDArray[np.uint8]) -> None:
    broken = bytearray(encode_image(picture, FrameCodec.PNG))
    broken[len(broken) // 2] ^= 0x10
    with pytest.raises(PayloadError):
        decode_image(record(FrameCodec.PNG, bytes(broken)))


def test_video_is_not_a_still(picture: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="VideoDecoder"):
        decode_image(record(FrameCodec.H264, b"x"))
    with pytest.raises(ValueError, match="VideoEncoder"):
        encode_image(picture, FrameCodec.H264)


def test_half_pixels_come_back() -> None:
    linear = np.array([[[0.5, 1.0, 1e6]]], np.float32)
    assert decode_half(encode_half(linear), 1, 1).tolist() == [[[0.5, 1.0, 65504.0]]]
    with pytest.raises(PayloadError, match="expected 12 bytes"):
        decode_half(encode_half(linear), 2, 1)
