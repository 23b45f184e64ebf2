"""How far a group's member is behind: the ends of its partitions against its ledgers."""

from __future__ import annotations

import time
from dataclasses import dataclass

from streams.ledger import LedgerBook

__all__ = ["LagBook", "PartitionLag"]


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a partition is behind: records not ended, and the age of the oldest that was polled and is open."""

    records: int
    seconds: float


class LagBook:
    """One topic's; `ends_at` from the thread that polls, the rest from any."""

    def __init__(self, ledgers: LedgerBook):
        self._ledgers = ledgers
        self._ends: dict[int, int] = {}

    def ends_at(self, partition: int, offset: int) -> None:
        """Note the offset that comes next in a partition."""
        self._ends[partition] = offset

    def of_partitions(self) -> dict[int, PartitionLag]:
        now_ms = time.time() * 1000
        lags = {}
        for (_, partition), (polled_to, open_count, oldest_ms) in self._ledgers.progress().items():
            unread = max(0, self._ends.get(partition, polled_to) - polled_to)
            age_s = max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms is not None else 0.0
            lags[partition] = PartitionLag(unread + open_count, age_s)
        return lags
