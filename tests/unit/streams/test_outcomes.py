"""Every input offset ends once."""

from __future__ import annotations

import pytest

from streams.errors import OutcomeError, PayloadError
from streams.messages import DropReason, Outcome
from streams.outcomes import (
    Dead,
    Drop,
    EndedBatch,
    ResultRecord,
    TopicRole,
    bury_record,
    deadletter_headers,
    parse_deadletter,
    runs_of,
)
from streams.records import Origin, RawRecord


def origin(offset: int, partition: int = 0) -> Origin:
    return Origin("foveal.frames", partition, offset)


def result(*offsets: int, role: TopicRole = "people", partition: int = 0) -> ResultRecord:
    return ResultRecord(role, origin(offsets[-1], partition), offsets, b"s", (), b"{}")


def drop(offset: int) -> Drop:
    return Drop(origin(offset), DropReason.STALE, 40)


def dead(offset: int) -> Dead:
    raw = RawRecord(origin(offset), None, (("codec", b"jpeg"), ("foveal-error", b"older")), b"", 0)
    return bury_record(raw, PayloadError("value: 0 bytes"))


def test_a_batch_folds_into_one_outcome_a_partition() -> None:
    batch = EndedBatch(
        [result(0), result(0, role="expressions"), result(1), result(2, 4), result(7, partition=1)],
        [drop(5)],
        [dead(3)],
    )
    first, second = batch.outcomes("g", 9)
    assert (first.partition, first.results, second.partition, second.results) == (
        0,
        ((0, 2), (4, 4)),
        1,
        ((7, 7),),
    )
    assert [(one.offset, one.reason, one.age_ms) for one in first.drops] == [(5, DropReason.STALE, 40)]
    assert [(one.offset, one.error) for one in first.deadletters] == [(3, "PayloadError")]
    assert (first.offset_count, second.offset_count) == (6, 1)
    assert batch.offsets() == {("foveal.frames", 0): [0, 1, 2, 3, 4, 5], ("foveal.frames", 1): [7]}


@pytest.mark.parametrize(
    ("results", "drops", "deadletters"),
    [
        ([result(1), result(1)], [], []),
        ([result(1)], [drop(1)], []),
        ([result(1)], [], [dead(1)]),
        ([], [drop(1)], [dead(1)]),
        ([], [drop(1), drop(1)], []),
        ([], [], [dead(1), dead(1)]),
        ([result(1, 2), result(2, role="expressions")], [], []),
        ([ResultRecord("people", origin(3), (1, 2), b"s", (), b"")], [], []),
    ],
)
def test_an_offset_with_two_endings_is_refused(
    results: list[ResultRecord], drops: list[Drop], deadletters: list[Dead]
) -> None:
    with pytest.raises(OutcomeError):
        EndedBatch(results, drops, deadletters)


def test_an_outcome_with_an_offset_twice_is_refused() -> None:
    fields = {"group": "g", "input_topic": "t", "partition": 0, "ended_at_ns": 0, "drops": (), "deadletters": ()}
    with pytest.raises(ValueError, match="ascending runs"):
        Outcome.model_validate({**fields, "results": ((3, 5), (5, 6))})
    with pytest.raises(ValueError, match="as well"):
        Outcome.model_validate(
            {**fields, "results": ((3, 5),), "drops": ({"offset": 4, "reason": "stale", "age_ms": 1},)}
        )


def test_a_dead_letter_keeps_its_headers_and_says_why() -> None:
    headers = deadletter_headers(dead(3))
    assert headers[0] == ("codec", b"jpeg")
    assert [name for name, _ in headers].count("foveal-error") == 1
    letter = parse_deadletter(headers)
    assert (letter.origin, letter.error, letter.message) == ("foveal.frames/0/3", "PayloadError", "value: 0 bytes")


def test_runs() -> None:
    assert runs_of([5, 1, 2, 3, 9]) == ((1, 3), (5, 5), (9, 9))
    assert runs_of([]) == ()


def test_an_origin_reads_its_own_text() -> None:
    assert Origin.parse(str(origin(12, 3))) == origin(12, 3)
    with pytest.raises(ValueError, match="topic/partition/offset"):
        Origin.parse("foveal.frames/x/1")
