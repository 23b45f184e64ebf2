"""One member of a consumer group: a thread polls into a bounded queue, the actor takes from it.

The thread goes on polling whatever the actor does: partitions are paused instead, so that the group does not expel a
busy member. It makes every call of librdkafka's consumer: one of another thread waits until no poll is under way, which
may be never. What happens to partitions reaches the actor in order with the records, in the actor's own thread: `take`
calls `on_assigned` and `on_revoked` between two batches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka import KafkaError as NativeError
from kafka.errors import FencedInstanceIdError, KafkaError, KafkaTimeoutError

from streams.broker_errors import ConsumerFailedError, MemberFencedError, TopicMissingError
from streams.client import connect, leave_group
from streams.commitqueue import CommitQueue
from streams.config import StreamsConfig
from streams.errors import BrokerUnavailableError, StreamError
from streams.inbox import Inbox, Moved
from streams.lag import LagBook, PartitionLag
from streams.ledger import LedgerBook, PartitionLedger
from streams.librdkafka import called, consumer_options, raw_message, translated
from streams.positions import ends, ledgers, unsettled_ledgers
from streams.records import RawRecord

__all__ = ["ConsumerState", "StreamConsumer"]

log = logging.getLogger(__name__)

ConsumerState = Literal["starting", "running", "waiting", "failed", "closed"]
Partitions = tuple[int, ...]
OnPartitions = Callable[[Partitions], None]

# A pause throws away what was fetched ahead, so a full inbox is waited for first, and paused for only when it stays.
PATIENCE_S = 1.0
PAUSED_POLL_S = 0.05
SILENCE_S = 2.0  # without a record for this long, the broker is asked whether it is there
ERROR_NAP_S = 0.2
COMMITS_NAP_S = 0.01
CLEAN_UP_S = 15.0  # the brokers look every ten seconds for transactions that took too long


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
        self._client: Consumer | None = None
        self._thread = threading.Thread(target=self._run, name=f"consumer-{topic}", daemon=True)
        self._generation: Any = None
        self._commits = CommitQueue(group)
        self._paused: set[int] = set()
        self._lags = LagBook(self.ledgers)
        self._fresh: list[RawRecord] = []
        self._closing = False
        self._state: ConsumerState = "starting"
        self._polled_at = time.monotonic()
        self._heard_at = time.monotonic()

    def start(self) -> None:
        """Reach the brokers, join the group, begin to poll.

        Raises: BrokerUnavailableError within `connect_timeout_s`; TopicMissingError.
        """
        options = consumer_options(self._config, log) | {
            "group.id": self.group,
            "group.instance.id": self.member_id,
        }
        client = connect(self._config, lambda: self._open(options))
        self._client = client
        client.subscribe([self.topic], on_assign=self._came, on_revoke=self._go, on_lost=self._lost)
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
            # It has no bound of its own; one that does not return is left behind.
            closing = threading.Thread(target=client.close, name=f"close-{self.topic}", daemon=True)
            closing.start()
            closing.join(timeout_s)
            if leave and self.member_id is not None and not isinstance(self.failure, MemberFencedError):
                try:
                    leave_group(self._config, self.group, self.member_id)
                except (KafkaError, StreamError) as error:
                    log.warning("group %s: could not leave (%s); the group notices by itself", self.group, error)
        self._state = "closed"

    def group_metadata(self) -> Any:
        """This member's generation of late, for the publisher's transaction; the brokers refuse one that is over."""
        if self._generation is None:
            raise StreamError(f"group {self.group}: the consumer is not started; call start() first")
        return self._generation

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

    def lag(self) -> dict[int, PartitionLag]:
        """Partition -> how far this member is behind on it."""
        return self._lags.of_partitions()

    @property
    def lag_records(self) -> int:
        """Records of all its partitions that have not ended."""
        return sum(lag.records for lag in self.lag().values())

    def __enter__(self) -> StreamConsumer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, options: dict[str, Any]) -> Consumer:
        client = Consumer({name: one for name, one in options.items() if one is not None})
        if not called(client.list_topics, self.topic, self._config.connect_timeout_s).topics[self.topic].partitions:
            client.close()
            raise TopicMissingError(
                f"streams.topics: topic {self.topic!r} does not exist at "
                f"{', '.join(self._config.bootstrap_servers)}; call streams.topics.ensure_topics, or run `foveal up`"
            )
        return client

    # The polling thread

    @property
    def _member(self) -> Consumer:
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
                    self._wait_for_brokers(error)
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
        self._commits.work(self._member)
        if not self._inbox.has_room:
            self._inbox.wait_for_room(PATIENCE_S)
        idle = self._pause_and_resume()
        message = self._member.poll(PAUSED_POLL_S if idle else self._bounds.poll_timeout_ms / 1000)
        self._polled_at = time.monotonic()
        while message is not None:
            self._heard()
            self._note(message)
            message = self._member.poll(0) if len(self._fresh) < self._bounds.max_records else None
        self._generation = called(self._member.consumer_group_metadata)
        self._deliver()
        if time.monotonic() - self._heard_at > SILENCE_S:
            self._probe()

    def _note(self, message: Message) -> None:
        """A record, how far a partition has been read, or what is wrong."""
        error = message.error()
        if message.topic() not in (self.topic, None):
            return
        if error is None:
            record = raw_message(message)
            partition, offset = record.origin.partition, record.origin.offset
            if self.ledgers.polled(self.topic, partition, [(offset, record.appended_at_ms)], None) == [True]:
                self._fresh.append(record)
            _, end = self._member.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
            self._lags.ends_at(partition, max(end, offset + 1))
        elif error.code() == NativeError._PARTITION_EOF:
            # Beyond the last record there may be offsets that are none: markers.
            self.ledgers.polled(self.topic, message.partition() or 0, [], message.offset())
        elif error.code() == NativeError._MAX_POLL_EXCEEDED:
            log.warning("group %s: %s; it joins again", self.group, error.str())
        elif error.code() == NativeError._FATAL:
            raise FencedInstanceIdError(error.str())  # no other error ends a member of a classic group for good
        else:
            raise translated(error)

    def _deliver(self) -> None:
        fresh, self._fresh = self._fresh, []
        self._inbox.put(fresh)

    def _pause_and_resume(self) -> bool:
        """Pause what must not deliver; returns whether that is everything."""
        assigned = set(self.assigned)
        if self._inbox.closed or not self._inbox.has_room:
            wanted = assigned
        else:
            wanted = {partition for _, partition in self.ledgers.full()} & assigned
        if new := wanted - self._paused:
            called(self._member.pause, self._places(new))
        if over := (self._paused - wanted) & assigned:
            called(self._member.resume, self._places(over))
        self._paused = wanted
        return bool(assigned) and wanted == assigned

    def _probe(self) -> None:
        """Nothing came for a while: ask for the ends, which tells the lag and whether a broker is there."""
        for place in self._places(self.assigned or (0,)):
            self._lags.ends_at(place.partition, ends(self._member, place)[1])
        self._heard()

    def _heard(self) -> None:
        self._heard_at = time.monotonic()
        self._state = "running"

    def _wait_for_brokers(self, error: Exception) -> None:
        self._state = "waiting"
        self._polled_at = time.monotonic()  # the thread is well, the brokers are not
        log.warning("group %s: %r; trying again", self.group, error)
        time.sleep(ERROR_NAP_S)

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self.topic, partition) for partition in sorted(partitions)]

    def _mine(self, places: Iterable[TopicPartition]) -> list[int]:
        return sorted(place.partition for place in places if place.topic == self.topic)

    # Called by librdkafka in the polling thread, inside of poll

    def _came(self, client: Consumer, places: list[TopicPartition]) -> None:
        """Give the partitions that come their ledgers, and read on from where those say."""
        self._deliver()
        # A member that comes back under its name before the group has missed it gets what that name had, be it of
        # another topic: those partitions are held, not read.
        strange = [place for place in places if place.topic != self.topic]
        found = self._ledgers_of(self._mine(places))
        client.incremental_assign(
            [TopicPartition(self.topic, partition, ledger.polled_to) for partition, ledger in found.items()] + strange
        )
        if strange:
            client.pause(strange)
            log.warning("group %s: the name %s still has %s", self.group, self.member_id, strange)
        for partition, ledger in found.items():
            self.ledgers.assign(self.topic, partition, ledger)
            self._inbox.assigned(partition)

    def _go(self, client: Consumer, places: list[TopicPartition]) -> None:
        going = set(self._mine(places))
        self._deliver()
        moved = self._inbox.revoked(going)
        if not self._closing:
            self._generation = called(client.consumer_group_metadata)  # the work is published as of the new one
            self._wait_for_work(client, moved)
        self._forget(going)

    def _lost(self, _: Consumer, places: list[TopicPartition]) -> None:
        going = set(self._mine(places))
        self._deliver()
        self._inbox.revoked(going)
        self._forget(going)

    def _wait_for_work(self, client: Consumer, moved: Moved) -> None:
        deadline = time.monotonic() + self._bounds.revoke_wait_s
        while moved.partitions and not self._inbox.closed and not moved.seen.wait(COMMITS_NAP_S):
            self._commits.work(client)
            if time.monotonic() > deadline:
                log.warning("group %s: partitions %s leave before their work was published", self.group, moved)
                return

    def _forget(self, going: set[int]) -> None:
        self.ledgers.revoke((self.topic, partition) for partition in going)
        self._paused -= going

    def _ledgers_of(self, partitions: list[int]) -> dict[int, PartitionLedger]:
        """From the group's committed offsets and metadata; the heartbeat goes on while no broker answers."""
        asked = (self._member, self._config)
        give_up_s = time.monotonic() + self._config.publisher.transaction_timeout_ms / 1000 + CLEAN_UP_S
        while not self._closing:
            try:
                try:
                    return ledgers(*asked, self.topic, partitions)
                except KafkaTimeoutError:
                    if time.monotonic() < give_up_s:
                        raise
                    found = unsettled_ledgers(*asked, self.group, self.topic, partitions)
                    log.warning(
                        "group %s: a transaction on %s %s that is long over still counts as open, the brokers have "
                        "lost its end; what it ended is done again", self.group, self.topic, partitions,
                    )  # fmt: skip
                    return found
            except (KafkaError, BrokerUnavailableError) as error:
                if not getattr(error, "retriable", True):
                    raise
                self._wait_for_brokers(error)
        return {}


def _nothing(_: Partitions) -> None:
    return None
