"""One member of a consumer group: a thread polls bounded batches into a bounded queue, the actor takes them.

The thread never stops polling, whatever the actor does: partitions are paused instead, so that the group does not
expel a busy member. What happens to partitions reaches the actor in order with the records, in the actor's own
thread: `take` calls `on_assigned` and `on_revoked` between two batches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from kafka import KafkaConsumer
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import FencedInstanceIdError, KafkaError
from kafka.structs import TopicPartition

from streams.broker_errors import ConsumerFailedError, MemberFencedError, TopicMissingError
from streams.client import is_fenced, leave_group, open_reader, raw_record
from streams.commitqueue import CommitQueue
from streams.config import StreamsConfig
from streams.errors import StreamError
from streams.inbox import Inbox
from streams.ledger import LedgerBook, PartitionLedger
from streams.records import RawRecord

__all__ = ["ConsumerState", "PartitionLag", "StreamConsumer"]

log = logging.getLogger(__name__)

ConsumerState = Literal["starting", "running", "waiting", "failed", "closed"]
Partitions = tuple[int, ...]
OnPartitions = Callable[[Partitions], None]
Polled = dict[TopicPartition, list[Any]]

FULL_NAP_S = 0.05  # between two polls that only keep the membership alive
SILENCE_S = 2.0  # without a record for this long, the broker is asked whether it is there
PROBE_TIMEOUT_MS = 1_500
COMMITTED_TIMEOUT_MS = 5_000
ERROR_NAP_S = 0.2
RETRY_BACKOFF_MS = 10


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a partition is behind: records not ended, and the age of the oldest that was polled and is open."""

    records: int
    seconds: float


class StreamConsumer:
    """Reads `topic` as the member `member_id` of `group`.

    `member_id` is the member's slot (`perception-0`), the same for its successor: the group then waits for that one
    instead of moving partitions (static membership), and the successor takes over at once. None: a member without
    a name.

    `on_assigned` and `on_revoked` get the partitions' numbers and run in the thread that calls `take`. `on_revoked`
    should flush the publisher: the partition leaves after it has returned, or after `consumer.revoke_wait_s`.
    """

    def __init__(
        self,
        config: StreamsConfig,
        topic: str,
        group: str,
        member_id: str | None = None,
        *,
        on_assigned: OnPartitions | None = None,
        on_revoked: OnPartitions | None = None,
    ):
        self._config = config
        self._bounds = config.consumer
        self.topic = topic
        self.group = group
        self.member_id = member_id
        self.ledgers = LedgerBook()
        self._on_assigned = on_assigned or _nothing
        self._on_revoked = on_revoked or _nothing
        self._inbox = Inbox(self._bounds.max_records, self._bounds.max_bytes)
        self._client: KafkaConsumer | None = None
        self._thread = threading.Thread(target=self._run, name=f"consumer-{topic}", daemon=True)
        self._arriving: set[int] = set()
        self._arrivals = threading.Lock()
        self._commits = CommitQueue(group)
        self._highwater: dict[int, int] = {}
        self._closing = False
        self._state: ConsumerState = "starting"
        self._polled_at = time.monotonic()
        self._heard_at = time.monotonic()

    def start(self) -> None:
        """Reach the brokers, join the group, begin to poll.

        Raises: BrokerUnavailableError within `connect_timeout_s`; TopicMissingError.
        """
        self._client = open_reader(
            self._config,
            from_beginning=self._bounds.start == "earliest",
            group_id=self.group,
            group_instance_id=self.member_id,
            partition_assignment_strategy=(CooperativeStickyAssignor,),
            session_timeout_ms=self._bounds.session_timeout_ms,
            heartbeat_interval_ms=self._bounds.heartbeat_interval_ms,
            max_poll_interval_ms=self._bounds.max_poll_interval_ms,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )
        if not self._client.partitions_for_topic(self.topic):
            self._client.close()
            raise TopicMissingError(
                f"streams.topics: topic {self.topic!r} does not exist at "
                f"{', '.join(self._config.bootstrap_servers)}; call streams.topics.ensure_topics, or run `foveal up`"
            )
        self._client.subscribe([self.topic], listener=_Listener(self))
        self._thread.start()

    def take(self, max_records: int, timeout_s: float) -> list[RawRecord]:
        """At most `max_records` records in the order of their partitions, or none after `timeout_s`.

        Calls `on_assigned` and `on_revoked` as their turn comes: records that are returned belong to partitions that
        were assigned before and not revoked since.
        Raises: MemberFencedError, ConsumerFailedError once the polling thread has ended.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            taken = self._inbox.take(max_records, deadline)
            if isinstance(taken, list):
                return taken
            try:
                if taken.partitions:
                    call = self._on_assigned if taken.kind == "assigned" else self._on_revoked
                    call(tuple(sorted(taken.partitions)))
            finally:
                taken.seen.set()

    def stop_taking(self) -> None:
        """Hand out nothing more, and stay in the group until `close`: what was taken can still be committed."""
        self._inbox.close()

    def close(self, timeout_s: float = 5.0, *, leave: bool = True) -> None:
        """Stop polling and leave the group at once; with `leave=False` the place is kept for a successor.

        Records that were not ended are read again by the next owner. Flush the publisher first.
        """
        if self._state == "closed":
            return
        self._closing = True
        self._inbox.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        client, self._client = self._client, None
        if client is not None:
            client.close(autocommit=False, timeout_ms=int(timeout_s * 1000))
            if leave and self.member_id is not None and not isinstance(self.failure, MemberFencedError):
                try:
                    leave_group(self._config, self.group, self.member_id)
                except (KafkaError, StreamError) as error:
                    log.warning("group %s: could not leave (%s); the group notices by itself", self.group, error)
        self._state = "closed"

    def group_metadata(self) -> Any:
        """This member's generation, for the publisher's transaction. Safe from any thread (kafka-python locks it)."""
        return self._reader.group_metadata()

    def commit(self, offsets: dict[tuple[str, int], tuple[int, str]], timeout_s: float = 10.0) -> None:
        """Commit (position, metadata) outside of transactions; done by the polling thread between two polls.

        Raises: KafkaError as the brokers say it; StreamError when the thread did not come to it in time.
        """
        self._commits.ask(offsets, timeout_s)

    @property
    def state(self) -> ConsumerState:
        """`waiting` while no broker answers; it goes on by itself."""
        return self._state

    @property
    def waiting_for(self) -> str | None:
        """The service that it waits for: `kafka`, or None."""
        return "kafka" if self._state == "waiting" else None

    @property
    def failure(self) -> StreamError | None:
        """Why the polling thread has ended, if it has."""
        return self._inbox.failure

    @property
    def last_poll_age_s(self) -> float:
        """How long ago the thread polled last: more than a few seconds means that it hangs."""
        return time.monotonic() - self._polled_at

    @property
    def assigned(self) -> Partitions:
        """The partitions that this member owns now."""
        return tuple(sorted(partition for _, partition in self.ledgers.progress()))

    @property
    def queued_records(self) -> int:
        """Records that wait to be taken."""
        return self._inbox.records

    def lag(self) -> dict[int, PartitionLag]:
        """Partition -> how far this member is behind on it."""
        now_ms = time.time() * 1000
        lags = {}
        for (_, partition), (polled_to, open_count, oldest_ms) in self.ledgers.progress().items():
            unread = max(0, self._highwater.get(partition, polled_to) - polled_to)
            age_s = max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms is not None else 0.0
            lags[partition] = PartitionLag(unread + open_count, age_s)
        return lags

    @property
    def lag_records(self) -> int:
        """Records of all its partitions that have not ended."""
        return sum(lag.records for lag in self.lag().values())

    def __enter__(self) -> StreamConsumer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The polling thread

    @property
    def _reader(self) -> KafkaConsumer:
        if self._client is None:
            raise StreamError(f"group {self.group}: the consumer is not started, or closed; call start() first")
        return self._client

    def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    self._turn()
                except FencedInstanceIdError as error:
                    raise MemberFencedError(
                        f"group {self.group}: another process has joined as {self.member_id!r}; this one must end"
                    ) from error
                except KafkaError as error:
                    if not getattr(error, "retriable", False):
                        raise
                    self._state = "waiting"
                    self._polled_at = time.monotonic()  # the thread is well, the brokers are not
                    log.warning("group %s: %r; trying again", self.group, error)
                    time.sleep(ERROR_NAP_S)
        except Exception as error:
            failure: StreamError
            if isinstance(error, MemberFencedError):
                failure = error
            else:
                failure = ConsumerFailedError(f"group {self.group}: polling {self.topic} ended: {error!r}")
                failure.__cause__ = error
            log.exception("%s", failure)
            self._state = "failed"
            self._inbox.fail(failure)

    def _turn(self) -> None:
        self._commits.work(self._reader)
        idle = self._pause_and_resume()
        if idle:
            self._inbox.wait_for_room(FULL_NAP_S)
        polled: Polled = self._reader.poll(
            0 if idle else self._bounds.poll_timeout_ms, max_records=self._bounds.max_records
        )
        self._polled_at = time.monotonic()
        if is_fenced(self._reader):
            raise FencedInstanceIdError
        if self._arriving:
            self._restore(polled)
        if polled:
            self._heard()
            self._enqueue(polled)
        elif time.monotonic() - self._heard_at > SILENCE_S:
            self._probe()

    def _pause_and_resume(self) -> bool:
        """Pause what must not deliver; returns whether that is everything."""
        assigned = self._reader.assignment()
        if not self._inbox.has_room or self._inbox.closed:
            self._reader.pause(*assigned)
            return True
        full = {TopicPartition(*place) for place in self.ledgers.full()} & assigned
        paused = self._reader.paused()
        if full - paused:
            self._reader.pause(*(full - paused))
        if paused - full:
            self._reader.resume(*((paused - full) & assigned))
        return bool(assigned) and full == assigned

    def _restore(self, polled: Polled) -> None:
        """Give the partitions that came their ledgers, from the group's committed offsets and metadata."""
        try:
            for partition in sorted(self._arriving):
                place = TopicPartition(self.topic, partition)
                ledger = self._restored(place, polled.get(place, []))
                if ledger is None:
                    continue  # where to begin is still being asked
                with self._arrivals:
                    if partition in self._arriving:
                        self._arriving.discard(partition)
                        self.ledgers.assign(self.topic, partition, ledger)
                        self._inbox.assigned(partition)
        except KafkaError:
            for place, records in polled.items():
                self._reader.seek(place, records[0].offset)  # else what was polled just now would be passed over
            raise

    def _restored(self, place: TopicPartition, records: list[Any]) -> PartitionLedger | None:
        committed = self._reader.committed(place, metadata=True, timeout_ms=COMMITTED_TIMEOUT_MS)
        if committed is not None and committed.offset >= 0:
            return PartitionLedger.restore(committed.offset, committed.metadata)
        start = records[0].offset if records else self._reader.position(place, timeout_ms=PROBE_TIMEOUT_MS)
        return None if start is None else PartitionLedger(start)

    def _enqueue(self, polled: Polled) -> None:
        for place, records in polled.items():
            newest: int = records[-1].offset + 1
            self._highwater[place.partition] = max(newest, self._reader.highwater(place) or 0)
            offsets = [(record.offset, record.timestamp) for record in records]
            fresh = self.ledgers.polled(self.topic, place.partition, offsets, newest)
            self._inbox.put(raw_record(record) for record, wanted in zip(records, fresh, strict=True) if wanted)
        self._pass_markers(polled)

    def _pass_markers(self, places: Iterable[TopicPartition]) -> None:
        """Tell the ledgers how far reading has come: beyond the last record there may be offsets that are none."""
        for place in places:
            position = self._reader.position(place, timeout_ms=PROBE_TIMEOUT_MS)
            if position is not None and place.partition not in self._arriving:
                self.ledgers.polled(self.topic, place.partition, [], position)

    def _probe(self) -> None:
        """Nothing came for a while: ask for the ends, which tells the lag and whether a broker is there."""
        assigned = self._reader.assignment()
        asked = list(assigned or {TopicPartition(self.topic, 0)})
        ends = self._reader.end_offsets(asked, timeout_ms=PROBE_TIMEOUT_MS)
        self._highwater.update({place.partition: end for place, end in ends.items()})
        self._pass_markers(assigned)
        self._heard()

    def _heard(self) -> None:
        self._heard_at = time.monotonic()
        self._state = "running"

    # kafka-python's IO thread, while the polling thread waits for the group

    def _assigned_by_group(self, partitions: Iterable[TopicPartition]) -> None:
        with self._arrivals:
            self._arriving |= {place.partition for place in partitions}

    def _revoked_by_group(self, partitions: Iterable[TopicPartition], *, wait: bool) -> None:
        going = {place.partition for place in partitions}
        with self._arrivals:
            never_arrived = self._arriving & going
            self._arriving -= going
        moved = self._inbox.revoked(going - never_arrived)
        wait = wait and bool(moved.partitions) and not self._inbox.closed
        if wait and not moved.seen.wait(self._bounds.revoke_wait_s):
            log.warning("group %s: partitions %s leave before their work was published", self.group, sorted(going))
        self.ledgers.revoke((self.topic, partition) for partition in going)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    def __init__(self, consumer: StreamConsumer):
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._consumer._assigned_by_group(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._consumer._revoked_by_group(revoked, wait=True)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._consumer._revoked_by_group(lost, wait=False)


def _nothing(_: Partitions) -> None:
    return None
