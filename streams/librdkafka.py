"""librdkafka, the client on the frames' way: this project's settings as its options, its errors as kafka-python's.

kafka-python stays for what happens now and then: administration, audits, readers. Its transaction costs twice the time
and four times the processor (docs/adr/0004-two-kafka-clients.md). Callers know one family of errors, kafka-python's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError as NativeError
from confluent_kafka import KafkaException
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
from streams.security import token_provider

__all__ = ["called", "native_options", "translated"]

T = TypeVar("T")

RECONNECT_MAX_MS = 1_000  # a broker that comes back is found within a second
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
}


def native_options(config: StreamsConfig, log: logging.Logger) -> dict[str, Any]:
    """Of every client. Raises: SecurityFileError; StreamError."""
    return {
        "bootstrap.servers": ",".join(config.bootstrap_servers),
        "client.id": config.client_id,
        "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
        "logger": log,
        **_security(config.security),
    }


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
