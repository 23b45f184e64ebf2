"""What the page shows, added up from results, outcomes and dead letters as they are committed."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams.cloudevents import ReceivedResult
from streams.messages import ExpressionsResult, Outcome, PeopleResult

__all__ = ["Account"]

WINDOW_S = 10.0
MAX_STREAMS = 500
FORGET_STREAM_S = 300.0
IDENTITIES_SHOWN = 8
RECENT_DEADLETTERS = 20


@dataclass
class _Stream:
    kind: str
    place: str
    results: int = 0
    deadletters: int = 0
    people: int | None = None
    identities: dict[str, str] = field(default_factory=dict)
    """Identity id -> name of those seen last, the latest at the end."""
    gallery_unavailable: bool = False
    expressions: list[str] = field(default_factory=list)
    seen: deque[tuple[float, float | None]] = field(default_factory=lambda: deque(maxlen=4096))
    """(arrival here, monotonic seconds; latency in ms) of the newest results."""
    last_s: float = 0.0

    def note(self, identity_id: str, name: str | None) -> None:
        """A known person was seen; the ones seen longest ago go."""
        self.identities.pop(identity_id, None)
        self.identities[identity_id] = name or identity_id
        while len(self.identities) > IDENTITIES_SHOWN:
            del self.identities[next(iter(self.identities))]


@dataclass
class _Partition:
    results: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    deadletters: int = 0
    oldest_drop_ms: int = 0
    ended: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=4096))


class Account:
    """Streams, partitions and newest dead letters; fed by one thread, read by others. Bounded in streams and time.

    Latency is from the append of a frame's last record to the append of its result, both on the broker's clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._deadletters: deque[dict[str, str]] = deque(maxlen=RECENT_DEADLETTERS)

    def add_result(self, received: ReceivedResult, appended_at_ms: int) -> None:
        """A result was committed, appended at this time. A frame counts by its people or its render."""
        result, place = received.result, f"{received.origin.topic}/{received.origin.partition}"
        now_s = self._clock()
        with self._lock:
            stream = self._stream(result.stream_id, place, now_s)
            if isinstance(result, ExpressionsResult):
                read = [shown for face in result.faces if (shown := face.shown) is not None]
                stream.expressions = [f"{e.label} {e.probabilities[e.label]:.0%}" for e in read]
                if stream.kind in ("people", "renders"):
                    return
            stream.kind = received.role
            if isinstance(result, PeopleResult):
                stream.people = len(result.people)
                stream.gallery_unavailable = any(p.identity.status == "unavailable" for p in result.people)
                for person in result.people:
                    if person.identity.identity_id is not None:
                        stream.note(person.identity.identity_id, person.identity.name)
            before_ms = received.event.appended_at_ms
            stream.results += 1
            stream.seen.append((now_s, None if before_ms is None else float(appended_at_ms - before_ms)))

    def add_outcome(self, outcome: Outcome) -> None:
        """A transaction ended these offsets."""
        now_s = self._clock()
        with self._lock:
            partition = self._partitions.setdefault((outcome.input_topic, outcome.partition), _Partition())
            partition.results += sum(last - first + 1 for first, last in outcome.results)
            partition.drops.update(str(drop.reason) for drop in outcome.drops)
            partition.deadletters += len(outcome.deadletters)
            partition.oldest_drop_ms = max([partition.oldest_drop_ms, *(drop.age_ms for drop in outcome.drops)])
            partition.ended.append((now_s, outcome.offset_count))

    def add_deadletter(self, stream_id: str, origin: str, error: str, message: str) -> None:
        """A record went to the dead letters."""
        with self._lock:
            self._stream(stream_id, origin.rpartition("/")[0], self._clock()).deadletters += 1
            self._deadletters.appendleft({"stream": stream_id, "origin": origin, "error": error, "message": message})

    def snapshot(self) -> dict[str, Any]:
        """Everything as JSON wants it; rates and latencies over the last 10 s."""
        now_s = self._clock()
        with self._lock:
            for name in [n for n, s in self._streams.items() if s.last_s < now_s - FORGET_STREAM_S]:
                del self._streams[name]
            return {
                "streams": [_row(name, s, now_s) for name, s in sorted(self._streams.items())],
                "partitions": [_partition_row(*place, p, now_s) for place, p in sorted(self._partitions.items())],
                "deadletters": list(self._deadletters),
            }

    def _stream(self, stream_id: str, place: str, now_s: float) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None:
            if len(self._streams) >= MAX_STREAMS:
                del self._streams[min(self._streams, key=lambda name: self._streams[name].last_s)]
            stream = self._streams[stream_id] = _Stream("", place)
        stream.place, stream.last_s = place, now_s
        return stream


def _row(name: str, stream: _Stream, now_s: float) -> dict[str, Any]:
    recent = [(at_s, ms) for at_s, ms in stream.seen if at_s > now_s - WINDOW_S]
    latencies = [ms for _, ms in recent if ms is not None]
    span_s = min(WINDOW_S, max(1.0, now_s - stream.seen[0][0])) if stream.seen else WINDOW_S
    p50, p95 = np.percentile(latencies, [50, 95]).tolist() if latencies else (None, None)
    return {
        "stream": name,
        "kind": stream.kind,
        "partition": stream.place,
        "results": stream.results,
        "fps": len(recent) / span_s,
        "p50_ms": p50,
        "p95_ms": p95,
        "people": stream.people,
        "identities": list(stream.identities.values())[::-1],
        "gallery_unavailable": stream.gallery_unavailable,
        "expressions": stream.expressions,
        "deadletters": stream.deadletters,
        "idle_s": now_s - stream.last_s,
    }


def _partition_row(topic: str, number: int, partition: _Partition, now_s: float) -> dict[str, Any]:
    ended = sum(count for at_s, count in partition.ended if at_s > now_s - WINDOW_S)
    return {
        "partition": f"{topic}/{number}",
        "results": partition.results,
        "drops": dict(partition.drops.most_common()),
        "oldest_drop_ms": partition.oldest_drop_ms,
        "deadletters": partition.deadletters,
        "per_s": ended / WINDOW_S,
    }
