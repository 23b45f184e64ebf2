"""Consumer, ledger and publisher together on a real broker."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import pytest

from streams.client import open_producer, open_reader, raw_record
from streams.config import StreamsConfig
from streams.consumer import StreamConsumer
from streams.outcomes import EndedBatch, ResultRecord
from streams.publisher import Publisher
from streams.records import RawRecord

pytestmark = pytest.mark.services


def _send(config: StreamsConfig, count: int, *, partition: int | None = None, first: int = 0) -> None:
    producer = open_producer(config)
    for number in range(first, first + count):
        producer.send(config.topics.frames.name, key=b"s", value=b"%d" % number, partition=partition)
    producer.flush()
    producer.close()


def _result(record: RawRecord) -> ResultRecord:
    return ResultRecord(
        "people", record.origin, (record.origin.offset,), record.key or b"", (("ce_id", str(record.origin).encode()),),
        record.value or b"",
    )  # fmt: skip


def _answered(records: Iterable[RawRecord]) -> EndedBatch:
    return EndedBatch([_result(record) for record in records])


def _take(consumer: StreamConsumer, count: int, timeout_s: float = 15.0) -> list[RawRecord]:
    taken: list[RawRecord] = []
    deadline = time.monotonic() + timeout_s
    while len(taken) < count and time.monotonic() < deadline:
        taken += consumer.take(count - len(taken), 0.2)
    assert len(taken) == count, (len(taken), consumer.state, consumer.failure)
    return taken


def _results(config: StreamsConfig) -> Counter[str]:
    """ce_id -> how often a reader of committed records sees it."""
    reader = open_reader(config, [config.topics.people.name], from_beginning=True)
    seen: Counter[str] = Counter()
    silent = 0
    while silent < 3:
        polled = reader.poll(200)
        silent = 0 if polled else silent + 1
        for records in polled.values():
            seen.update(dict(raw_record(record).headers)["ce_id"].decode() for record in records)
    reader.close()
    return seen


def test_each_record_is_answered_once_and_the_next_member_begins_behind_it(config: StreamsConfig) -> None:
    _send(config, 20)
    topic = config.topics.frames.name
    with StreamConsumer(config, topic, "g", "m-0") as consumer, Publisher(config, consumer) as publisher:
        for _ in range(4):
            publisher.publish(_answered(_take(consumer, 5)))
        assert publisher.flush(10)
        assert publisher.last_commit_age_s == 0
        assert sum(lag.records for lag in consumer.lag().values()) == 0
    assert set(_results(config).values()) == {1}
    _send(config, 3, first=20)
    with StreamConsumer(config, topic, "g", "m-0") as consumer:
        assert sorted(int(record.value or b"") for record in _take(consumer, 3)) == [20, 21, 22]


def test_holes_travel_in_the_commit(config: StreamsConfig) -> None:
    _send(config, 10, partition=0)
    topic = config.topics.frames.name
    with StreamConsumer(config, topic, "g", "m-0") as consumer, Publisher(config, consumer) as publisher:
        records = _take(consumer, 10)
        publisher.publish(_answered(records[index] for index in (1, 2, 5, 9)))
        assert publisher.flush(10)
    with StreamConsumer(config, topic, "g", "m-1") as consumer, Publisher(config, consumer) as publisher:
        again = _take(consumer, 6)
        assert [record.origin.offset for record in again] == [0, 3, 4, 6, 7, 8]
        assert consumer.take(1, 0.5) == []
        publisher.publish(_answered(again))
        assert publisher.flush(10)
    seen = _results(config)
    assert len(seen) == 10
    assert set(seen.values()) == {1}
