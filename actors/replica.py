"""What the stream deployments share: one Serve replica is one member of its consumer group."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from typing import Any

from ray import serve

from actors.autoscaling import LAG_S, PARTITIONS
from actors.config import AppConfig
from actors.loop import StreamLoop

__all__ = ["StreamReplica"]

JOIN_WAIT_S = 10.0


class StreamReplica(ABC):
    """Builds and warms its engines, then joins its group under the name of its rank.

    Serve gives a replica that takes the place of a dead one the same rank. So the name, and the transactional id made
    of it, are the same too: the successor gets the partitions at once and ends the transaction that was left open.
    """

    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self._rank = int(serve.get_replica_context().rank.rank)
        self._open()
        # Looking through all that imports and engines made takes the collector 0.1 s, in which no frame moves.
        gc.collect()
        gc.freeze()
        self._loop: StreamLoop[Any, Any] = self._new_loop(self._rank)
        self._loop.start(JOIN_WAIT_S)

    @abstractmethod
    def _open(self) -> None:
        """Build and warm the engines, reach what else is needed."""

    @abstractmethod
    def _new_loop(self, rank: int) -> StreamLoop[Any, Any]:
        """A loop for the member of that rank."""

    def _end_loop(self) -> None:
        """Stop the loop; who made more for it in `_new_loop` gives that back, too."""
        self._loop.stop()

    @abstractmethod
    def _close(self) -> None:
        """Give back what `_open` took."""

    @property
    @abstractmethod
    def _partitions(self) -> int:
        """How many partitions the input topic has."""

    def reconfigure(self, user_config: object, rank: Any) -> None:
        """Serve renumbers replicas after scaling down: take the place of the new rank."""
        if int(rank.rank) == self._rank:
            return
        self._rank = int(rank.rank)
        self._end_loop()
        self._loop = self._new_loop(self._rank)
        self._loop.start(JOIN_WAIT_S)

    def check_health(self) -> None:
        """Raises: LoopFailedError, LoopStalledError; waiting for an absent service is not ill health."""
        self._loop.check()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """For `actors.autoscaling.LagPolicy`."""
        return {LAG_S: self._loop.snapshot().lag_s, PARTITIONS: float(self._partitions)}

    def status(self) -> dict[str, Any]:
        """See `actors.loop.LoopSnapshot`."""
        return self._loop.snapshot().to_dict()

    def __del__(self) -> None:
        # Serve calls this when the replica is to go, and waits for it up to graceful_shutdown_timeout_s.
        if hasattr(self, "_loop"):
            self._end_loop()
            self._close()
