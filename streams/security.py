"""Who this client is to the brokers: `streams.security` as kafka-python's options."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from streams.config import SecurityConfig
from streams.errors import SecurityFileError, StreamError

__all__ = ["check_files", "security_options", "token_provider"]

FILES = ("ca_file", "certificate_file", "key_file")


def security_options(security: SecurityConfig) -> dict[str, Any]:
    """The settings as kafka-python's clients take them. Raises: SecurityFileError; StreamError."""
    options: dict[str, Any] = {"security_protocol": security.protocol}
    if security.protocol.endswith("SSL"):
        check_files(security)
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


def check_files(security: SecurityConfig) -> None:
    """Raises: SecurityFileError where a file that the settings name is not there."""
    for name in FILES:
        path = getattr(security, name)
        if path is not None and not Path(path).is_file():
            raise SecurityFileError(f"streams.security.{name}: expected a PEM file, got {path!r}; mend the path")


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
