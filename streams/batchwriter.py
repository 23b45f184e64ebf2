"""The records that an ended batch becomes: results, dead letters, one outcome for each input partition."""

from __future__ import annotations

import time
from typing import Any, Protocol

from streams.config import StreamsConfig
from streams.errors import RecordTooLargeError
from streams.outcomes import Dead, EndedBatch, Headers, ResultRecord, deadletter_headers

__all__ = ["CUT_HEADER", "check_size", "write_batch"]

CUT_HEADER = "foveal-cut-from-bytes"
CUT_ROOM_BYTES = 512


class Sender(Protocol):
    """A producer of kafka-python's, or a `TransactionalProducer`."""

    def send(self, topic: str, *, key: bytes | None, value: bytes | None, headers: Any = ...) -> Any: ...


def check_size(config: StreamsConfig, result: ResultRecord) -> None:
    """Raises: RecordTooLargeError when the result's topic would refuse it."""
    topic = config.topics.of(result.topic_role)
    size = _size(result.key, result.value, result.headers)
    if size > topic.max_message_bytes:
        raise RecordTooLargeError(
            f"streams.topics.{result.topic_role}.max_message_bytes: expected at most {topic.max_message_bytes:,}, "
            f"got {size:,} for the result of {result.origin}; raise it together with the topic's max.message.bytes"
        )


def write_batch(producer: Sender, config: StreamsConfig, group: str, batch: EndedBatch) -> list[Any]:
    """Hand every record of a batch to the producer; returns what each `send` did."""
    topics = config.topics
    futures = [
        producer.send(topics.of(one.topic_role).name, key=one.key, value=one.value, headers=list(one.headers))
        for one in batch.results
    ]
    futures += [_write_dead(producer, config, dead) for dead in batch.deadletters]
    for outcome in batch.outcomes(group, time.time_ns()):
        key = f"{outcome.input_topic}/{outcome.partition}".encode()  # keeps a partition's outcomes in order
        futures.append(producer.send(topics.outcomes.name, key=key, value=outcome.model_dump_json().encode()))
    return futures


def _write_dead(producer: Sender, config: StreamsConfig, dead: Dead) -> Any:
    topic = config.topics.deadletters
    headers = deadletter_headers(dead)
    value = dead.record.value
    room = topic.max_message_bytes - _size(dead.record.key, None, headers)
    if value is not None and len(value) > room:
        # It would never fit and would block its partition for ever: its beginning tells more than nothing.
        headers += ((CUT_HEADER, str(len(value)).encode()),)
        value = value[: max(0, room - CUT_ROOM_BYTES)]
    return producer.send(topic.name, key=dead.record.key, value=value, headers=list(headers))


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """An upper bound of what a record takes in its batch, bytes."""
    named = sum(len(name.encode()) + len(text) + 10 for name, text in headers)
    return len(key or b"") + len(value or b"") + named + 100
