"""What became of each frame of each demo stream, gathered from results and outcomes while the demo plays."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from foveal.results import Result
from streams.messages import ExpressionsResult, Outcome, PeopleResult, RenderResult

__all__ = ["DemoAccount", "StreamAccount"]

RATE_WINDOW_S = 3.0


@dataclass
class StreamAccount:
    """One stream's frames and what came of them. Sequence numbers are the keys."""

    stream_id: str
    input_topic: str
    frames_in: int = 0
    offsets: dict[tuple[int, int], int] = field(default_factory=dict)  # (partition, offset) -> seq
    ended: set[tuple[int, int]] = field(default_factory=set)
    people: dict[int, PeopleResult] = field(default_factory=dict)
    expressions: dict[int, ExpressionsResult] = field(default_factory=dict)
    renders: dict[int, tuple[RenderResult, bytes]] = field(default_factory=dict)
    latencies_ms: dict[int, float] = field(default_factory=dict)
    drops: dict[int, str] = field(default_factory=dict)  # seq -> "stale 1,204 ms"
    deadletters: dict[int, str] = field(default_factory=dict)
    identities: set[str] = field(default_factory=set)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=512))
    first_s: float | None = None
    last_s: float = 0.0

    @property
    def results(self) -> int:
        """Frames that were answered."""
        return len(self.latencies_ms)

    @property
    def lag(self) -> int:
        """Records sent whose outcome has not been seen."""
        return len(self.offsets) - len(self.ended)

    def fps(self) -> float:
        """Results a second over the whole of the stream."""
        span_s = self.last_s - (self.first_s or 0.0)
        return (self.results - 1) / span_s if self.results > 1 and span_s > 0 else 0.0

    def fps_now(self) -> float:
        """Results a second over the last seconds."""
        now = time.monotonic()
        return sum(1 for at in self.recent if at > now - RATE_WINDOW_S) / RATE_WINDOW_S

    def latency_ms(self, percentile: float) -> float | None:
        """From capture to the append of the result; None before the first result."""
        return float(np.percentile(list(self.latencies_ms.values()), percentile)) if self.latencies_ms else None


class DemoAccount:
    """All streams' accounts; fed from several threads, read by the live table."""

    def __init__(self, streams: Sequence[StreamAccount]) -> None:
        self.lock = threading.Lock()
        self.streams = {stream.stream_id: stream for stream in streams}
        # Outcomes name offsets, deliveries say whose they are; either may come first.
        self._early: dict[tuple[str, int, int], tuple[str, str]] = {}

    def delivered(self, stream_id: str, seq: int, partition: int, offset: int) -> None:
        """The broker took a record of this stream."""
        with self.lock:
            stream = self.streams[stream_id]
            stream.offsets[partition, offset] = seq
            early = self._early.pop((stream.input_topic, partition, offset), None)
            if early is not None:
                self._end(stream, partition, offset, *early)

    def add_result(self, result: Result) -> None:
        """A result was committed. Expressions ride along: a frame counts by its people or its render."""
        with self.lock:
            stream = self.streams.get(result.stream_id)
            if stream is None:
                return
            message, now = result.message, time.monotonic()
            if isinstance(message, ExpressionsResult):
                stream.expressions[message.seq] = message
                return
            if isinstance(message, PeopleResult):
                stream.people[message.seq] = message
                stream.identities |= {
                    person.identity.name or person.identity.identity_id or ""
                    for person in message.people
                    if person.identity.status == "known"
                }
            else:
                stream.renders[message.seq] = (message, result.payload)
            stream.latencies_ms[message.seq] = result.latency_ms
            stream.recent.append(now)
            stream.first_s = stream.first_s if stream.first_s is not None else now
            stream.last_s = now

    def add_outcome(self, outcome: Outcome) -> None:
        """A transaction ended these offsets."""
        ended = [(offset, "result", "") for first, last in outcome.results for offset in range(first, last + 1)]
        ended += [(drop.offset, "drop", f"{drop.reason} {drop.age_ms:,} ms") for drop in outcome.drops]
        ended += [(dead.offset, "dead", dead.error) for dead in outcome.deadletters]
        with self.lock:
            for offset, kind, note in ended:
                place = (outcome.partition, offset)
                stream = next(
                    (s for s in self.streams.values() if s.input_topic == outcome.input_topic and place in s.offsets),
                    None,
                )
                if stream is None:
                    self._early[outcome.input_topic, *place] = (kind, note)
                else:
                    self._end(stream, *place, kind, note)

    def settled(self) -> bool:
        """Whether each delivered record has its outcome and each answered frame its result in hand."""
        with self.lock:
            return all(
                stream.lag == 0
                and stream.results + len(stream.drops) + len(stream.deadletters) >= len(set(stream.offsets.values()))
                for stream in self.streams.values()
            )

    def _end(self, stream: StreamAccount, partition: int, offset: int, kind: str, note: str) -> None:
        stream.ended.add((partition, offset))
        if kind != "result":
            (stream.drops if kind == "drop" else stream.deadletters)[stream.offsets[partition, offset]] = note
