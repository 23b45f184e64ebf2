"""Whatever comes, it ends as a frame or as one error of ours; and what is sent comes back."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec import decode_image, encode_image
from streams.errors import StreamError
from streams.exr import encode_exr
from streams.gbuffer import PLANES, decode_planes, encode_planes
from streams.headers import FrameCodec, GBufferCodec, PlaneCodec, SentFrameHeaders, SentGBufferHeaders, encode
from streams.intake import Intake
from streams.outcomes import runs_of
from streams.parts import split
from streams.records import FrameRecord, GBufferRecord, Origin, RawRecord
from streams.video import VideoDecoder, VideoEncoder

WIDTH, HEIGHT = 48, 32
FEW = settings(max_examples=40, deadline=None)
MORE = settings(max_examples=100, deadline=None)

texts = st.sampled_from([b"", b"0", b"1", b"-1", b"2", b"48", b"32", b"jpeg", b"exr", b"[]", b"[{}]", b"\xff", b"true"])
names = st.sampled_from(["foveal-version", "codec", "seq", "captured-at", "width", "height", "part", "parts", "planes"])


@lru_cache
def units() -> tuple[bytes, ...]:
    encoder = VideoEncoder(FrameCodec.H264, WIDTH, HEIGHT)
    rng = np.random.default_rng(0)
    return tuple(encoder.encode(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))[0] for _ in range(2))


@lru_cache
def whole(kind: str) -> tuple[tuple[tuple[str, bytes], ...], bytes]:
    """Headers and value of one sound record."""
    rng = np.random.default_rng(1)
    if kind in tuple(FrameCodec):
        codec = FrameCodec(kind)
        image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        value = units()[0] if codec.is_video else encode_image(image, codec)
        return encode(SentFrameHeaders(codec=codec, seq=0, captured_at_ns=0, width=WIDTH, height=HEIGHT)), value
    planes = {
        name: rng.random((HEIGHT, WIDTH, count) if count else (HEIGHT, WIDTH)).astype(np.float16)
        for name, count in PLANES.items()
    }
    planes["mask"] = (planes["mask"] > 0.5).astype(np.uint8)
    common = {"seq": 0, "captured_at_ns": 0, "width": WIDTH, "height": HEIGHT}
    if kind == "exr":
        return encode(SentGBufferHeaders.model_validate({"codec": GBufferCodec.EXR, **common})), encode_exr(planes)
    value, headers = encode_planes(planes, PlaneCodec(kind))
    return encode(SentGBufferHeaders.model_validate({"planes": headers, **common})), value


@st.composite
def damaged(draw: st.DrawFn, value: bytes) -> bytes:
    """The value cut short, with some bytes changed, or with something in front of it."""
    how = draw(st.sampled_from(["cut", "flip", "grow"]))
    if how == "cut":
        return value[: draw(st.integers(0, len(value) - 1))]
    if how == "grow":
        return draw(st.binary(min_size=1, max_size=9)) + value
    changed = bytearray(value)
    for place in draw(st.lists(st.integers(0, len(value) - 1), min_size=1, max_size=4)):
        changed[place] ^= draw(st.integers(1, 255))
    return bytes(changed)


def raw(headers: tuple[tuple[str, bytes], ...], value: bytes | None, offset: int = 0) -> RawRecord:
    return RawRecord(Origin("t", 0, offset), b"cam", headers, value, 0)


def opened(record: FrameRecord | GBufferRecord) -> None:
    """Decode it, whatever it is."""
    if isinstance(record, GBufferRecord):
        decode_planes(record)
    elif record.codec.is_video:
        VideoDecoder(record.codec).decode(record)
    else:
        decode_image(record)


@FEW
@given(st.data(), st.sampled_from(["jpeg", "png", "h264", "raw-bgr24", "raw", "lz4", "zstd", "exr"]))
def test_a_damaged_value_is_a_picture_or_an_error_of_ours(data: st.DataObject, kind: str) -> None:
    headers, value = whole(kind)
    record = raw(headers, data.draw(damaged(value)))
    frames: list[FrameRecord] | list[GBufferRecord]
    if kind in tuple(FrameCodec):
        frames, dead = Intake.for_frames().accept([record])
    else:
        frames, dead = Intake.for_gbuffers().accept([record])
    assert len(frames) + len(dead) == 1
    for frame in frames:
        with contextlib.suppress(StreamError):
            opened(frame)


@MORE
@given(st.lists(st.tuples(names, texts), max_size=12), st.one_of(st.none(), st.binary(max_size=64)), st.booleans())
def test_any_headers_give_one_frame_or_one_dead_letter(
    added: list[tuple[str, bytes]], value: bytes | None, gbuffer: bool
) -> None:
    base = dict(whole("exr" if gbuffer else "jpeg")[0])
    record = raw(tuple({**base, **dict(added)}.items()), value)
    if gbuffer:
        joining = Intake.for_gbuffers()
        whole_frames, dead = len((got := joining.accept([record]))[0]), got[1]
        waiting = joining.open_frames
    else:
        intake = Intake.for_frames()
        whole_frames, dead = len((taken := intake.accept([record]))[0]), taken[1]
        waiting = intake.open_frames
    assert whole_frames + len(dead) + waiting == 1


@FEW
@given(st.binary(min_size=1, max_size=400), st.integers(1, 50), st.randoms(use_true_random=False))
def test_parts_in_any_order_join_to_what_was_split(value: bytes, limit: int, random: object) -> None:
    pieces = split(value, limit)
    assert b"".join(pieces) == value
    assert max(map(len, pieces)) <= limit
    batch = []
    for index, piece in enumerate(pieces):
        headers = SentFrameHeaders(
            codec=FrameCodec.JPEG, seq=0, captured_at_ns=0, width=1, height=1, part=index, parts=len(pieces)
        )
        batch.append((encode(headers), piece))
    random.shuffle(batch)  # type: ignore[attr-defined]
    frames, dead = Intake.for_frames().accept([raw(headers, piece, at) for at, (headers, piece) in enumerate(batch)])
    assert dead == []
    assert [(frame.payload, frame.part_offsets) for frame in frames] == [(value, tuple(range(len(pieces))))]


@MORE
@given(st.sets(st.integers(0, 60)))
def test_runs_hold_the_same_offsets(offsets: set[int]) -> None:
    runs = runs_of(offsets)
    assert [offset for first, last in runs for offset in range(first, last + 1)] == sorted(offsets)
    assert all(after[0] > before[1] + 1 for before, after in pairwise(runs))
