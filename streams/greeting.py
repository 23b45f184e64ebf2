"""Whether a broker takes this client: TLS, then name and password, and if not, by which setting.

Clients try on for ever where a broker refuses a certificate or a password. So one connection is made first, whose
refusal becomes an error that names the setting. librdkafka makes it: kafka-python throws away what it has read when the
connection's end comes in the same read, and with it the broker's reason.
"""

from __future__ import annotations

import logging
import time

from confluent_kafka import KafkaError as NativeError
from confluent_kafka import KafkaException, Producer
from kafka.errors import KafkaConnectionError, KafkaError

from streams.config import StreamsConfig
from streams.errors import BrokerRefusedError, StreamError
from streams.librdkafka import called, native_options

__all__ = ["greet"]

logger = logging.getLogger(__name__)

ANSWER_S = 0.2
# In the text of librdkafka's error -> the setting at fault, what to do about it. The first one holds.
REMEDIES = {
    NativeError._AUTHENTICATION: (
        ("mechanism handshake failed", "sasl_mechanism", "take one that the listener has"),
        ("", "username and streams.security.password", "mend them"),
    ),
    NativeError._SSL: (
        ("certificate verify failed", "ca_file", "name the PEM file of the authority that signed the certificate"),
        ("alert", "certificate_file", "the broker refuses this client's certificate: set certificate_file, key_file"),
    ),
}
OTHER_NAME = "check_hostname", "give the broker's certificate this name, or connect by one it has"


def greet(config: StreamsConfig, address: str, timeout_s: float) -> None:
    """Connect to one broker as a client with these settings would.

    Raises: BrokerRefusedError naming the setting at fault; KafkaError where the broker is not well; SecurityFileError,
    StreamError for the settings themselves.
    """
    errors: list[NativeError] = []
    options = native_options(config, logger) | {"bootstrap.servers": address, "error_cb": errors.append}
    try:
        client, deadline = Producer(options), time.monotonic() + timeout_s
    except KafkaException as error:
        raise StreamError(
            f"streams.security: these settings make no client ({error.args[0].str()}); mend them"
        ) from error
    while True:
        try:
            called(client.list_topics, None, ANSWER_S)
        except KafkaError as error:
            client.poll(0)  # which tells of the errors
            for each in errors:
                _refuse(config, address, each, timeout_s)
            if time.monotonic() >= deadline:
                raise KafkaConnectionError(errors[0].str() if errors else str(error)) from error
        else:
            return


def _refuse(config: StreamsConfig, address: str, said: NativeError, timeout_s: float) -> None:
    for words, setting, remedy in REMEDIES.get(said.code(), ()):
        if words not in said.str():
            continue
        if setting == "ca_file" and config.security.check_hostname and _trusted(config, address, timeout_s):
            setting, remedy = OTHER_NAME
        raise BrokerRefusedError(
            f"streams.security.{setting}: the broker at {address} and this client do not come together "
            f"({said.str()}); {remedy}"
        )


def _trusted(config: StreamsConfig, address: str, timeout_s: float) -> bool:
    """Whether the certificate is good but for its name: the error is the same."""
    security = config.security.model_copy(update={"check_hostname": False})
    try:
        greet(config.model_copy(update={"security": security}), address, timeout_s)
    except BrokerRefusedError as error:
        return "streams.security.ca_file" not in str(error)
    except KafkaError:
        return False
    return True
