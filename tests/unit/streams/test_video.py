"""h264 and hevc: one access unit, one picture; recovery only at a key frame."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.errors import PayloadError
from streams.headers import FrameCodec, FrameHeaders
from streams.messages import DropReason
from streams.records import FrameRecord, Origin, RawRecord
from streams.video import VideoDecoder, VideoEncoder, is_keyframe

WIDTH, HEIGHT, INTERVAL = 96, 64, 4
CODECS = pytest.mark.parametrize("codec", [FrameCodec.H264, FrameCodec.HEVC])


def record(codec: FrameCodec, seq: int, payload: bytes, width: int = WIDTH) -> FrameRecord:
    headers = FrameHeaders(codec=codec, seq=seq, captured_at_ns=0, width=width, height=HEIGHT)
    raw = RawRecord(Origin("foveal.frames", 0, seq), b"cam", (), payload, 0)
    return FrameRecord(
        origin=raw.origin,
        part_offsets=(seq,),
        stream_id="cam",
        payload=payload,
        appended_at_ms=0,
        raws=(raw,),
        headers=headers,
    )


def picture(index: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    wave = 128 + 90 * np.sin((columns + 3 * index) / 9) * np.cos(rows / 7)
    return np.repeat(wave.astype(np.uint8)[..., None], 3, axis=2)


@lru_cache
def units(codec: FrameCodec) -> list[bytes]:
    encoder = VideoEncoder(codec, WIDTH, HEIGHT, keyframe_interval=INTERVAL)
    return [encoder.encode(picture(index))[0] for index in range(10)]


def outcome(decoder: VideoDecoder, codec: FrameCodec, seq: int) -> str:
    got = decoder.decode(record(codec, seq, units(codec)[seq]))
    return str(got) if isinstance(got, DropReason) else "picture"


@CODECS
def test_each_unit_gives_its_own_picture_at_once(codec: FrameCodec) -> None:
    decoder = VideoDecoder(codec)
    for index, unit in enumerate(units(codec)):
        assert is_keyframe(codec, unit) == (index % INTERVAL == 0)
        got = decoder.decode(record(codec, index, unit))
        assert isinstance(got, np.ndarray)
        assert np.abs(got.astype(int) - picture(index)).mean() < 6
    reduced = VideoDecoder(codec).decode(record(codec, 0, units(codec)[0]), reduce=2)
    assert isinstance(reduced, np.ndarray)
    assert reduced.shape == (HEIGHT // 2, WIDTH // 2, 3)


@CODECS
def test_it_starts_and_recovers_at_key_frames(codec: FrameCodec) -> None:
    decoder = VideoDecoder(codec)
    got = [outcome(decoder, codec, seq) for seq in (2, 3, 4, 5, 5, 7, 8, 9)]
    wait = "await_keyframe"
    assert got == [wait, wait, "picture", "picture", "duplicate", wait, "picture", "picture"]


@CODECS
def test_a_broken_unit_is_one_error_then_a_wait(codec: FrameCodec) -> None:
    decoder = VideoDecoder(codec)
    assert outcome(decoder, codec, 0) == "picture"
    with pytest.raises(PayloadError):
        decoder.decode(record(codec, 1, b"\xff\xd8\xff\xe0 a jpeg"))
    assert [outcome(decoder, codec, seq) for seq in (2, 3, 4, 5)] == ["await_keyframe"] * 2 + ["picture"] * 2


def test_a_truncated_unit_is_an_error() -> None:
    decoder = VideoDecoder(FrameCodec.H264)
    with pytest.raises(PayloadError, match="corrupted"):
        decoder.decode(record(FrameCodec.H264, 0, units(FrameCodec.H264)[0][:-200]))


@CODECS
def test_a_codec_that_lies_is_an_error(codec: FrameCodec) -> None:
    other = FrameCodec.HEVC if codec is FrameCodec.H264 else FrameCodec.H264
    with pytest.raises(PayloadError, match=f"says {other}"):
        VideoDecoder(other).decode(record(other, 0, units(codec)[0]))
    with pytest.raises(PayloadError, match=f"this stream is {other}"):
        VideoDecoder(other).decode(record(codec, 0, units(codec)[0]))


@CODECS
@pytest.mark.parametrize("width", [32, WIDTH + 2])
def test_a_size_that_lies_is_an_error(codec: FrameCodec, width: int) -> None:
    with pytest.raises(PayloadError):
        VideoDecoder(codec).decode(record(codec, 0, units(codec)[0], width=width))


@CODECS
def test_a_skipped_frame_keeps_the_next_one_right(codec: FrameCodec) -> None:
    whole, skipping = VideoDecoder(codec), VideoDecoder(codec)
    for seq in range(3):
        expected = whole.decode(record(codec, seq, units(codec)[seq]))
        if seq < 2:
            assert skipping.skip(record(codec, seq, units(codec)[seq])) is None
    got = skipping.decode(record(codec, 2, units(codec)[2]))
    assert isinstance(expected, np.ndarray)
    assert isinstance(got, np.ndarray)
    assert np.array_equal(expected, got)


def test_wrong_uses_are_named() -> None:
    with pytest.raises(ValueError, match="h264 or hevc"):
        VideoDecoder(FrameCodec.PNG)
    with pytest.raises(ValueError, match="even sides"):
        VideoEncoder(FrameCodec.H264, 33, 32)
    with pytest.raises(ValueError, match="expected \\[64, 96, 3\\]"):
        VideoEncoder(FrameCodec.H264, WIDTH, HEIGHT).encode(np.zeros((8, 8, 3), np.uint8))
