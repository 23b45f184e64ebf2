"""Parts are joined or given up, and a bad record never takes its neighbours along."""

from __future__ import annotations

import numpy as np
import pytest

from streams.gbuffer import encode_planes
from streams.headers import FrameCodec, SentFrameHeaders, SentGBufferHeaders, encode
from streams.intake import Intake, PartLimits
from streams.parts import split
from streams.records import FrameRecord, Origin, RawRecord


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def part(
    offset: int,
    value: bytes | None,
    *,
    seq: int = 1,
    index: int = 0,
    parts: int = 1,
    width: int = 8,
    height: int = 8,
) -> RawRecord:
    headers = SentFrameHeaders(
        codec=FrameCodec.JPEG, seq=seq, captured_at_ns=5, width=width, height=height, part=index, parts=parts
    )
    return RawRecord(Origin("foveal.frames", 0, offset), b"cam", encode(headers), value, 1000 + offset)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def intake(clock: Clock) -> Intake[FrameRecord]:
    return Intake.for_frames(parts=PartLimits(max_open=2, max_bytes=100, timeout_s=5), clock=clock)


def test_parts_of_two_frames_are_joined_in_any_order(intake: Intake[FrameRecord]) -> None:
    batch = [part(0, b"c", index=2, parts=3), part(1, b"X", seq=2, parts=2), part(2, b"a", parts=3)]
    assert intake.accept(batch) == ([], [])
    assert intake.open_frames == 2
    frames, dead = intake.accept([part(3, b"b", index=1, parts=3), part(4, b"Y", seq=2, index=1, parts=2)])
    assert not dead
    assert [(frame.payload, frame.part_offsets, frame.origin.offset) for frame in frames] == [
        (b"abc", (0, 2, 3), 3),
        (b"XY", (1, 4), 4),
    ]
    assert [raw.origin.offset for raw in frames[0].raws] == [0, 2, 3]
    assert intake.open_frames == 0


def test_a_part_that_never_comes_buries_the_others(intake: Intake[FrameRecord], clock: Clock) -> None:
    intake.accept([part(0, b"a", parts=3), part(1, b"c", index=2, parts=3)])
    clock.now_s += 4.9
    assert intake.expire() == []
    clock.now_s += 0.2
    dead = intake.expire()
    assert [(one.origin.offset, one.error) for one in dead] == [(0, "PartsError"), (1, "PartsError")]
    assert "2 of 3 parts came in 5 s, without part 1" in dead[0].message
    assert intake.open_frames == 0


def test_duplicated_and_contradicting_parts_are_errors(intake: Intake[FrameRecord]) -> None:
    _, dead = intake.accept([part(0, b"a", parts=2), part(1, b"a", parts=2)])
    assert [one.origin.offset for one in dead] == [0, 1]
    assert "part 0 came twice" in dead[0].message
    _, dead = intake.accept([part(2, b"a", parts=2), part(3, b"b", index=1, parts=2, width=9)])
    assert [one.origin.offset for one in dead] == [2, 3]
    assert "contradicts" in dead[0].message


@pytest.mark.parametrize("sizes", [(1, 1, 1), (60, 60)])
def test_open_frames_are_bounded_in_count_and_bytes(intake: Intake[FrameRecord], sizes: tuple[int, ...]) -> None:
    batch = [part(seq, b"x" * size, seq=seq, parts=2) for seq, size in enumerate(sizes)]
    _, dead = intake.accept(batch)
    assert [one.origin.offset for one in dead] == [0]
    assert "gave way" in dead[0].message


def test_what_a_lost_partition_had_open_is_forgotten(intake: Intake[FrameRecord], clock: Clock) -> None:
    intake.accept([part(0, b"a", parts=2)])
    intake.forget([("foveal.frames", 1)])
    assert intake.open_frames == 1
    intake.forget([("foveal.frames", 0)])
    clock.now_s += 60
    assert intake.expire() == []


def test_each_bad_record_is_one_dead_letter_and_its_neighbours_stay(intake: Intake[FrameRecord]) -> None:
    good = part(0, b"x")
    bad = [
        part(1, b""),
        part(2, None),
        RawRecord(Origin("foveal.frames", 0, 3), None, good.headers, b"x", 0),
        RawRecord(Origin("foveal.frames", 0, 4), b"\xff\xfe", good.headers, b"x", 0),
        RawRecord(Origin("foveal.frames", 0, 5), b"k" * 600, good.headers, b"x", 0),
        RawRecord(Origin("foveal.frames", 0, 6), b"cam", (), b"x", 0),
        part(7, b"x", width=20_000, height=20_000),
    ]
    frames, dead = intake.accept([good, *bad, part(8, b"x", seq=2)])
    assert [frame.origin.offset for frame in frames] == [0, 8]
    assert [(one.origin.offset, one.error) for one in dead] == [
        (1, "PayloadError"),
        (2, "PayloadError"),
        (3, "HeaderError"),
        (4, "HeaderError"),
        (5, "HeaderError"),
        (6, "HeaderError"),
        (7, "FrameTooLargeError"),
    ]
    assert all(one.record is raw for one, raw in zip(dead, bad, strict=True))


def test_a_joined_gbuffer_whose_lengths_do_not_add_up_buries_all_its_parts() -> None:
    planes = {"radiance": np.zeros((4, 4, 3)), "albedo": np.zeros((4, 4, 3)), "normal": np.zeros((4, 4, 3))}
    planes |= {"mask": np.ones((4, 4)), "depth": np.zeros((4, 4)), "motion": np.zeros((4, 4, 2))}
    value, headers = encode_planes(planes)

    def record(offset: int, data: bytes, index: int) -> RawRecord:
        sent = SentGBufferHeaders(seq=0, captured_at_ns=0, width=4, height=4, planes=headers, part=index, parts=2)
        return RawRecord(Origin("foveal.gbuffers", 0, offset), b"view", encode(sent), data, 0)

    first, second = split(value, -(-len(value) // 2))
    frames, dead = Intake.for_gbuffers().accept([record(0, first, 0), record(1, second, 1)])
    assert (len(frames), dead) == (1, [])
    frames, dead = Intake.for_gbuffers().accept([record(0, first, 0), record(1, second[:-1], 1)])
    assert frames == []
    assert [(one.origin.offset, one.error) for one in dead] == [(0, "PayloadError"), (1, "PayloadError")]


def test_split() -> None:
    assert split(b"abcdefg", 3) == [b"abc", b"def", b"g"]
    assert split(b"abc", 3) == [b"abc"]
    assert split(b"", 3) == [b""]
    with pytest.raises(ValueError, match="parts"):
        split(b"x" * 5000, 1)
