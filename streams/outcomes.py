"""What a batch of records came to: every input offset ends as exactly one of result, drop or dead letter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from streams.errors import OutcomeError
from streams.messages import DeadLetter, DeadOffset, DroppedOffset, DropReason, Outcome
from streams.records import FrameRecord, GBufferRecord, Origin, RawRecord

__all__ = [
    "DEADLETTER_HEADERS",
    "Dead",
    "Drop",
    "EndedBatch",
    "Headers",
    "ResultRecord",
    "TopicRole",
    "bury_frame",
    "bury_record",
    "deadletter_headers",
    "drop_frame",
    "parse_deadletter",
    "runs_of",
]

TopicRole = Literal["people", "expressions", "renders"]
Headers = tuple[tuple[str, bytes], ...]

DEADLETTER_HEADERS = ("foveal-origin", "foveal-error", "foveal-error-message")

# A broker bounds a record with its headers; an error never needs more than this to be understood.
MAX_MESSAGE_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """One record for a result topic. It ends `part_offsets` of the partition of `origin`, the last of them its own."""

    topic_role: TopicRole
    origin: Origin
    part_offsets: tuple[int, ...]
    key: bytes
    headers: Headers
    value: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """One input offset that was let go; `age_ms` is from the record's append to the decision."""

    origin: Origin
    reason: DropReason
    age_ms: int


@dataclass(frozen=True, slots=True)
class Dead:
    """One input record that breaks the contract, as it came, with the error's class and message."""

    record: RawRecord
    error: str
    message: str

    @property
    def origin(self) -> Origin:
        return self.record.origin


@dataclass(frozen=True, slots=True)
class EndedBatch:
    """What one step of an actor ended; frames in parts end all their offsets at once.

    A frame may have one result for each topic role. Raises: OutcomeError if an offset has two outcomes, or two
    results for one role.
    """

    results: Sequence[ResultRecord] = ()
    drops: Sequence[Drop] = ()
    deadletters: Sequence[Dead] = ()

    def __post_init__(self) -> None:
        _checked(self)

    def offsets(self) -> dict[tuple[str, int], list[int]]:
        """(topic, partition) -> the input offsets that this ends, ascending."""
        ended: dict[tuple[str, int], set[int]] = defaultdict(set)
        for result in self.results:
            ended[result.origin.topic, result.origin.partition].update(result.part_offsets)
        for origin in (*(drop.origin for drop in self.drops), *(dead.origin for dead in self.deadletters)):
            ended[origin.topic, origin.partition].add(origin.offset)
        return {place: sorted(offsets) for place, offsets in sorted(ended.items())}

    def outcomes(self, group: str, ended_at_ns: int) -> list[Outcome]:
        """Fold into one `Outcome` a partition, results run-length coded, in the order of topic and partition."""
        return [self._outcome(topic, partition, group, ended_at_ns) for topic, partition in self.offsets()]

    def _outcome(self, topic: str, partition: int, group: str, ended_at_ns: int) -> Outcome:
        def here(origin: Origin) -> bool:
            return (origin.topic, origin.partition) == (topic, partition)

        results = {offset for result in self.results if here(result.origin) for offset in result.part_offsets}
        drops = sorted((drop for drop in self.drops if here(drop.origin)), key=lambda drop: drop.origin)
        dead = sorted((dead for dead in self.deadletters if here(dead.origin)), key=lambda dead: dead.origin)
        return Outcome(
            group=group,
            input_topic=topic,
            partition=partition,
            results=runs_of(results),
            drops=tuple(
                DroppedOffset(offset=drop.origin.offset, reason=drop.reason, age_ms=max(0, drop.age_ms))
                for drop in drops
            ),
            deadletters=tuple(DeadOffset(offset=one.origin.offset, error=one.error) for one in dead),
            ended_at_ns=ended_at_ns,
        )


def drop_frame(frame: FrameRecord | GBufferRecord, reason: DropReason, now_ms: int) -> list[Drop]:
    """Let a whole frame go: one drop for each of its parts, each with its own age."""
    return [Drop(raw.origin, reason, max(0, now_ms - raw.appended_at_ms)) for raw in frame.raws]


def bury_frame(frame: FrameRecord | GBufferRecord, error: Exception) -> list[Dead]:
    """Condemn a whole frame: one dead letter for each record that it is made of."""
    return [bury_record(raw, error) for raw in frame.raws]


def bury_record(record: RawRecord, error: Exception) -> Dead:
    """Condemn one record by its error."""
    return Dead(record, type(error).__name__, str(error)[:MAX_MESSAGE_CHARACTERS])


def deadletter_headers(dead: Dead) -> Headers:
    """The record's own headers, then where it came from and what was wrong with it."""
    own = tuple((name, value) for name, value in dead.record.headers if name not in DEADLETTER_HEADERS)
    added = (str(dead.origin), dead.error, dead.message)
    return own + tuple((name, text.encode()) for name, text in zip(DEADLETTER_HEADERS, added, strict=True))


def parse_deadletter(headers: Iterable[tuple[str, bytes]]) -> DeadLetter:
    """Read what `deadletter_headers` wrote. Raises: ValueError (pydantic) where one of the three is missing."""
    found = {name: value.decode(errors="replace") for name, value in headers if name in DEADLETTER_HEADERS}
    fields = {"origin": "foveal-origin", "error": "foveal-error", "message": "foveal-error-message"}
    return DeadLetter.model_validate({field: found[name] for field, name in fields.items() if name in found})


def runs_of(offsets: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Distinct offsets, in any order, as ascending runs of (first, last), both inclusive."""
    runs: list[tuple[int, int]] = []
    for offset in sorted(offsets):
        if runs and offset == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], offset)
        else:
            runs.append((offset, offset))
    return tuple(runs)


def _checked(batch: EndedBatch) -> None:
    by_role: set[tuple[TopicRole, str, int, int]] = set()
    ended: dict[tuple[str, int, int], tuple[str, tuple[int, ...]]] = {}
    for result in batch.results:
        if not result.part_offsets or result.part_offsets[-1] != result.origin.offset:
            raise OutcomeError(f"{result.origin}: expected part_offsets to end with its own, got {result.part_offsets}")
        for offset in result.part_offsets:
            place = (result.origin.topic, result.origin.partition, offset)
            if (result.topic_role, *place) in by_role:
                raise OutcomeError(f"{'/'.join(map(str, place))}: two results for {result.topic_role!r}")
            by_role.add((result.topic_role, *place))
            _end(ended, place, ("result", result.part_offsets))
    for kind, singles in (("drop", batch.drops), ("dead letter", batch.deadletters)):
        for single in singles:
            origin = single.origin
            _end(ended, (origin.topic, origin.partition, origin.offset), (kind, (origin.offset,)))
    # Two drops of one offset are as wrong as a drop and a result of it.
    singles_count = len(batch.drops) + len(batch.deadletters)
    if singles_count != sum(kind != "result" for kind, _ in ended.values()):
        raise OutcomeError("an offset is dropped or dead-lettered twice in one batch")


def _end(
    ended: dict[tuple[str, int, int], tuple[str, tuple[int, ...]]],
    place: tuple[str, int, int],
    how: tuple[str, tuple[int, ...]],
) -> None:
    if ended.setdefault(place, how) != how:
        raise OutcomeError(f"{'/'.join(map(str, place))}: ends twice, as {ended[place][0]} and as {how[0]}")
