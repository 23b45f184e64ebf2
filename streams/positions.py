"""Where a partition begins and ends, and where its group left it: asked of the brokers."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from streams.client import group_offsets
from streams.config import StreamsConfig
from streams.ledger import PartitionLedger
from streams.librdkafka import called, translated

__all__ = ["ends", "ledgers", "unsettled_ledgers"]

Ledgers = dict[int, PartitionLedger]

ENDS_TIMEOUT_S = 1.5
COMMITTED_TIMEOUT_S = 5.0


def ends(client: Consumer, place: TopicPartition) -> tuple[int, int]:
    """The first offset that is kept, and the one that comes next. Raises: KafkaError."""
    found = called(client.get_watermark_offsets, place, ENDS_TIMEOUT_S)
    if found is None:
        raise KafkaTimeoutError(f"no broker told the ends of {place.topic} {place.partition}")
    return found


def ledgers(client: Consumer, config: StreamsConfig, topic: str, partitions: Sequence[int]) -> Ledgers:
    """Of each partition from the group's committed offset and its metadata; from `consumer.start` where there is none.

    While a transaction with offsets of a partition is open, as another member's last one may be, there is no answer.
    Raises: KafkaError.
    """
    places = [TopicPartition(topic, partition) for partition in partitions]
    found: list[TopicPartition] = called(client.committed, places, COMMITTED_TIMEOUT_S)
    for place in found:
        if place.error is not None:
            raise translated(place.error)
    return {place.partition: _ledger(client, config, place, place.offset, place.metadata) for place in found}


def unsettled_ledgers(
    client: Consumer, config: StreamsConfig, group: str, topic: str, partitions: Sequence[int]
) -> Ledgers:
    """The same with what was committed before the open transaction. Raises: BrokerUnavailableError; KafkaError."""
    found = group_offsets(config, group, [(topic, partition) for partition in partitions])
    return {
        partition: _ledger(client, config, TopicPartition(topic, partition), *found[topic, partition])
        for partition in partitions
    }


def _ledger(
    client: Consumer, config: StreamsConfig, place: TopicPartition, position: int, metadata: str | None
) -> PartitionLedger:
    if position >= 0:
        return PartitionLedger.restore(position, metadata)
    first, end = ends(client, place)
    return PartitionLedger(first if config.consumer.start == "earliest" else end)
