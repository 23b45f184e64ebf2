"""librdkafka, the client on the frames' way: this project's settings as its options, its errors as kafka-python's.

kafka-python stays for what happens now and then: administration, audits, readers (docs/adr/0004-two-kafka-clients.md).
Callers know one family of errors, kafka-python's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError as NativeError
from confluent_kafka import KafkaException, Message
from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFencedError,
    UnknownError,
    for_code,
)

from streams.config import SecurityConfig, StreamsConfig
from streams.records import Origin, RawRecord
from streams.security import check_files, token_provider

__all__ = [
    "PARTITION_FETCH_MAX_BYTES",
    "RECONNECT_MAX_MS",
    "called",
    "consumer_options",
    "native_options",
    "raw_message",
    "translated",
]

T = TypeVar("T")

CRITICAL = 2  # of syslog: each refused connection would be a line, and who waits says so once
RECONNECT_MAX_MS = 1_000  # a broker that comes back is found within a second
PARTITION_FETCH_MAX_BYTES = 40 * 1024 * 1024  # a topic takes records of 32 MiB at most
ANSWER_ROOM_BYTES = 1024 * 1024  # of a fetch's answer, beyond its records
# After the queue of what was fetched ahead was full; librdkafka's own second is too long for frames.
FETCH_AGAIN_MS = 10
RETRY_BACKOFF_MS = 10
TOKEN_LIFE_S = 300.0  # kafka-python's providers do not say how long theirs hold; so often a new one is asked for

# What librdkafka says itself, and what brokers say in more words than a caller has answers.
_KINDS: dict[int, type[KafkaError]] = {
    NativeError._FENCED: ProducerFencedError,
    NativeError.INVALID_PRODUCER_EPOCH: ProducerFencedError,
    NativeError.ILLEGAL_GENERATION: CommitFailedError,
    NativeError.UNKNOWN_MEMBER_ID: CommitFailedError,
    NativeError.FENCED_INSTANCE_ID: FencedInstanceIdError,
    NativeError._TIMED_OUT: KafkaTimeoutError,
    NativeError._MSG_TIMED_OUT: KafkaTimeoutError,
    NativeError._TRANSPORT: KafkaConnectionError,
    NativeError._ALL_BROKERS_DOWN: KafkaConnectionError,
    NativeError._RESOLVE: KafkaConnectionError,
    # What it says of partitions and of the group's coordinator while it knows no broker.
    NativeError._UNKNOWN_PARTITION: KafkaConnectionError,
    NativeError._WAIT_COORD: KafkaConnectionError,
}


def native_options(config: StreamsConfig, log: logging.Logger) -> dict[str, Any]:
    """Of every client. Raises: SecurityFileError; StreamError."""
    return {
        "bootstrap.servers": ",".join(config.bootstrap_servers),
        "client.id": config.client_id,
        "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
        "logger": log,
        "log_level": CRITICAL,
        **_security(config.security),
    }


def consumer_options(config: StreamsConfig, log: logging.Logger) -> dict[str, Any]:
    """Of a group's member that commits by itself and hears where a partition ends."""
    bounds = config.consumer
    return native_options(config, log) | {
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": bounds.session_timeout_ms,
        "heartbeat.interval.ms": bounds.heartbeat_interval_ms,
        "max.poll.interval.ms": bounds.max_poll_interval_ms,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": bounds.start,
        "enable.partition.eof": True,
        "fetch.max.bytes": bounds.fetch_max_bytes,
        "max.partition.fetch.bytes": PARTITION_FETCH_MAX_BYTES,
        "receive.message.max.bytes": max(bounds.fetch_max_bytes, PARTITION_FETCH_MAX_BYTES) + ANSWER_ROOM_BYTES,
        "queued.min.messages": bounds.max_records,
        "queued.max.messages.kbytes": max(1, bounds.max_bytes // 1024),
        "fetch.queue.backoff.ms": FETCH_AGAIN_MS,
        "fetch.error.backoff.ms": RETRY_BACKOFF_MS,
        "retry.backoff.ms": RETRY_BACKOFF_MS,
    }


def raw_message(message: Message) -> RawRecord:
    """A record of librdkafka's as the package's own type."""
    headers: Any = message.headers() or ()  # the package's own types have them wrong
    return RawRecord(
        origin=Origin(message.topic() or "", message.partition() or 0, message.offset() or 0),
        key=message.key(),
        headers=tuple((name, value if value is not None else b"") for name, value in headers),
        value=message.value(),
        appended_at_ms=message.timestamp()[1],
    )


def translated(error: NativeError) -> KafkaError:
    """As kafka-python has it."""
    kind = _KINDS.get(error.code())
    if kind is None:
        kind = for_code(error.code()) if error.code() > 0 else UnknownError
    return kind(error.str())


def called(call: Callable[..., T], *arguments: Any) -> T:
    """Call librdkafka. Raises: KafkaError, kafka-python's."""
    try:
        return call(*arguments)
    except KafkaException as error:
        raise translated(error.args[0]) from error


def _security(security: SecurityConfig) -> dict[str, Any]:
    options: dict[str, Any] = {"security.protocol": security.protocol}
    if security.protocol.endswith("SSL"):
        check_files(security)
        options |= {
            "ssl.ca.location": security.ca_file,
            "ssl.certificate.location": security.certificate_file,
            "ssl.key.location": security.key_file,
            "ssl.key.password": security.key_password.get_secret_value() if security.key_password else None,
            "ssl.endpoint.identification.algorithm": "https" if security.check_hostname else "none",
        }
    if security.sasl_mechanism is not None:
        options |= {
            "sasl.mechanism": security.sasl_mechanism,
            "sasl.username": security.username,
            "sasl.password": security.password.get_secret_value() if security.password else None,
        }
    if security.oauth_token_provider is not None:
        provider = token_provider(security.oauth_token_provider)
        options["oauth_cb"] = lambda _: (provider.token(), time.time() + TOKEN_LIFE_S)
    return {name: value for name, value in options.items() if value is not None}
