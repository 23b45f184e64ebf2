"""Headers: what is read, what is refused and in which words."""

from __future__ import annotations

import pytest

from streams.errors import FrameTooLargeError, HeaderError, UnknownVersionError, WireError
from streams.headers import (
    FrameCodec,
    FrameLimits,
    GBufferCodec,
    History,
    OutputFormat,
    SentFrameHeaders,
    SentGBufferHeaders,
    encode,
    parse_frame_headers,
    parse_gbuffer_headers,
)

FRAME = {
    "foveal-version": b"1",
    "codec": b"jpeg",
    "seq": b"7",
    "captured-at": b"1700000000000000000",
    "width": b"640",
    "height": b"480",
}
PLANES = b'[{"name":"radiance","dtype":"float16","shape":[480,640,3],"codec":"lz4","length":44}]'
GBUFFER = {**FRAME, "codec": b"planes", "planes": PLANES}


def test_only_six_headers_are_needed() -> None:
    headers = parse_frame_headers(FRAME.items())
    assert (headers.codec, headers.seq, headers.width, headers.height) == (FrameCodec.JPEG, 7, 640, 480)
    assert (headers.keyframe, headers.part, headers.parts) == (True, 0, 1)


def test_unknown_headers_are_ignored() -> None:
    assert parse_frame_headers([*FRAME.items(), ("traceparent", b"\xff\xfe"), ("traceparent", b"2")]).seq == 7


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seq", b"-1", "expected a whole number"),
        ("seq", b"1_0", "expected a whole number"),
        ("seq", b"1\n", "expected a whole number"),
        ("seq", b"9223372036854775808", "expected a whole number"),
        ("seq", b"\xff", "expected UTF-8 text"),
        ("codec", b"gif", "expected one of jpeg, png"),
        ("keyframe", b"yes", "expected true or false"),
        ("captured-at", b"now", "expected nanoseconds"),
        ("width", b"0", "at least 1"),
        ("part", b"3", "from 0 to parts - 1"),
        ("parts", b"5000", "1 to 4096"),
    ],
)
def test_a_wrong_header_is_named_with_what_came(name: str, value: bytes, said: str) -> None:
    with pytest.raises(HeaderError, match=f"header '{name}'.*{said}.*got") as caught:
        parse_frame_headers({**FRAME, name: value}.items())
    assert caught.value.header == name


@pytest.mark.parametrize("name", FRAME)
def test_a_missing_header_is_named(name: str) -> None:
    with pytest.raises(HeaderError, match=f"header '{name}'.*got None"):
        parse_frame_headers(item for item in FRAME.items() if item[0] != name)


def test_a_header_that_comes_twice_is_refused() -> None:
    with pytest.raises(HeaderError, match="header 'seq': expected it once"):
        parse_frame_headers([*FRAME.items(), ("seq", b"8")])


def test_an_unknown_version_is_its_own_error() -> None:
    with pytest.raises(UnknownVersionError, match="expected '1', got '2'"):
        parse_frame_headers({**FRAME, "foveal-version": b"2"}.items())


def test_a_huge_frame_is_refused_by_its_headers() -> None:
    huge = {**FRAME, "width": b"20000", "height": b"20000"}
    with pytest.raises(FrameTooLargeError, match="got 20000x20000"):
        parse_frame_headers(huge.items())
    with pytest.raises(FrameTooLargeError, match="100 pixels, got 640x480"):
        parse_frame_headers(FRAME.items(), FrameLimits(max_side=1000, max_pixels=100))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("planes", b"["),
        ("planes", b"[" * 50_000),
        ("planes", b"[]"),
        ("planes", b'[{"name":"a","dtype":"float64","shape":[2,2],"length":3}]'),
        ("planes", b'[{"name":"a","dtype":"uint8","shape":[2],"length":3}]'),
        ("exposure", b"nan"),
        ("exposure", b"-1"),
        ("exposure", b"1e999"),
        ("history", b"maybe"),
        ("output", b"gif"),
        ("scene", b""),
    ],
)
def test_a_wrong_gbuffer_header_is_named(name: str, value: bytes) -> None:
    with pytest.raises(HeaderError) as caught:
        parse_gbuffer_headers({**GBUFFER, name: value}.items())
    assert caught.value.header == name


def test_planes_go_with_their_codec() -> None:
    with pytest.raises(HeaderError, match=r"add it, or send one OpenEXR file"):
        parse_gbuffer_headers(item for item in GBUFFER.items() if item[0] != "planes")
    with pytest.raises(HeaderError, match=r"header 'planes': expected none with codec=exr"):
        parse_gbuffer_headers({**GBUFFER, "codec": b"exr"}.items())
    exr = {name: value for name, value in GBUFFER.items() if name != "planes"} | {"codec": b"exr"}
    assert parse_gbuffer_headers(exr.items()).codec is GBufferCodec.EXR


def test_gbuffer_defaults() -> None:
    headers = parse_gbuffer_headers(GBUFFER.items())
    assert (headers.history, headers.output, headers.scene, headers.exposure) == (
        History.KEEP,
        OutputFormat.PNG,
        None,
        None,
    )


def test_what_is_sent_is_read_back() -> None:
    sent = SentFrameHeaders(codec=FrameCodec.HEVC, seq=3, captured_at_ns=9, width=2, height=4, keyframe=False)
    assert parse_frame_headers(encode(sent)).model_dump() == sent.model_dump()
    render = SentGBufferHeaders(
        codec=GBufferCodec.EXR, seq=3, captured_at_ns=9, width=2, height=4, scene="küche", exposure=0.25
    )
    assert parse_gbuffer_headers(encode(render)).model_dump() == render.model_dump()


def test_a_sender_may_not_invent_headers() -> None:
    with pytest.raises(ValueError, match="sequence"):
        SentFrameHeaders.model_validate({"codec": "jpeg", "sequence": 3})


def test_every_wire_error_is_a_value_error_and_final() -> None:
    assert issubclass(WireError, ValueError)
    assert not WireError.retriable
