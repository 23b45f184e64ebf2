"""Kafka clients with this project's settings applied: plain producers and readers, and `tail` over roles."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import TopicPartition

from streams.config import Role, StreamsConfig
from streams.errors import BrokerUnavailableError, StreamError
from streams.greeting import greet
from streams.librdkafka import PARTITION_FETCH_MAX_BYTES, RECONNECT_MAX_MS
from streams.records import Origin, RawRecord
from streams.security import security_options

__all__ = [
    "ClusterInfo",
    "Isolation",
    "close_producer",
    "connect",
    "describe_cluster",
    "group_offsets",
    "leave_group",
    "open_admin",
    "open_producer",
    "open_reader",
    "raw_record",
    "tail",
]

Isolation = Literal["read_committed", "read_uncommitted"]
Place = tuple[str, int]
C = TypeVar("C")

RECEIVE_MAX_BYTES = 128 * 1024 * 1024
TAIL_POLL_MS = 200
KNOCK_S = 3.0
KNOCK_PAUSE_S = 0.2
FORCED_CLOSE_S = 2.0
PRODUCER_BATCH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """What the brokers say of themselves."""

    cluster_id: str
    brokers: int
    controller_id: int | None


def open_producer(config: StreamsConfig, **overrides: Any) -> KafkaProducer:
    """A producer of bytes: idempotent, acknowledged by all replicas.

    `overrides` go to kafka-python as they are. Raises: BrokerUnavailableError within `connect_timeout_s`.
    """
    largest = max(topic.max_message_bytes for _, topic in config.topics)
    options: dict[str, Any] = {
        "acks": "all",
        "enable_idempotence": True,
        "max_request_size": largest,
        "batch_size": PRODUCER_BATCH_BYTES,
        "retry_backoff_ms": config.publisher.retry_backoff_ms,
        "delivery_timeout_ms": config.publisher.delivery_timeout_ms,
        "request_timeout_ms": min(30_000, config.publisher.delivery_timeout_ms),
        "max_block_ms": config.publisher.delivery_timeout_ms,
        "compression_type": None if config.publisher.compression == "none" else config.publisher.compression,
    }
    return connect(config, lambda: KafkaProducer(**(_connection(config) | options | overrides)))


def close_producer(producer: KafkaProducer, timeout_s: float) -> bool:
    """Close within `timeout_s` and leave no thread behind; whether all that was sent has been delivered."""
    try:
        producer.close(timeout=timeout_s)
    except KafkaTimeoutError:
        # kafka-python's own gives up half-way here, with its sender thread alive and connecting for ever.
        producer._sender.force_close()
        producer._sender.join(FORCED_CLOSE_S)
        return False
    return True


def open_reader(
    config: StreamsConfig,
    topics: Sequence[str] = (),
    *,
    from_beginning: bool = False,
    isolation: Isolation = "read_committed",
    **overrides: Any,
) -> KafkaConsumer:
    """A consumer in no group over every partition of `topics`; without topics, assign partitions yourself.

    Raises: BrokerUnavailableError within `connect_timeout_s`.
    """
    options: dict[str, Any] = {
        "isolation_level": isolation,
        "auto_offset_reset": "earliest" if from_beginning else "latest",
        "enable_auto_commit": False,
        "fetch_max_bytes": config.consumer.fetch_max_bytes,
        "max_partition_fetch_bytes": PARTITION_FETCH_MAX_BYTES,
        "receive_message_max_bytes": RECEIVE_MAX_BYTES,
    }
    return connect(config, lambda: KafkaConsumer(*topics, **(_connection(config) | options | overrides)))


def open_admin(config: StreamsConfig) -> KafkaAdminClient:
    """An administration client. Raises: BrokerUnavailableError within `connect_timeout_s`."""
    return connect(config, lambda: KafkaAdminClient(**_connection(config)))


def describe_cluster(config: StreamsConfig) -> ClusterInfo:
    """Ask the brokers who they are. Raises: BrokerUnavailableError within `connect_timeout_s`."""
    admin = open_admin(config)
    try:
        said = admin.describe_cluster()
    finally:
        admin.close()
    return ClusterInfo(str(said.get("cluster_id", "")), len(said.get("brokers", ())), said.get("controller_id"))


def leave_group(config: StreamsConfig, group: str, member_id: str) -> None:
    """Take a static member out of its group: it does not leave by itself, its partitions wait for the session timeout.

    Raises: BrokerUnavailableError; KafkaError.
    """
    admin = open_admin(config)
    try:
        admin.remove_group_members(group, [MemberToRemove(group_instance_id=member_id)])
    finally:
        admin.close()


def group_offsets(config: StreamsConfig, group: str, places: Iterable[Place]) -> dict[Place, tuple[int, str | None]]:
    """(topic, partition) -> (position, metadata) as committed last, whatever transaction is open; -1 where nothing is.

    Raises: BrokerUnavailableError; KafkaError.
    """
    admin = open_admin(config)
    try:
        found = admin.list_group_offsets({group: [TopicPartition(*place) for place in places]})[group]
    finally:
        admin.close()
    return {(place.topic, place.partition): (one.offset, one.metadata) for place, one in found.items()}


def tail(
    config: StreamsConfig,
    roles: Iterable[Role],
    *,
    stop: threading.Event,
    from_beginning: bool = False,
    isolation: Isolation = "read_committed",
) -> Iterator[tuple[Role, RawRecord]]:
    """Every record of the roles' topics as it is committed, until `stop` is set (seen within a second).

    The reader is opened, and placed at the end, before this returns: nothing that is sent after is missed.
    A broker that goes away later is waited for. Raises: BrokerUnavailableError within `connect_timeout_s`.
    """
    named: dict[str, Role] = {config.topics.of(role).name: role for role in roles}
    reader = open_reader(config, from_beginning=from_beginning, isolation=isolation)
    try:
        _assign_all(reader, list(named), from_beginning=from_beginning)
    except KafkaError as error:
        reader.close()
        raise _unavailable(config, error) from error
    return _tail(reader, named, stop)


def connect(config: StreamsConfig, open_client: Callable[[], C]) -> C:
    """Open a client; whatever keeps it from reaching a broker becomes one error that says the remedy."""
    _knock(config)
    try:
        return open_client()
    except (KafkaTimeoutError, OSError) as error:
        raise _unavailable(config, error) from error
    except KafkaError as error:
        if getattr(error, "retriable", False):
            raise _unavailable(config, error) from error
        raise StreamError(
            f"streams.security: the brokers at {', '.join(config.bootstrap_servers)} refuse this client "
            f"({type(error).__name__}: {error}); compare streams.security with the brokers' listeners"
        ) from error


def raw_record(record: Any) -> RawRecord:
    """A kafka-python record as the package's own type."""
    return RawRecord(
        origin=Origin(record.topic, record.partition, record.offset),
        key=record.key,
        headers=tuple((name, value if value is not None else b"") for name, value in record.headers),
        value=record.value,
        appended_at_ms=record.timestamp,
    )


def _tail(reader: KafkaConsumer, named: dict[str, Role], stop: threading.Event) -> Iterator[tuple[Role, RawRecord]]:
    try:
        while not stop.is_set():
            for records in reader.poll(TAIL_POLL_MS).values():
                for record in records:
                    yield named[record.topic], raw_record(record)
    finally:
        reader.close()


def _assign_all(reader: KafkaConsumer, topics: Sequence[str], *, from_beginning: bool) -> None:
    partitions = []
    for topic in topics:
        found = reader.partitions_for_topic(topic)
        if not found:
            raise StreamError(f"topic {topic!r} does not exist; start the service, or create it with `foveal up`")
        partitions += [TopicPartition(topic, partition) for partition in sorted(found)]
    reader.assign(partitions)
    if from_beginning:
        reader.seek_to_beginning(*partitions)
        return
    # A position that is settled now, not at the first poll: what is sent in between must be seen.
    for partition, end in reader.end_offsets(partitions).items():
        reader.seek(partition, end)


def _knock(config: StreamsConfig) -> None:
    """Wait until an address takes this client: a kafka-python client that fails to open leaves its thread behind."""
    deadline = time.monotonic() + config.connect_timeout_s
    while True:
        last: Exception | None = None
        for address in config.bootstrap_servers:
            left_s = min(max(0.1, deadline - time.monotonic()), KNOCK_S)
            try:
                _knock_at(config, address, left_s)
            except StreamError:
                raise  # who is refused now is refused again
            except (OSError, KafkaError) as error:
                last = error
            else:
                return
        if time.monotonic() >= deadline:
            raise _unavailable(config, last or TimeoutError()) from last
        time.sleep(min(KNOCK_PAUSE_S, max(0.0, deadline - time.monotonic())))


def _knock_at(config: StreamsConfig, address: str, timeout_s: float) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout_s):
        if config.security.protocol == "PLAINTEXT":
            return
    greet(config, address, timeout_s)


def _unavailable(config: StreamsConfig, error: BaseException) -> BrokerUnavailableError:
    return BrokerUnavailableError(
        f"streams.bootstrap_servers: expected a Kafka broker at {', '.join(config.bootstrap_servers)} that speaks "
        f"{config.security.protocol}, none answered within {config.connect_timeout_s:g} s "
        f"({type(error).__name__}: {error}); start one with `foveal up`, or set FOVEAL_KAFKA__BOOTSTRAP_SERVERS and "
        "streams.security.protocol"
    )


def _connection(config: StreamsConfig) -> dict[str, Any]:
    return {
        "bootstrap_servers": list(config.bootstrap_servers),
        "client_id": config.client_id,
        "bootstrap_timeout_ms": int(config.connect_timeout_s * 1000),
        "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
        **security_options(config.security),
    }
