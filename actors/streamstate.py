"""What a replica remembers of a stream (decoder, tracker, history): it lives with the partition, and goes with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["StreamStates"]


class Closable(Protocol):
    """State that holds something outside of Python's memory, as a decoder does."""

    def close(self) -> None: ...


S = TypeVar("S", bound=Closable)
Place = tuple[str, int]


@dataclass(slots=True)
class _Slot(Generic[S]):
    place: Place
    state: S
    used_at_s: float


class StreamStates(Generic[S]):
    """One state a stream, made at its first frame, and closed when its partition or the stream itself goes.

    Safe to call from several threads; the state inside belongs to the thread that works on the stream's batch.
    """

    def __init__(self, make: Callable[[str], S], idle_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._idle_s = idle_s
        self._clock_s = clock_s
        self._slots: dict[str, _Slot[S]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._slots)

    def of(self, stream_id: str, place: Place) -> S:
        """The stream's state; a new one where there is none, or where the stream has moved to another partition."""
        with self._lock:
            slot = self._slots.get(stream_id)
            if slot is not None and slot.place != place:
                slot.state.close()
                slot = None
            if slot is None:
                slot = self._slots[stream_id] = _Slot(place, self._make(stream_id), 0.0)
            slot.used_at_s = self._clock_s()
            return slot.state

    def reset(self, stream_id: str) -> None:
        """Forget one stream, as after an error that may have left its state half changed."""
        self._drop(lambda known, slot: known == stream_id)

    def drop_partitions(self, places: Iterable[Place]) -> int:
        """Forget the streams of partitions, given as (topic, partition), that went elsewhere. Returns how many."""
        gone = set(places)
        return self._drop(lambda _, slot: slot.place in gone)

    def expire(self) -> int:
        """Forget the streams that have been silent for `idle_s`. Returns how many."""
        before_s = self._clock_s() - self._idle_s
        return self._drop(lambda _, slot: slot.used_at_s < before_s)

    def close(self) -> None:
        """Forget all of them."""
        self._drop(lambda *_: True)

    def _drop(self, goes: Callable[[str, _Slot[S]], bool]) -> int:
        with self._lock:
            gone = [stream_id for stream_id, slot in self._slots.items() if goes(stream_id, slot)]
            slots = [self._slots.pop(stream_id) for stream_id in gone]
        for slot in slots:
            slot.state.close()
        return len(slots)
