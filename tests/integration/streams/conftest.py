"""Topics of their own for each test on the worker's broker, and the steps that these tests share."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from kafka.structs import TopicPartition

from streams.client import open_producer, open_reader, raw_record
from streams.config import ROLES, StreamsConfig, TopicsConfig
from streams.consumer import StreamConsumer
from streams.outcomes import EndedBatch, ResultRecord
from streams.records import RawRecord
from streams.topics import ensure_topics


@pytest.fixture
def bare_config(kafka: str) -> StreamsConfig:
    """Names that nobody else uses; nothing is created."""
    return _config(kafka)


@pytest.fixture
def config(bare_config: StreamsConfig) -> StreamsConfig:
    """The same with its topics there."""
    ensure_topics(bare_config)
    return bare_config


@pytest.fixture
def steps() -> SimpleNamespace:
    """send, take, answered, results, new_config: what a producer, an actor and a reader do."""
    return SimpleNamespace(send=_send, take=_take, answered=_answered, results=_results, new_config=_config)


def _config(bootstrap_servers: str) -> StreamsConfig:
    prefix = f"t{uuid.uuid4().hex[:8]}"
    topics = {
        role: TopicsConfig().of(role).model_copy(update={"name": f"{prefix}.{role}", "partitions": 2}) for role in ROLES
    }
    return StreamsConfig(bootstrap_servers=(bootstrap_servers,), topics=TopicsConfig(**topics))


def _send(config: StreamsConfig, count: int, *, partition: int | None = None, first: int = 0) -> None:
    """Records with the values first, first + 1, ... to the frames' topic."""
    producer = open_producer(config)
    for number in range(first, first + count):
        to = number % 2 if partition is None else partition
        producer.send(config.topics.frames.name, key=b"s", value=b"%d" % number, partition=to)
    producer.flush()
    producer.close()


def _take(consumer: StreamConsumer, count: int, timeout_s: float = 20.0) -> list[RawRecord]:
    taken: list[RawRecord] = []
    deadline = time.monotonic() + timeout_s
    while len(taken) < count and time.monotonic() < deadline:
        taken += consumer.take(count - len(taken), 0.2)
    assert len(taken) == count, (len(taken), consumer.state, consumer.failure)
    return taken


def _answered(records: Iterable[RawRecord]) -> EndedBatch:
    """One result a record, as an actor would end them."""
    return EndedBatch(
        [
            ResultRecord(
                "people", record.origin, (record.origin.offset,), record.key or b"",
                (("ce_id", str(record.origin).encode()),), record.value or b"",
            )
            for record in records
        ]
    )  # fmt: skip


def _results(config: StreamsConfig, role: str = "people") -> Counter[str]:
    """ce_id -> how often a reader of committed records sees it."""
    topic = getattr(config.topics, role).name
    reader = open_reader(config, [topic], from_beginning=True)
    places = [TopicPartition(topic, partition) for partition in reader.partitions_for_topic(topic)]
    ends = reader.end_offsets(places)
    seen: Counter[str] = Counter()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for records in reader.poll(200).values():
            seen.update(dict(raw_record(record).headers)["ce_id"].decode() for record in records)
        if reader.assignment() and all((reader.position(place) or 0) >= ends[place] for place in places):
            break
    reader.close()
    return seen
