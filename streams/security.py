"""Who this client is to the brokers: `streams.security` as kafka-python's options, and whether a broker takes it.

kafka-python tries on for ever where a broker refuses a certificate or a password, and says why only in its log. So one
connection of its own is made first, whose refusal becomes an error that names the setting.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from kafka.errors import KafkaConnectionError, SaslAuthenticationFailedError, UnsupportedSaslMechanismError
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from streams.config import SecurityConfig
from streams.errors import BrokerRefusedError, SecurityFileError, StreamError

__all__ = ["greet", "security_options", "token_provider"]

FILES = ("ca_file", "certificate_file", "key_file")
# In the text of kafka-python's handshake error (OpenSSL's own words) -> the setting at fault, what to do about it.
# The first that is found holds.
HANDSHAKE_REMEDIES = (
    ("mismatch, certificate", "check_hostname", "give the broker's certificate this name, or connect by one it has"),
    ("CERTIFICATE_VERIFY_FAILED", "ca_file", "name the PEM file of the authority that signed the broker's certificate"),
    ("WRONG_VERSION_NUMBER", "protocol", "the listener speaks no TLS: take the protocol without SSL, or another port"),
    ("ALERT", "certificate_file", "the broker refuses this client's certificate: set certificate_file and key_file"),
)


def security_options(security: SecurityConfig) -> dict[str, Any]:
    """The settings as kafka-python's clients take them. Raises: SecurityFileError; StreamError."""
    options: dict[str, Any] = {"security_protocol": security.protocol}
    if security.protocol.endswith("SSL"):
        for name in FILES:
            path = getattr(security, name)
            if path is not None and not Path(path).is_file():
                raise SecurityFileError(f"streams.security.{name}: expected a PEM file, got {path!r}; mend the path")
        options |= {
            "ssl_cafile": security.ca_file,
            "ssl_certfile": security.certificate_file,
            "ssl_keyfile": security.key_file,
            "ssl_password": security.key_password.get_secret_value() if security.key_password else None,
            "ssl_check_hostname": security.check_hostname,
        }
    if security.sasl_mechanism is not None:
        options |= {
            "sasl_mechanism": security.sasl_mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": security.password.get_secret_value() if security.password else None,
        }
    if security.oauth_token_provider is not None:
        options["sasl_oauth_token_provider"] = token_provider(security.oauth_token_provider)
    return options


def greet(address: str, options: Mapping[str, Any], timeout_s: float) -> None:
    """Connect to one broker as a client with these options would: TLS, then name and password.

    Raises: BrokerRefusedError naming the setting at fault; KafkaError, OSError where the broker is not well.
    """
    net = NetworkSelector()
    manager = KafkaConnectionManager(net, **(dict(options) | {"bootstrap_servers": [address]}))
    try:
        node = random.choice(manager.cluster.bootstrap_brokers())
        connection = manager.get_connection(
            node.node_id, timeout_ms=timeout_s * 1000, pop_on_close=False, refresh_metadata_on_err=False
        )

        async def connected() -> None:
            await connection

        net.run(connected)
    except SaslAuthenticationFailedError as error:
        raise _refused(address, "username and streams.security.password", error, "mend them") from error
    except UnsupportedSaslMechanismError as error:
        raise _refused(address, "sasl_mechanism", error, "take one that the listener has") from error
    except KafkaConnectionError as error:
        for words, setting, remedy in HANDSHAKE_REMEDIES:
            if words in str(error):
                raise _refused(address, setting, error, remedy) from error
        raise
    finally:
        manager.close()
        net.close()


def _refused(address: str, setting: str, error: Exception, remedy: str) -> BrokerRefusedError:
    return BrokerRefusedError(
        f"streams.security.{setting}: the broker at {address} and this client do not come together "
        f"({type(error).__name__}: {error}); {remedy}"
    )


def token_provider(name: str) -> Any:
    """kafka-python's token provider of the name `package.module:name`. Raises: StreamError."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise StreamError(
            f"streams.security.oauth_token_provider: expected 'package.module:name' of an installed package, "
            f"got {name!r} ({error}); install it, or mend the name"
        ) from error
