"""One transactional id on librdkafka, each call bounded in time.

A call that takes longer raises `KafkaTimeoutError`: whether it took effect is open, and the caller begins anew with
another producer, which ends what this one left and fences it. librdkafka's own bound does not hold for every call (ADR
0004), so they are made on a thread of their own, which is left behind with a call that does not return.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Producer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from streams.client import connect
from streams.config import StreamsConfig
from streams.librdkafka import called, native_options

__all__ = ["TransactionalProducer"]

log = logging.getLogger(__name__)

LONGEST_BACKOFF_MS = 100
BATCH_BYTES = 1_000_000
BATCH_ROOM_BYTES = 512
GRACE_S = 1.0  # beyond its own timeout


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
        self._calls = _Calls(f"transactions-{transactional_id}", self._timeout_s + GRACE_S)
        try:
            self._calls.make(lambda: called(self._client.init_transactions, self._timeout_s))
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

    def send_offsets(self, offsets: Mapping[tuple[str, int], tuple[int, str]], generation: Any) -> None:
        """Make a group's (position, metadata) part of the transaction, refused for a generation that is over."""
        commits = [TopicPartition(*place, *commit) for place, commit in offsets.items()]
        call = self._client.send_offsets_to_transaction
        self._calls.make(lambda: called(call, commits, generation, self._timeout_s))

    def commit(self) -> None:
        self._calls.make(lambda: called(self._client.commit_transaction, self._timeout_s))

    def abort(self) -> None:
        self._calls.make(lambda: called(self._client.abort_transaction, self._timeout_s))

    def close(self, timeout_s: float) -> None:
        """What is not delivered by then is given up."""
        self._calls.end()
        self._client.flush(timeout_s)
        self._client.purge()
        self._client.flush(0)


class _Calls:
    """Makes calls one after the other on a daemon thread, and waits for each no longer than `timeout_s`."""

    def __init__(self, name: str, timeout_s: float):
        self._timeout_s = timeout_s
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def make(self, call: Callable[[], None]) -> None:
        """Raises: what the call does; KafkaTimeoutError, and then no more is to be asked."""
        self._asked.put(call)
        try:
            error = self._answers.get(timeout=self._timeout_s)
        except queue.Empty:
            raise KafkaTimeoutError(f"a transactional call took longer than {self._timeout_s:g} s") from None
        if error is not None:
            raise error

    def end(self) -> None:
        self._asked.put(None)

    def _run(self) -> None:
        while (call := self._asked.get()) is not None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 the asking thread raises it
                self._answers.put(error)
            else:
                self._answers.put(None)
