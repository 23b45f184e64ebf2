"""One transactional id on librdkafka, each call bounded in time.

A call that takes longer raises `KafkaTimeoutError`: whether it took effect is open, and the caller begins anew with
another producer, which ends what this one left and fences it.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping, Sequence

from confluent_kafka import Producer
from confluent_kafka import TopicPartition as NativePartition
from kafka.errors import KafkaError
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition

from streams.client import connect
from streams.config import StreamsConfig
from streams.librdkafka import called, native_options

__all__ = ["TransactionalProducer"]

log = logging.getLogger(__name__)

LONGEST_BACKOFF_MS = 100
BATCH_BYTES = 1_000_000
BATCH_ROOM_BYTES = 512


class TransactionalProducer:
    """What the predecessor of this id left open has been ended once this is made.

    Raises: BrokerUnavailableError; KafkaError.
    """

    def __init__(self, config: StreamsConfig, transactional_id: str):
        publisher = config.publisher
        sizes = [topic.max_message_bytes for _, topic in config.topics]
        self._timeout_s = publisher.transaction_timeout_ms / 1000
        options = native_options(config, log) | {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": publisher.transaction_timeout_ms,
            "message.timeout.ms": min(publisher.delivery_timeout_ms, publisher.transaction_timeout_ms),
            "message.max.bytes": max(sizes),
            # A topic's bound holds for a batch as for a record.
            "batch.size": min(BATCH_BYTES, min(sizes) - BATCH_ROOM_BYTES),
            "compression.type": publisher.compression,
            "linger.ms": 0,
            "retry.backoff.ms": publisher.retry_backoff_ms,
            "retry.backoff.max.ms": max(LONGEST_BACKOFF_MS, publisher.retry_backoff_ms),
            "partitioner": "murmur2_random",  # as every other Kafka client: a stream keeps its partition
        }
        self._client = connect(config, lambda: Producer(options))
        try:
            called(self._client.init_transactions, self._timeout_s)
        except KafkaError:
            self.close(0)
            raise

    def begin(self) -> None:
        self._client.poll(0)  # hands out librdkafka's own log
        called(self._client.begin_transaction)

    def send(
        self, topic: str, *, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        """Into the open transaction; what becomes of it is `commit`'s to say."""
        while True:
            try:
                return self._client.produce(topic, value=value, key=key, headers=list(headers))
            except BufferError:
                self._client.poll(self._timeout_s)

    def send_offsets(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], member: ConsumerGroupMetadata) -> None:
        """Make a group's offsets part of the transaction, refused for a generation that is over."""
        native = [
            NativePartition(place.topic, place.partition, commit.offset, commit.metadata)
            for place, commit in offsets.items()
        ]
        called(self._client.send_offsets_to_transaction, native, _packed(member), self._timeout_s)

    def commit(self) -> None:
        called(self._client.commit_transaction, self._timeout_s)

    def abort(self) -> None:
        called(self._client.abort_transaction, self._timeout_s)

    def close(self, timeout_s: float) -> None:
        """What is not delivered by then is given up."""
        self._client.flush(timeout_s)
        self._client.purge()
        self._client.flush(0)


def _packed(member: ConsumerGroupMetadata) -> bytes:
    """A member's generation as librdkafka writes it (`rd_kafka_consumer_group_metadata_write`)."""
    name = member.group_instance_id
    instance = b"\x01" if name is None else b"\x00" + name.encode() + b"\x00"
    ids = b"".join(text.encode() + b"\x00" for text in (member.group_id, member.member_id))
    return b"CGMDv2:" + struct.pack("<i", member.generation_id) + ids + instance
