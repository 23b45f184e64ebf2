"""kafka-python's transactional calls with a bound on how long each may take.

Its own wait without end, and one that was under way when the coordinator went away may never return. Here a call that
takes longer raises `KafkaTimeoutError`, and the caller begins anew with another producer, which fences this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from streams.client import close_producer, open_producer
from streams.config import StreamsConfig

__all__ = ["TransactionalProducer"]


class TransactionalProducer:
    """One transactional id. What its predecessor left open has been ended once this is made.

    Raises: BrokerUnavailableError; KafkaError.
    """

    def __init__(self, config: StreamsConfig, transactional_id: str):
        self._timeout_ms = config.publisher.transaction_timeout_ms
        self.client: KafkaProducer = open_producer(
            config,
            transactional_id=transactional_id,
            transaction_timeout_ms=self._timeout_ms,
            max_block_ms=self._timeout_ms,
        )
        self._manager = self.client._transaction_manager
        try:
            self.client.init_transactions()
        except KafkaError:
            self.close(0)
            raise

    @property
    def last_error(self) -> Exception | None:
        """What went wrong; kafka-python's calls raise an error that only says that something did."""
        error: Exception | None = self._manager.last_error
        return error

    def begin(self) -> None:
        self.client.begin_transaction()

    def send_offsets(self, offsets: Mapping[Any, Any], group_metadata: Any) -> None:
        """Make a group's offsets part of the transaction, refused for a generation that is over."""
        self._wait(self._manager.send_offsets_to_transaction(dict(offsets), group_metadata))

    def commit(self) -> None:
        self._wait(self._manager.begin_commit())

    def abort(self) -> None:
        self._wait(self._manager.begin_abort())

    def close(self, timeout_s: float) -> None:
        """What is not delivered by then is given up."""
        close_producer(self.client, timeout_s)

    def _wait(self, result: Any) -> None:
        self.client._sender.wakeup()
        if not result.wait(timeout_ms=self._timeout_ms):
            raise KafkaTimeoutError(f"a transactional call took longer than {self._timeout_ms} ms")
