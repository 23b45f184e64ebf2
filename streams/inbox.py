"""The bounded queue between a consumer's polling thread and the actor: records, and what happened to partitions.

Partitions that come and go keep their order among the records, so that the actor forgets a stream's state before it
meets the stream again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from streams.errors import StreamError
from streams.records import RawRecord

__all__ = ["Inbox", "Moved"]


@dataclass(slots=True)
class Moved:
    """Partitions that came or went; `seen` is set when the actor has been told."""

    kind: Literal["assigned", "revoked"]
    partitions: set[int]
    seen: threading.Event = field(default_factory=threading.Event)


class Inbox:
    """Takes records while there is room; gives them out in order, never across an event. Thread-safe."""

    def __init__(self, max_records: int, max_bytes: int):
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._items: deque[RawRecord | Moved] = deque()
        self._records = 0
        self._bytes = 0
        self._closed = False
        self._failure: StreamError | None = None

    @property
    def records(self) -> int:
        """How many wait."""
        return self._records

    @property
    def has_room(self) -> bool:
        return self._records < self._max_records and self._bytes < self._max_bytes

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def failure(self) -> StreamError | None:
        return self._failure

    def put(self, records: Iterable[RawRecord]) -> None:
        """Append records; the bounds are the poller's to keep (`has_room`), a poll's records come in whole."""
        with self._changed:
            for record in records:
                self._items.append(record)
                self._records += 1
                self._bytes += len(record.value or b"")
            self._changed.notify_all()

    def assigned(self, partition: int) -> None:
        """A partition came: the actor is told before its first record."""
        with self._changed:
            self._items.append(Moved("assigned", {partition}))
            self._changed.notify_all()

    def revoked(self, partitions: set[int]) -> Moved:
        """Partitions went: their records are let go, and the actor is told next of all that it had been told of."""
        with self._changed:
            untold: set[int] = set()
            kept: deque[RawRecord | Moved] = deque()
            for item in self._items:
                if isinstance(item, RawRecord):
                    if item.origin.partition in partitions:
                        self._left(item)
                        continue
                elif item.kind == "assigned":
                    untold |= item.partitions & partitions
                    item.partitions -= partitions
                kept.append(item)
            self._items = kept
            moved = Moved("revoked", partitions - untold)
            if moved.partitions:
                self._items.appendleft(moved)
            self._changed.notify_all()
            return moved

    def take(self, max_records: int, deadline: float) -> list[RawRecord] | Moved:
        """Records up to the next event, or the event when it is its turn; none at the (monotonic) deadline.

        Raises: what `fail` was given, once nothing is left.
        """
        with self._changed:
            while not self._items and not self._closed and self._failure is None:
                if not self._changed.wait(deadline - time.monotonic()):
                    return []
            if self._closed:
                return []
            if not self._items and self._failure is not None:
                raise self._failure
            taken: list[RawRecord] = []
            while self._items and len(taken) < max_records:
                head = self._items[0]
                if isinstance(head, Moved):
                    if not taken:
                        self._items.popleft()
                        return head
                    break
                self._items.popleft()
                self._left(head)
                taken.append(head)
            self._changed.notify_all()
            return taken

    def wait_for_room(self, timeout_s: float) -> None:
        """Until the actor has taken something, the inbox closes, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.has_room, timeout_s)

    def fail(self, failure: StreamError) -> None:
        """Nothing more will come, because of this."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def close(self) -> None:
        """Give nothing out any more; who waits in `take` returns."""
        with self._changed:
            self._closed = True
            for item in self._items:
                if isinstance(item, Moved):
                    item.seen.set()
            self._changed.notify_all()

    def _left(self, record: RawRecord) -> None:
        self._records -= 1
        self._bytes -= len(record.value or b"")
