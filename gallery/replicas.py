"""What each index in memory says of itself in Redis: how far it has read, what it holds, and how its matches fare."""

import json
import logging
import os
import socket
import time
import uuid
from typing import Any, Protocol

import redis
from pydantic import BaseModel, ConfigDict

from gallery.connection import named_errors
from gallery.keys import GalleryKeys
from gallery.scores import ENOUGH_SCORES, ScoreWindow
from gallery.scripts import REPORT
from gallery.server import GalleryServer

__all__ = ["LIVE_MS", "ReplicaReport", "Reporter", "list_replicas"]

EVERY_S = 1.0
AFTER_REFUSAL_S = 30.0
LIVE_MS = 5_000
"""A replica that was silent for longer is not waited for: it says `unavailable` by then (`gallery.stale_after_s`)."""
FORGET_MS = 60_000
log = logging.getLogger(__name__)


class ReplicaReport(BaseModel):
    """One replica's last word on one gallery."""

    model_config = ConfigDict(frozen=True)

    replica: str
    at_ms: int
    generation: str
    seq: int
    identities: int
    vectors: int
    corrupt: int
    matches: int
    """Since it started."""
    scores: tuple[int, ...]
    canaries: int
    """Identities that were read from Redis and looked up, since it started."""
    canary_failures: tuple[str, ...]
    """Ids of those that were not found at the last look, and at the one before."""


class _Reported(Protocol):
    """What a report is made of: `gallery.follower.Replica`."""

    seq: int
    scores: ScoreWindow
    reference: tuple[int, ...] | None

    def describe(self) -> dict[str, Any]: ...


class Reporter:
    """Writes the reports of one process. A server that refuses them, as one for readers does, costs nothing else."""

    def __init__(self) -> None:
        self.replica = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._said: dict[str, tuple[str, int]] = {}
        self._said_at_s = self._refused_at_s = -float("inf")

    def report(self, client: Any, gallery: str, generation: str, replica: _Reported, *, due: bool) -> None:
        """Write if something changed or `due`. Raises: redis-py's errors of connection, none of refusal."""
        now_s = time.monotonic()
        stands = (generation, replica.seq)
        if (self._said.get(gallery) == stands and not due) or now_s - self._refused_at_s < AFTER_REFUSAL_S:
            return
        keys = GalleryKeys(gallery)
        counts = [int(n) for n in replica.scores.counts]
        offer = json.dumps(counts) if sum(counts) >= 2 * ENOUGH_SCORES and replica.reference is None else ""
        try:
            said = client.eval(
                REPORT,
                *(2, keys.meta, keys.replicas, self.replica, FORGET_MS, *stands),
                *(json.dumps(replica.describe() | {"scores": counts}), offer),
            )
        except redis.ResponseError as error:
            self._refused_at_s = now_s
            log.warning("the server takes no report of this replica, deletions cannot be proven to it: %s", error)
            return
        self._said[gallery] = stands
        replica.reference = tuple(json.loads(said)) if said else None

    def due(self) -> bool:
        """Whether a second has gone by."""
        if time.monotonic() - self._said_at_s < EVERY_S:
            return False
        self._said_at_s = time.monotonic()
        return True


def list_replicas(server: GalleryServer, gallery: str) -> list[ReplicaReport]:
    """The last word of every replica that was heard of within 5 s, by name."""
    with named_errors(server.config):
        found = server.client.hgetall(GalleryKeys(gallery).replicas)
    now_ms = 1000 * server.server_time_s()
    reports = []
    for name, said in sorted(found.items()):
        at_ms, generation, seq, described = said.decode().split(" ", 3)
        if now_ms - int(at_ms) <= LIVE_MS:
            stands = {"replica": name.decode(), "at_ms": int(at_ms), "generation": generation, "seq": int(seq)}
            reports.append(ReplicaReport.model_validate(json.loads(described) | stands))
    return reports
