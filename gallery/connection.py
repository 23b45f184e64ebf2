"""One connection to Redis, Redis Cluster or Valkey, whose every failure leaves here under a name of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from gallery.config import GalleryConfig
from gallery.errors import (
    GalleryAuthError,
    GalleryConfigError,
    GalleryOutOfMemoryError,
    GalleryReadOnlyError,
    GalleryServerError,
    GalleryUnavailableError,
)

__all__ = ["connect", "named_errors"]

_AUTH_WORDS = ("NOAUTH", "WRONGPASS", "NOPERM", "Client sent AUTH", "invalid username-password")

_READ_ONLY_WORDS = ("READONLY", "MISCONF", "NOREPLICAS")


def connect(config: GalleryConfig) -> Any:
    """A redis-py client of the configured server; a plain one connects at its first command.

    One retry only, at once: a lost pooled connection costs nothing, an absent server is told within
    2 * (connect_timeout_s + timeout_s). All writes carry an event id or are idempotent, so a retry is safe.

    Raises: GalleryUnavailableError (cluster only: its slots are read here), GalleryConfigError.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": config.connect_timeout_s,
        "socket_timeout": config.timeout_s,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 1),
    }
    if config.username is not None:
        options["username"] = config.username
    if config.password is not None:
        options["password"] = config.password.get_secret_value()
    for ours, theirs in (
        ("tls_ca_file", "ssl_ca_certs"),
        ("tls_cert_file", "ssl_certfile"),
        ("tls_key_file", "ssl_keyfile"),
    ):
        if (path := getattr(config, ours)) is not None:
            if not path.is_file():
                raise GalleryConfigError(f"gallery.{ours}: expected a readable file, got {str(path)!r}")
            options[theirs] = str(path)
    if config.cluster:
        with named_errors(config):
            return RedisCluster.from_url(config.url, **options)
    return redis.Redis.from_url(config.url, **options)


@contextmanager
def named_errors(config: GalleryConfig) -> Iterator[None]:
    """Turn redis-py's errors into ours, with the address and the remedy."""
    try:
        yield
    except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
        raise _auth(config, error) from error
    except OutOfMemoryError as error:
        raise _out_of_memory(config, error) from error
    except ReadOnlyError as error:
        raise _read_only(config, error) from error
    except ClusterDownError as error:
        raise _unavailable(config, error) from error
    except ResponseError as error:
        raise _by_text(config, error) from error
    except (RedisError, RedisClusterException, OSError) as error:
        raise _unavailable(config, error) from error


def _by_text(config: GalleryConfig, error: ResponseError) -> Exception:
    """Errors from inside a script keep their code in the text only."""
    text = str(error)
    if any(word in text for word in _AUTH_WORDS):
        return _auth(config, error)
    if text.startswith("OOM") or "maxmemory" in text:
        return _out_of_memory(config, error)
    if any(word in text for word in _READ_ONLY_WORDS):
        return _read_only(config, error)
    if isinstance(error, ClusterCrossSlotError | MovedError):
        return GalleryConfigError(
            f"gallery.cluster: expected true, for {config.address} is a cluster ({_short(error)})"
        )
    return GalleryServerError(f"gallery.url: {config.address} answered: {_short(error)}")


def _unavailable(config: GalleryConfig, error: Exception) -> GalleryUnavailableError:
    return GalleryUnavailableError(
        f"gallery.url: no answer from {config.address} ({_short(error)}); start Redis or Valkey there "
        "(`foveal up` starts one), or set gallery.url or FOVEAL_REDIS__URL"
    )


def _auth(config: GalleryConfig, error: Exception) -> GalleryAuthError:
    return GalleryAuthError(
        f"gallery.username, gallery.password: {config.address} refused them ({_short(error)}); "
        "set both, for a user that may run scripts and touch keys under foveal:*"
    )


def _out_of_memory(config: GalleryConfig, error: Exception) -> GalleryOutOfMemoryError:
    return GalleryOutOfMemoryError(
        f"gallery.url: {config.address} is out of memory ({_short(error)}); raise its `maxmemory`, "
        "remove identities, or lower gallery.sightings_maxlen"
    )


def _read_only(config: GalleryConfig, error: Exception) -> GalleryReadOnlyError:
    return GalleryReadOnlyError(
        f"gallery.url: {config.address} takes no writes ({_short(error)}); point gallery.url to the primary, "
        "and look at its disk and replicas"
    )


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
