"""The two threads behind the page: one tails Kafka into the account, one asks Redis for the galleries.

Either service may be absent: the thread says so, and goes on by itself when it is there.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from pydantic import ValidationError

from dashboard.account import Account
from gallery.config import GalleryConfig
from gallery.errors import GalleryError
from gallery.store import GalleryStore
from streams.client import tail
from streams.cloudevents import parse_result
from streams.config import RESULT_ROLES, Role, StreamsConfig
from streams.errors import StreamError
from streams.messages import Outcome
from streams.outcomes import parse_deadletter
from streams.records import RawRecord

__all__ = ["Readers"]

ROLES: tuple[Role, ...] = (*RESULT_ROLES, "outcomes", "deadletters")
RETRY_S = 2.0
GALLERIES_EVERY_S = 2.0
STOP_TIMEOUT_S = 5.0


class Readers:
    """Starts both threads with the `with` block, and ends them with it."""

    def __init__(self, streams: StreamsConfig, gallery: GalleryConfig) -> None:
        self.account = Account()
        self._streams = streams
        self._gallery = gallery
        self._stop = threading.Event()
        self._kafka = "connecting"
        self._redis = "connecting"
        self._unreadable = 0
        self._galleries: list[dict[str, Any]] = []
        self._threads = [
            threading.Thread(target=self._read_kafka, name="dashboard-kafka", daemon=True),
            threading.Thread(target=self._read_galleries, name="dashboard-galleries", daemon=True),
        ]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)

    def snapshot(self) -> dict[str, Any]:
        """What the page shows now."""
        return {
            "at_ms": time.time_ns() // 1_000_000,
            "kafka": {"address": ", ".join(self._streams.bootstrap_servers), "state": self._kafka},
            "redis": {"address": self._gallery.address, "state": self._redis},
            "unreadable": self._unreadable,
            "galleries": self._galleries,
            **self.account.snapshot(),
        }

    def _read_kafka(self) -> None:
        while not self._stop.is_set():
            try:
                records = tail(self._streams, ROLES, stop=self._stop)
                self._kafka = "ok"
                for role, record in records:
                    self._add(role, record)
            except StreamError as error:
                self._kafka = str(error)
                self._stop.wait(RETRY_S)

    def _add(self, role: Role, record: RawRecord) -> None:
        """One record into the account; one that this version cannot read is counted, the rest go on."""
        try:
            if role == "outcomes":
                self.account.add_outcome(Outcome.model_validate_json(record.value or b"", extra="ignore"))
            elif role == "deadletters":
                said = parse_deadletter(record.headers)
                stream_id = (record.key or b"").decode("utf-8", "replace")
                self.account.add_deadletter(stream_id, said.origin, said.error, said.message)
            else:
                self.account.add_result(parse_result(record.headers, record.value), record.appended_at_ms)
        except (StreamError, ValidationError):
            self._unreadable += 1

    def _read_galleries(self) -> None:
        with GalleryStore(self._gallery, who="dashboard") as store:
            while not self._stop.is_set():
                try:
                    found = store.list_galleries()
                except GalleryError as error:
                    self._redis = str(error)
                else:
                    self._redis = "ok"
                    self._galleries = [info.model_dump() for info in found]
                self._stop.wait(GALLERIES_EVERY_S)
