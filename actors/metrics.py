"""What a replica counts, and its way to Prometheus through Ray.

The loop's threads add to `LoopStats`, plain numbers under one lock, a few calls a batch; once a second the loop hands
the difference to `MetricsExport`, so that the way of a frame never pays for a metric. No label holds a stream id: the
number of series depends on topics and reasons alone, however many streams come and go.
"""

from __future__ import annotations

import threading
from collections import Counter as Counts
from collections.abc import Iterable
from dataclasses import dataclass, field

from ray.util.metrics import Counter, Gauge, Histogram

__all__ = ["LATENCY_BOUNDS_S", "LoopGauges", "LoopStats", "MetricsExport", "StatsDelta"]

LATENCY_BOUNDS_S = [0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]
BATCH_BOUNDS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]

# Samples kept between two exports; beyond it the latest are left out of the histogram, never of the counts.
MAX_SAMPLES = 4096

OutcomeKey = tuple[str, str]


@dataclass(slots=True)
class StatsDelta:
    """What was added since the last export. Times in seconds."""

    frames: Counts[OutcomeKey] = field(default_factory=Counts)
    latencies_s: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    stage_s: dict[str, float] = field(default_factory=dict)
    resets: Counts[str] = field(default_factory=Counts)


@dataclass(frozen=True, slots=True)
class LoopGauges:
    """What is so at the moment of an export."""

    lag_records: int
    lag_s: float
    streams: int
    assigned_partitions: int
    commit_age_s: float
    waiting_for: str | None


class LoopStats:
    """Counts of one replica, by outcome: ("result", ""), ("drop", reason), ("deadletter", error)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._delta = StatsDelta()
        self.totals: Counts[str] = Counts()

    def batch(self, frames: int) -> None:
        """A batch of so many frames goes to the networks."""
        with self._lock:
            self._delta.batches.append(frames)

    def ended(self, outcome: str, reason: str = "", count: int = 1) -> None:
        """So many frames ended."""
        with self._lock:
            self._delta.frames[outcome, reason] += count
            self.totals[outcome] += count

    def latencies(self, seconds: Iterable[float]) -> None:
        """From a record's append to its result's hand-over to the publisher."""
        with self._lock:
            room = MAX_SAMPLES - len(self._delta.latencies_s)
            self._delta.latencies_s.extend(list(seconds)[: max(0, room)])

    def stage(self, name: str, seconds: float) -> None:
        """Time spent in a stage: decode, detect, track, embed, match, express, reconstruct, encode."""
        with self._lock:
            self._delta.stage_s[name] = self._delta.stage_s.get(name, 0.0) + seconds

    def reset(self, reason: str) -> None:
        """A stream's state started afresh."""
        with self._lock:
            self._delta.resets[reason] += 1

    def take(self) -> StatsDelta:
        """What was added since the last call."""
        with self._lock:
            delta, self._delta = self._delta, StatsDelta()
        return delta


class MetricsExport:
    """The metrics of one replica in Ray's registry, from where Prometheus scrapes them."""

    def __init__(self, topic: str, deployment: str) -> None:
        tags = {"topic": topic, "deployment": deployment}
        keys = tuple(tags)

        def counter(name: str, description: str, *more: str) -> Counter:
            made = Counter(name, description, tag_keys=(*keys, *more))
            made.set_default_tags(tags)
            return made

        def gauge(name: str, description: str, *more: str) -> Gauge:
            made = Gauge(name, description, tag_keys=(*keys, *more))
            made.set_default_tags(tags)
            return made

        self._frames = counter("foveal_frames_total", "Frames that ended, by outcome and reason.", "outcome", "reason")
        self._stage = counter("foveal_stage_seconds_total", "Time spent in a stage of the loop.", "stage")
        self._resets = counter("foveal_stream_resets_total", "Streams whose state started afresh.", "reason")
        self._latency = Histogram(
            "foveal_frame_latency_seconds",
            "From a record's append to its result's hand-over to the publisher.",
            boundaries=LATENCY_BOUNDS_S,
            tag_keys=keys,
        ).set_default_tags(tags)
        self._batch = Histogram(
            "foveal_batch_frames", "Frames in one batch.", boundaries=BATCH_BOUNDS, tag_keys=keys
        ).set_default_tags(tags)
        self._lag = gauge("foveal_consumer_lag_records", "Records appended and not yet taken.")
        self._lag_s = gauge("foveal_consumer_lag_seconds", "Time to work off the lag at the present speed.")
        self._streams = gauge("foveal_streams", "Streams with state in this replica.")
        self._partitions = gauge("foveal_assigned_partitions", "Partitions of this replica.")
        self._commit_age = gauge("foveal_commit_age_seconds", "Time since the last committed transaction.")
        self._waiting = gauge("foveal_waiting", "1 while the replica waits for a service.", "service")

    def export(self, delta: StatsDelta, gauges: LoopGauges) -> None:
        """Add what happened and set what is."""
        for (outcome, reason), count in delta.frames.items():
            self._frames.inc(count, {"outcome": outcome, "reason": reason})
        for stage, seconds in delta.stage_s.items():
            if seconds > 0:
                self._stage.inc(seconds, {"stage": stage})
        for reason, count in delta.resets.items():
            self._resets.inc(count, {"reason": reason})
        for latency_s in delta.latencies_s:
            self._latency.observe(max(latency_s, 1e-6))
        for frames in delta.batches:
            self._batch.observe(frames)
        self._lag.set(gauges.lag_records)
        self._lag_s.set(gauges.lag_s)
        self._streams.set(gauges.streams)
        self._partitions.set(gauges.assigned_partitions)
        self._commit_age.set(gauges.commit_age_s)
        for service in ("kafka", "redis"):
            self._waiting.set(1.0 if gauges.waiting_for == service else 0.0, {"service": service})
