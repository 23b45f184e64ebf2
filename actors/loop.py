"""The way of a frame through one replica: take, prepare, infer, publish, on threads that overlap.

    consumer thread -> [buffer] -> intake thread: parse, decide, prepare (batch k+1)
                                -> [one batch] -> loop thread: infer (batch k)
                                               -> [queue] -> publisher thread: commit (batch k-1)

Nothing sleeps or waits for a full batch: the intake takes what is there, and while the networks are busy more gathers,
so batches grow by themselves with the load. Decoders, engines and Kafka release the GIL for most of their time.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

from actors.config import HealthConfig, LoopConfig
from actors.deadline import wall_ms
from actors.endings import Endings
from actors.errors import LoopFailedError, LoopStalledError
from actors.metrics import LoopGauges, LoopStats, MetricsExport
from streams.batchwriter import check_size
from streams.broker_errors import TopicMissingError
from streams.config import StreamsConfig
from streams.consumer import StreamConsumer
from streams.errors import BrokerUnavailableError
from streams.intake import Intake
from streams.publisher import Publisher
from streams.records import FrameRecord, GBufferRecord, RawRecord

__all__ = ["LoopSnapshot", "Step", "StreamLoop"]

logger = logging.getLogger(__name__)

Place = tuple[str, int]
R = TypeVar("R", FrameRecord, GBufferRecord)
P = TypeVar("P")
RC = TypeVar("RC", FrameRecord, GBufferRecord, contravariant=True)
PI = TypeVar("PI")

# How long the intake waits for records before it looks after frames whose parts do not come.
TAKE_TIMEOUT_S = 0.25
REACH_PAUSE_S = 1.0
EXPORT_PERIOD_S = 1.0
# Decoded pixels of one batch: 16 frames of 4K in BGR are 400 MB, and two batches are decoded at a time.
MAX_BATCH_PIXELS = 64_000_000


class Step(Protocol[RC, PI]):
    """What an actor does with a batch. `prepare` and `forget_prepared` run on the intake thread, the rest elsewhere."""

    def prepare(self, frames: Sequence[RC], endings: Endings) -> PI | None:
        """Decide, decode, begin; what ends here goes to `endings`. None where nothing is left to infer."""
        ...

    def infer(self, prepared: PI, endings: Endings) -> None:
        """Answer the rest: each frame ends as a result or a dead letter."""
        ...

    def forget_prepared(self, places: Sequence[Place]) -> None:
        """Partitions went elsewhere: let go of what `prepare` remembers of their streams, and of silent ones."""
        ...

    def forget_inferred(self, places: Sequence[Place]) -> None:
        """The same for what `infer` remembers."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...

    @property
    def streams(self) -> int:
        """Streams that are remembered."""
        ...

    @property
    def waiting_for(self) -> str | None:
        """The service that it does without for now, such as "redis"."""
        ...


@dataclass(frozen=True, slots=True)
class LoopSnapshot:
    """How a replica is: for `foveal status`, health and tests. Ages in seconds."""

    member_id: str
    topic: str
    partitions: tuple[int, ...]
    results: int
    drops: int
    deadletters: int
    streams: int
    lag_records: int
    lag_s: float
    poll_age_s: float
    commit_age_s: float
    waiting_for: str | None
    pid: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


@dataclass(slots=True)
class _Batch(Generic[P]):
    """What travels from the intake to the loop; `gone` are partitions that left before it."""

    endings: Endings
    prepared: P | None = None
    gone: tuple[Place, ...] = ()


class StreamLoop(Generic[R, P]):
    """One member of a consumer group, at work until it is stopped.

    Engines are to be warm before `start`, which joins the group. `check` is for Serve's health check.
    """

    def __init__(
        self,
        streams: StreamsConfig,
        *,
        topic: str,
        group: str,
        member_id: str | None,
        intake: Intake[R],
        step: Step[R, P],
        stats: LoopStats,
        config: LoopConfig | None = None,
        health: HealthConfig | None = None,
        export: MetricsExport | None = None,
    ) -> None:
        config, health = config or LoopConfig(), health or HealthConfig()
        self._streams = streams
        self._consumer = StreamConsumer(streams, topic, group, member_id, on_revoked=self._on_revoked)
        self._publisher = Publisher(streams, self._consumer)
        self._intake: Intake[R] = intake
        self._step: Step[R, P] = step
        self._config = config
        self._health = health
        self._stats = stats
        self._export = export
        self._ready: queue.Queue[_Batch[P] | None] = queue.Queue(maxsize=1)
        self._gone: list[Place] = []
        self._under_way = 0
        self._changed = threading.Condition()
        self._joined = threading.Event()
        self._stopping = threading.Event()
        self._closed = False
        self._failure: BaseException | None = None
        self._busy_since_s: dict[str, float] = {}
        self._seen = _Speed()
        self._threads = [
            threading.Thread(target=self._guarded, args=(run,), name=name, daemon=True)
            for name, run in (("intake", self._join_and_take), ("loop", self._infer), ("metrics", self._export_metrics))
        ]

    def start(self, wait_s: float = 0.0) -> bool:
        """Begin; returns whether the group was joined within `wait_s`.

        Where no broker answers it goes on trying: a replica that is replaced while Kafka is away must not crash in
        a loop. `snapshot` says `waiting_for: kafka` meanwhile.
        """
        for thread in self._threads:
            thread.start()
        return self._joined.wait(wait_s)

    def stop(self) -> None:
        """Take nothing more, finish what was taken, commit it, leave the group; within `loop.drain_timeout_s`.

        What does not finish in time is not committed, and goes to the next member.
        """
        if self._closed:
            return
        self._closed = True
        deadline_s = time.monotonic() + self._config.drain_timeout_s
        self._stopping.set()
        self._consumer.stop_taking()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline_s - time.monotonic()))
        self._publisher.close(max(0.5, deadline_s - time.monotonic()))
        self._consumer.close(max(0.5, deadline_s - time.monotonic()))
        self._step.close()

    def check(self) -> None:
        """Raises: LoopFailedError if a thread ended by an error; LoopStalledError if work is there and nothing moves.

        Waiting for an absent broker or Redis is neither: the replica says so in `snapshot` and goes on by itself.
        """
        if self._closed:
            return
        for failure in (self._failure, self._consumer.failure, self._publisher.failure):
            if failure is not None:
                raise LoopFailedError(
                    f"the stream loop of {self._consumer.topic} ended: {type(failure).__name__}: {failure}; "
                    "the replica is replaced, and its uncommitted frames are taken again"
                ) from failure
        limit_s = self._health.stalled_after_s
        if self._waiting_for_kafka:
            return
        now_s = time.monotonic()
        ages = {name: now_s - since_s for name, since_s in list(self._busy_since_s.items())}
        ages["poll"] = self._consumer.last_poll_age_s
        ages["commit"] = self._publisher.last_commit_age_s
        for name, age_s in ages.items():
            if age_s > limit_s:
                raise LoopStalledError(
                    f"the stream loop of {self._consumer.topic} has been in {name!r} for {age_s:.1f} s, more than "
                    f"health.stalled_after_s ({limit_s:g}); the replica is replaced"
                )

    def snapshot(self) -> LoopSnapshot:
        """How it is now."""
        gauges = self._gauges()
        totals = self._stats.totals
        return LoopSnapshot(
            member_id=self._consumer.member_id or "",
            topic=self._consumer.topic,
            partitions=self._consumer.assigned,
            results=totals["result"],
            drops=totals["drop"],
            deadletters=totals["deadletter"],
            streams=gauges.streams,
            lag_records=gauges.lag_records,
            lag_s=gauges.lag_s,
            poll_age_s=self._consumer.last_poll_age_s,
            commit_age_s=gauges.commit_age_s,
            waiting_for=gauges.waiting_for,
            pid=os.getpid(),
        )

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            logger.exception("the stream loop of %s ended", self._consumer.topic)
            self._failure = error
            self._stopping.set()  # the other threads must not wait for this one for ever

    def _join_and_take(self) -> None:
        if not (self._reach(self._publisher.start) and self._reach(self._consumer.start)):
            return
        self._joined.set()
        while not self._stopping.is_set():
            raws = self._consumer.take(self._config.max_batch_frames, TAKE_TIMEOUT_S)
            for batch in self._prepared(raws):
                if not self._hand_over(batch):
                    return
        self._hand_over(None)

    def _reach(self, start: Callable[[], None]) -> bool:
        while not self._stopping.is_set():
            try:
                start()
            except (BrokerUnavailableError, TopicMissingError) as error:
                logger.warning("waiting for Kafka: %s", error)
                self._stopping.wait(REACH_PAUSE_S)
            else:
                return True
        return False

    @property
    def _waiting_for_kafka(self) -> bool:
        waits = self._consumer.waiting_for or self._publisher.waiting_for
        return not self._joined.is_set() or waits is not None

    def _on_revoked(self, partitions: tuple[int, ...]) -> None:
        """On the intake thread, between two takes: finish what is under way, then forget the streams."""
        wait_s = self._streams.consumer.revoke_wait_s
        deadline_s = time.monotonic() + wait_s
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0 or self._failure is not None, wait_s)
        self._publisher.flush(max(0.0, deadline_s - time.monotonic()))
        self._gone.extend((self._consumer.topic, partition) for partition in partitions)

    def _prepared(self, raws: Sequence[RawRecord]) -> Iterable[_Batch[P]]:
        gone, self._gone = tuple(self._gone), []
        if gone:
            self._intake.forget(gone)
        self._step.forget_prepared(gone)
        frames, dead = self._intake.accept(raws)
        dead += self._intake.expire()
        batch = _Batch[P](self._endings(), gone=gone)
        batch.endings.extend(dead=dead)
        chunks = list(_chunks(frames, MAX_BATCH_PIXELS)) or [[]]
        for chunk in chunks:
            if chunk:
                self._busy_since_s["prepare"] = time.monotonic()
                began_s = time.perf_counter()
                batch.prepared = self._step.prepare(chunk, batch.endings)
                self._stats.stage("prepare", time.perf_counter() - began_s)
                self._busy_since_s.pop("prepare", None)
            if chunk or gone or not batch.endings.empty:
                yield batch
            batch = _Batch[P](self._endings())

    def _endings(self) -> Endings:
        return Endings(lambda result: check_size(self._streams, result))

    def _hand_over(self, batch: _Batch[P] | None) -> bool:
        while True:
            try:
                self._ready.put(batch, timeout=TAKE_TIMEOUT_S)
            except queue.Full:
                if self._failure is not None:
                    return False
            else:
                with self._changed:
                    self._under_way += batch is not None
                return True

    def _infer(self) -> None:
        while True:
            try:
                batch = self._ready.get(timeout=TAKE_TIMEOUT_S)
            except queue.Empty:
                if self._failure is not None:
                    return
                continue
            if batch is None:
                return
            self._step.forget_inferred(batch.gone)
            if batch.prepared is not None:
                self._busy_since_s["infer"] = time.monotonic()
                began_s = time.perf_counter()
                self._step.infer(batch.prepared, batch.endings)
                self._stats.stage("infer", time.perf_counter() - began_s)
                self._busy_since_s.pop("infer", None)
            if not batch.endings.empty:
                self._publisher.publish(batch.endings.build(self._stats, wall_ms()))
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _gauges(self) -> LoopGauges:
        lag = self._consumer.lag_records
        waiting = "kafka" if self._waiting_for_kafka else self._step.waiting_for
        return LoopGauges(
            lag_records=lag,
            lag_s=self._seen.seconds_for(lag, sum(self._stats.totals.values())),
            streams=self._step.streams,
            assigned_partitions=len(self._consumer.assigned),
            commit_age_s=self._publisher.last_commit_age_s,
            waiting_for=waiting,
        )

    def _export_metrics(self) -> None:
        while not self._stopping.wait(EXPORT_PERIOD_S):
            gauges = self._gauges()
            if self._export is not None:
                self._export.export(self._stats.take(), gauges)


class _Speed:
    """Frames a second of late, to tell a lag in records as one in seconds."""

    MEMORY = 0.7

    def __init__(self) -> None:
        self._at_s = time.monotonic()
        self._count = 0
        self._per_s = 0.0

    def seconds_for(self, lag_records: int, count: int) -> float:
        """How long `lag_records` take at the present speed; `count` is of all frames that have ended so far."""
        now_s = time.monotonic()
        if now_s - self._at_s >= EXPORT_PERIOD_S / 2:
            latest = (count - self._count) / (now_s - self._at_s)
            self._per_s = latest if self._per_s == 0 else self.MEMORY * self._per_s + (1 - self.MEMORY) * latest
            self._at_s, self._count = now_s, count
        return lag_records / max(self._per_s, 1.0)


def _chunks(frames: Sequence[R], max_pixels: int) -> Iterable[list[R]]:
    """Cut a batch where its decoded pixels exceed the bound; a single frame always goes."""
    chunk: list[R] = []
    pixels = 0
    for frame in frames:
        size = frame.headers.width * frame.headers.height
        if chunk and pixels + size > max_pixels:
            yield chunk
            chunk, pixels = [], 0
        chunk.append(frame)
        pixels += size
    if chunk:
        yield chunk
