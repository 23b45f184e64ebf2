"""The proof that every input offset has exactly one outcome: input, outcomes and results read and compared.

An offset counts once it is a record that a reader of committed records gets: markers, aborted and compacted records
are none. A frame in parts has one result, which covers the offsets of all its parts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaError
from kafka.structs import TopicPartition
from pydantic import ValidationError

from streams.client import open_admin, open_reader
from streams.config import INPUT_ROLES, RESULT_ROLES, Role, StreamsConfig
from streams.errors import StreamError
from streams.ledger import PartitionLedger, plain_metadata
from streams.messages import Outcome
from streams.records import Origin

__all__ = ["AuditError", "AuditReport", "PartitionAudit", "audit"]

POLL_MS = 500
POLL_RECORDS = 5_000
NAMED_OFFSETS = 20  # of what is wrong, at most so many are named
STALLED_POLLS = 20


class AuditError(StreamError, LookupError):
    """The topics don't hold what an audit needs; the text says which choice is to be made."""


@dataclass(frozen=True, slots=True)
class PartitionAudit:
    """One input partition. offsets = results + drops + deadletters + missing + pending, if each ended once.

    `pending` have not ended yet and need not have: the group has not committed past them. `missing` have, without an
    outcome, or with a result that is not in a result topic. `duplicated` have two outcomes, or two results of a kind.
    """

    partition: int
    offsets: int
    results: int
    drops: dict[str, int]
    deadletters: dict[str, int]
    pending: int
    missing: int
    duplicated: int
    missing_offsets: tuple[int, ...] = ()
    duplicated_offsets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditReport:
    """An input topic as one group has ended it."""

    topic: str
    group: str | None
    partitions: tuple[PartitionAudit, ...]

    @property
    def sound(self) -> bool:
        """Nothing lost, nothing twice; work may still be going on."""
        return not self.totals["missing"] and not self.totals["duplicated"]

    @property
    def complete(self) -> bool:
        """Every offset has exactly one outcome."""
        return self.sound and not self.totals["pending"]

    @property
    def totals(self) -> dict[str, int]:
        """offsets, results, drops, deadletters, pending, missing, duplicated over all partitions."""
        totals: Counter[str] = Counter(
            dict.fromkeys(("offsets", "results", "drops", "deadletters", "pending", "missing", "duplicated"), 0)
        )
        for one in self.partitions:
            totals.update(
                offsets=one.offsets, results=one.results, drops=sum(one.drops.values()),
                deadletters=sum(one.deadletters.values()), pending=one.pending, missing=one.missing,
                duplicated=one.duplicated,
            )  # fmt: skip
        return dict(totals)

    def to_dict(self) -> dict[str, Any]:
        """As JSON wants it."""
        return {
            "topic": self.topic,
            "group": self.group,
            "complete": self.complete,
            **self.totals,
            "partitions": [asdict(one) for one in self.partitions],
        }


@dataclass(slots=True)
class _Told:
    """What outcomes and results say of one input partition."""

    ended: Counter[int] = field(default_factory=Counter)
    results: set[int] = field(default_factory=set)
    drops: dict[int, str] = field(default_factory=dict)
    deadletters: dict[int, str] = field(default_factory=dict)
    events: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))


def audit(config: StreamsConfig, topic: str, group: str | None = None) -> AuditReport:
    """Compare an input topic (its name or its role) with what became of it.

    `group` may be left out where only one has left outcomes. What is appended while it reads may show as pending.
    Raises: BrokerUnavailableError; AuditError for a topic that does not exist, or several groups.
    """
    name = config.topics.of(role).name if (role := _input_role(topic)) else topic
    reader = open_reader(config, from_beginning=True, max_poll_records=POLL_RECORDS)
    try:
        inputs = _places(reader, [name])
        outcome_places = _places(reader, [config.topics.outcomes.name])
        ends = reader.end_offsets(inputs)
        outcomes = list(_outcomes(_drain(reader, outcome_places), name))
        group = group or _only_group(name, {outcome.group for outcome in outcomes})
        committed = _committed(config, group, inputs)
        # Outcomes are committed together with offsets: what ended before `committed` was read is there by now.
        outcomes += _outcomes(_drain(reader, outcome_places, starts=_positions(reader, outcome_places)), name)
        told: dict[int, _Told] = defaultdict(_Told)
        for outcome in outcomes:
            if outcome.group == group:
                _note(told[outcome.partition], outcome)
        results = _places(reader, [config.topics.of(role).name for role in RESULT_ROLES])
        all_kept = not any(reader.beginning_offsets(results).values())
        for result_topic, origin in _origins(_drain(reader, results)):
            if origin.topic == name:
                told[origin.partition].events[result_topic][origin.offset] += 1
        read = _read_inputs(_drain(reader, inputs, ends=ends))
    except KafkaError as error:
        raise StreamError(f"audit of {name}: the brokers ended it ({error!r}); run it again") from error
    finally:
        reader.close()
    audits = []
    for place in inputs:
        ledger = PartitionLedger.restore(*committed.get(place, (0, "")))
        audits.append(_compare(place.partition, read[place.partition], told[place.partition], ledger, all_kept))
    return AuditReport(name, group, tuple(audits))


def _input_role(topic: str) -> Role | None:
    return next((role for role in INPUT_ROLES if role == topic), None)


def _places(reader: KafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    places = []
    for topic in topics:
        partitions = reader.partitions_for_topic(topic)
        if not partitions:
            raise AuditError(f"audit: topic {topic!r} does not exist; name one that does, or run `foveal up`")
        places += [TopicPartition(topic, partition) for partition in sorted(partitions)]
    return places


def _drain(
    reader: KafkaConsumer,
    places: list[TopicPartition],
    *,
    starts: Mapping[TopicPartition, int] | None = None,
    ends: Mapping[TopicPartition, int] | None = None,
) -> Iterator[Any]:
    """Every committed record from `starts` (the oldest kept) up to `ends` (the newest now)."""
    ends = ends if ends is not None else reader.end_offsets(places)
    reader.assign(places)
    if starts is None:
        reader.seek_to_beginning(*places)
    else:
        for place, start in starts.items():
            reader.seek(place, start)
    idle_polls = 0
    while any((reader.position(place) or 0) < ends[place] for place in places):
        polled = reader.poll(POLL_MS)
        for place, records in polled.items():
            yield from (record for record in records if record.offset < ends[place])
        idle_polls = 0 if polled else idle_polls + 1
        if idle_polls > STALLED_POLLS:
            raise StreamError(
                f"audit: {places[0].topic} could not be read to its end within {STALLED_POLLS * POLL_MS / 1000:g} s; "
                "see the brokers' log"
            )


def _positions(reader: KafkaConsumer, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    return {place: reader.position(place) or 0 for place in places}


def _outcomes(records: Iterable[Any], input_topic: str) -> Iterator[Outcome]:
    for record in records:
        try:
            outcome = Outcome.model_validate_json(record.value or b"")
        except ValidationError as error:
            raise AuditError(
                f"audit: {record.topic}/{record.partition}/{record.offset} is no outcome of this version; "
                "audit with the release that wrote it"
            ) from error
        if outcome.input_topic == input_topic:
            yield outcome


def _only_group(topic: str, groups: set[str]) -> str | None:
    if len(groups) > 1:
        raise AuditError(f"audit of {topic}: several groups have ended it: {', '.join(sorted(groups))}; name one")
    return next(iter(groups), None)


def _committed(
    config: StreamsConfig, group: str | None, places: list[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    if group is None:
        return {}
    admin = open_admin(config)
    try:
        found = admin.list_group_offsets({group: places})[group]
    finally:
        admin.close()
    return {place: (one.offset, plain_metadata(one.metadata)) for place, one in found.items() if one.offset >= 0}


def _note(told: _Told, outcome: Outcome) -> None:
    for first, last in outcome.results:
        told.ended.update(range(first, last + 1))
        told.results.update(range(first, last + 1))
    for drop in outcome.drops:
        told.ended[drop.offset] += 1
        told.drops[drop.offset] = drop.reason.value
    for dead in outcome.deadletters:
        told.ended[dead.offset] += 1
        told.deadletters[dead.offset] = dead.error


def _origins(records: Iterable[Any]) -> Iterator[tuple[str, Origin]]:
    """(result topic, input origin) of every result; records of strangers are passed over."""
    for record in records:
        ids = [value for name, value in record.headers if name == "ce_id" and value]
        if ids:
            try:
                yield record.topic, Origin.parse(ids[0].decode())
            except ValueError:
                continue


def _read_inputs(records: Iterable[Any]) -> dict[int, list[tuple[int, bool]]]:
    """Partition -> (offset, whether it is a part with others to come) of every real record."""
    read: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for record in records:
        said = dict(record.headers)
        part, parts = said.get("part", b"0"), said.get("parts", b"1")
        inner = part.isdigit() and parts.isdigit() and int(part) + 1 < int(parts)
        read[record.partition].append((record.offset, inner))
    return read


def _compare(
    partition: int, read: list[tuple[int, bool]], told: _Told, ledger: PartitionLedger, all_kept: bool
) -> PartitionAudit:
    counts: Counter[str] = Counter()
    drops: Counter[str] = Counter()
    deadletters: Counter[str] = Counter()
    missing, duplicated = [], []
    for offset, inner in read:
        has_event = any(events[offset] for events in told.events.values())
        times = told.ended[offset]
        if times == 0:
            counts["pending" if not ledger.has_ended(offset) else "missing"] += 1
            if ledger.has_ended(offset):
                missing.append(offset)
            continue
        if offset in told.drops:
            drops[told.drops[offset]] += 1
        elif offset in told.deadletters:
            deadletters[told.deadletters[offset]] += 1
        elif has_event or inner or not all_kept:
            counts["results"] += 1
        else:
            missing.append(offset)  # an outcome that promises a result which is nowhere
            counts["missing"] += 1
        twice = any(events[offset] > 1 for events in told.events.values())
        if times > 1 or twice or (has_event and offset not in told.results):
            duplicated.append(offset)
    return PartitionAudit(
        partition=partition,
        offsets=len(read),
        results=counts["results"],
        drops=dict(sorted(drops.items())),
        deadletters=dict(sorted(deadletters.items())),
        pending=counts["pending"],
        missing=counts["missing"],
        duplicated=len(duplicated),
        missing_offsets=tuple(missing[:NAMED_OFFSETS]),
        duplicated_offsets=tuple(duplicated[:NAMED_OFFSETS]),
    )
