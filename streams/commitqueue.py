"""Commits outside of transactions: asked for by any thread, done by the one that owns the client."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition
from kafka.errors import KafkaError

from streams.errors import StreamError
from streams.librdkafka import called, translated

__all__ = ["CommitQueue"]

Offsets = dict[tuple[str, int], tuple[int, str]]


@dataclass(slots=True)
class _Commit:
    offsets: Offsets
    done: threading.Event = field(default_factory=threading.Event)
    error: KafkaError | None = None


class CommitQueue:
    """Offsets as (topic, partition) -> (position, metadata)."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._asked: deque[_Commit] = deque()

    def ask(self, offsets: Offsets, timeout_s: float) -> None:
        """Wait until it is done. Raises: KafkaError as the brokers say it; StreamError when it takes longer."""
        commit = _Commit(offsets)
        self._asked.append(commit)
        if not commit.done.wait(timeout_s):
            raise StreamError(f"group {self._group}: offsets were not committed within {timeout_s:g} s; see its health")
        if commit.error is not None:
            raise commit.error

    def work(self, client: Consumer) -> None:
        """Do what was asked."""
        while self._asked:
            commit = self._asked.popleft()
            wanted = [TopicPartition(*place, *offset) for place, offset in commit.offsets.items()]
            try:
                done: list[TopicPartition] = called(client.commit, None, wanted, False) or []
                commit.error = next((translated(one.error) for one in done if one.error is not None), None)
            except KafkaError as error:
                commit.error = error
            finally:
                commit.done.set()
