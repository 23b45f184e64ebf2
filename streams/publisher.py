"""Results, outcomes, dead letters and input offsets in one Kafka transaction, on a thread of its own.

What is queued when a transaction begins goes into it, so that a slow broker makes transactions larger and not the
queue longer. A transaction that fails is aborted and done again with the same batches; the ledgers decide what of
them is still this member's to end (docs/adr/0001-transactions.md).
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import CommitFailedError, FencedInstanceIdError, KafkaError, KafkaTimeoutError, ProducerFencedError

from streams.batchwriter import check_size, write_batch
from streams.broker_errors import PublisherFailedError
from streams.client import close_producer, group_offsets, open_producer
from streams.config import StreamsConfig
from streams.errors import BrokerUnavailableError, StreamError
from streams.ledger import LedgerBook, plain_metadata
from streams.outcomes import EndedBatch
from streams.records import Origin
from streams.transactions import TransactionalProducer

__all__ = ["GroupMember", "Publisher", "PublisherCounts"]

log = logging.getLogger(__name__)

Places = dict[tuple[str, int], tuple[int, str]]

TRANSACTION_BYTES = 64 * 1024 * 1024  # a transaction takes no further batch beyond it
RETRY_NAP_S = 0.05
LONGEST_NAP_S = 1.0
FENCED_AGAIN_S = 30.0
GIVE_UP_S = 60.0  # errors that are not known to pass may pass all the same, for so long
ALIVE_CHECK_S = 0.5


class GroupMember(Protocol):
    """What the publisher needs of the consumer whose input it ends."""

    group: str
    member_id: str | None
    ledgers: LedgerBook

    def group_metadata(self) -> Any: ...

    def commit(self, offsets: Places) -> None: ...


@dataclass(slots=True)
class PublisherCounts:
    """What has happened since the start, for metrics."""

    transactions: int = 0
    aborted: int = 0
    results: int = 0
    drops: int = 0
    deadletters: int = 0
    disowned: int = 0  # frames that belong to another member by now, or had ended already


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one transaction is to end, and the (position, metadata) that it commits for each partition."""

    batch: EndedBatch
    ending: dict[tuple[str, int], list[int]]
    offsets: Places
    disowned: int


class Publisher:
    """Writes what an actor ended. One for each consumer; `publish` from the actor's thread.

    The transactional id is `<group>.<member_id>`: a successor with the same member id aborts at once what its
    predecessor left open, and fences it.
    """

    def __init__(self, config: StreamsConfig, member: GroupMember):
        self._config = config
        self._member = member
        self._producer: TransactionalProducer | KafkaProducer | None = None
        self._thread = threading.Thread(target=self._run, name=f"publisher-{member.group}", daemon=True)
        self._changed = threading.Condition()
        self._queue: deque[tuple[float, EndedBatch]] = deque()
        self._in_flight: list[tuple[float, EndedBatch]] = []
        self._closing = False
        self._failure: StreamError | None = None
        self._waiting = False
        self._failing_since: float | None = None
        self._fenced_at = -math.inf
        self._transactional_id = f"{member.group}.{member.member_id or uuid.uuid4().hex}"
        self._committed_at = time.monotonic()
        self.counts = PublisherCounts()

    def start(self) -> None:
        """Reach the brokers and end what a predecessor left open. Raises: BrokerUnavailableError."""
        self._producer = self._open()
        self._thread.start()

    def publish(self, batch: EndedBatch) -> None:
        """Queue what one step ended; waits while the queue is full.

        Raises: RecordTooLargeError before anything is queued, so that the frame can be dead-lettered instead;
        PublisherFailedError once the thread has ended.
        """
        for result in batch.results:
            check_size(self._config, result)
        with self._changed:
            while len(self._queue) >= self._config.publisher.queue_batches and self._failure is None:
                self._changed.wait(ALIVE_CHECK_S)
            self._raise_failed()
            self._queue.append((time.monotonic(), batch))
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was queued is committed; False when that takes longer.

        Raises: PublisherFailedError.
        """
        with self._changed:
            done = self._changed.wait_for(lambda: self._idle or self._failure is not None, timeout_s)
            self._raise_failed()
            return done

    def close(self, timeout_s: float = 10.0) -> bool:
        """Flush and end; what is not committed in time is left to the next owner. Returns whether all was."""
        with self._changed:
            flushed = self._changed.wait_for(lambda: self._idle or self._failure is not None, timeout_s)
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s if flushed else RETRY_NAP_S)
        producer, self._producer = self._producer, None
        if isinstance(producer, TransactionalProducer):
            producer.close(timeout_s if flushed else 0)
        elif producer is not None:
            close_producer(producer, timeout_s if flushed else 0)
        return flushed and self._failure is None

    @property
    def last_commit_age_s(self) -> float:
        """How long something has waited to be committed since the last commit; 0 while nothing waits."""
        with self._changed:
            waiting = [*self._in_flight, *self._queue]
            return time.monotonic() - max(self._committed_at, waiting[0][0]) if waiting else 0.0

    @property
    def queued_batches(self) -> int:
        with self._changed:
            return len(self._queue) + len(self._in_flight)

    @property
    def waiting_for(self) -> str | None:
        """The service that it waits for: `kafka` while a transaction is being tried again, or None."""
        return "kafka" if self._waiting else None

    @property
    def failure(self) -> StreamError | None:
        """Why the thread has ended, if it has."""
        return self._failure

    def __enter__(self) -> Publisher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _idle(self) -> bool:
        return not self._queue and not self._in_flight

    def _raise_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    # The publishing thread

    def _run(self) -> None:
        try:
            while self._next_batches():
                self._commit_in_flight()
                with self._changed:
                    self._in_flight = []
                    self._committed_at = time.monotonic()
                    self._changed.notify_all()
        except Exception as error:
            failed = PublisherFailedError(f"group {self._member.group}: publishing ended: {error!r}")
            failed.__cause__ = error
            log.exception("%s", failed)
            with self._changed:
                self._failure = failed
                self._changed.notify_all()

    def _next_batches(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            size = 0
            while self._queue and size < TRANSACTION_BYTES:
                self._in_flight.append(self._queue.popleft())
                size += sum(len(result.value) for result in self._in_flight[-1][1].results)
            self._changed.notify_all()
            return bool(self._in_flight) and not self._closing

    def _commit_in_flight(self) -> None:
        """Until it is committed, or nothing of it is this member's any more."""
        attempt: _Attempt | None = None
        unsure: _Attempt | None = None  # its producer failed in the middle: it may have been committed
        nap_s = RETRY_NAP_S
        while not self._closing:
            try:
                if self._producer is None:
                    self._producer = self._open()  # ends what the last one left open, one way or the other
                if unsure is not None:
                    if self._was_committed(unsure):
                        self._ended(unsure)
                        return
                    unsure = None
                # The generation first, the ledgers after: were a partition to leave in between, the brokers refuse
                # the older generation.
                generation = self._member.group_metadata()
                attempt = self._attempt()
                if not attempt.ending:
                    self._disown(attempt)
                    return
                if isinstance(self._producer, TransactionalProducer):
                    self._transact(self._producer, attempt, generation)
                else:
                    self._write_then_commit(self._producer, attempt)
                self._ended(attempt)
                return
            except (KafkaError, BrokerUnavailableError) as error:
                self._abort(error)
                if self._producer is None:
                    unsure = unsure or attempt
                time.sleep(nap_s)
                nap_s = min(LONGEST_NAP_S, nap_s * 2)

    def _attempt(self) -> _Attempt:
        """All that is in flight as one batch, less the offsets that have ended or belong to another member now."""
        parts: list[EndedBatch] = []
        seen: set[Origin] = set()
        disowned = 0
        for _, batch in self._in_flight:
            origins = _origins(batch)
            mine = {
                origin
                for origin in origins - seen
                if self._member.ledgers.is_open(origin.topic, origin.partition, origin.offset)
            }
            seen |= mine
            disowned += len(origins) - len(mine)
            parts.append(
                EndedBatch(
                    [one for one in batch.results if one.origin in mine],
                    [one for one in batch.drops if one.origin in mine],
                    [one for one in batch.deadletters if one.origin in mine],
                )
            )
        batch = EndedBatch(
            [one for part in parts for one in part.results],
            [one for part in parts for one in part.drops],
            [one for part in parts for one in part.deadletters],
        )
        ending = batch.offsets()
        return _Attempt(batch, ending, self._member.ledgers.commits_after(ending), disowned)

    def _ended(self, attempt: _Attempt) -> None:
        self._member.ledgers.end(attempt.ending)
        self._waiting = False
        self._failing_since = None
        self.counts.transactions += 1
        self.counts.results += len(attempt.batch.results)
        self.counts.drops += len(attempt.batch.drops)
        self.counts.deadletters += len(attempt.batch.deadletters)
        self._disown(attempt)

    def _disown(self, attempt: _Attempt) -> None:
        if attempt.disowned:
            self.counts.disowned += attempt.disowned
            log.info("group %s: %d frames belong to another member now", self._member.group, attempt.disowned)

    def _transact(self, transactions: TransactionalProducer, attempt: _Attempt, generation: Any) -> None:
        transactions.begin()
        write_batch(transactions, self._config, self._member.group, attempt.batch)
        transactions.send_offsets(attempt.offsets, generation)
        transactions.commit()

    def _write_then_commit(self, producer: KafkaProducer, attempt: _Attempt) -> None:
        futures = write_batch(producer, self._config, self._member.group, attempt.batch)
        producer.flush(self._config.publisher.delivery_timeout_ms / 1000)
        for future in futures:
            future.get(timeout=0)  # raises what kept the record out
        self._member.commit(attempt.offsets)

    def _abort(self, error: Exception) -> None:
        """Leave nothing of a failed transaction behind. Raises: the error, when trying again can't cure it."""
        self._waiting = True
        self.counts.aborted += 1
        if isinstance(self._producer, TransactionalProducer):
            try:
                if isinstance(error, KafkaTimeoutError):
                    raise error  # a call that hangs: aborting would hang as well
                self._producer.abort()
            except KafkaError:
                # Of no use any more; the next one aborts what is open and completes what was being committed.
                self._producer.close(0)
                self._producer = None
        log.warning("group %s: %r; %d batches are written again", self._member.group, error, len(self._in_flight))
        self._judge(error)

    def _judge(self, reason: Exception) -> None:
        now = time.monotonic()
        if isinstance(reason, FencedInstanceIdError):
            raise reason
        if isinstance(reason, ProducerFencedError):
            # Once may be this member's own transaction that took too long; twice is somebody with the same name.
            if now - self._fenced_at < FENCED_AGAIN_S:
                raise reason
            self._fenced_at = now
        if getattr(reason, "retriable", False) or isinstance(reason, CommitFailedError):
            self._failing_since = None
            return
        self._failing_since = self._failing_since or now
        if now - self._failing_since > GIVE_UP_S:
            raise reason

    def _was_committed(self, attempt: _Attempt) -> bool:
        """Whether an attempt whose producer failed in the middle had been committed: the group's offsets tell."""
        found = group_offsets(self._config, self._member.group, attempt.offsets)
        said = {place: (position, plain_metadata(metadata)) for place, (position, metadata) in found.items()}
        return said == attempt.offsets

    def _open(self) -> TransactionalProducer | KafkaProducer:
        if self._config.delivery == "at_least_once":
            return open_producer(self._config)
        return TransactionalProducer(self._config, self._transactional_id)


def _origins(batch: EndedBatch) -> set[Origin]:
    """One for each frame, drop and dead letter. A frame's results for several roles share theirs."""
    return {one.origin for ones in (batch.results, batch.drops, batch.deadletters) for one in ones}
