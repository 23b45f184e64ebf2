"""Redis as galleries need it: a connection, the scripts, and every refusal under a name of ours."""

import os
import socket
from types import TracebackType
from typing import Any, NoReturn, Self

from gallery.config import GalleryConfig
from gallery.connection import connect, named_errors
from gallery.errors import (
    ChangeError,
    DimensionMismatchError,
    EpochMismatchError,
    GalleryFullError,
    UnknownGalleryError,
    UnknownIdentityError,
)
from gallery.keys import GalleryKeys

__all__ = ["GalleryServer", "unknown_identity"]


class GalleryServer:
    """Connects at its first call; thread-safe; a context manager closes it."""

    def __init__(self, config: GalleryConfig, *, who: str | None = None) -> None:
        """`who` goes into the audit trail; by default host and process."""
        self.config = config
        self.who = who or f"{socket.gethostname()}/{os.getpid()}"
        self._connected: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; the next call connects again."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def check(self) -> str:
        """The server's name and version, for a check at start. Raises: within 10 s, as every method does."""
        with named_errors(self.config):
            reply = self.client.info("server")
        info = next(iter(reply.values())) if self.config.cluster else reply
        name = info.get("server_name", "redis")
        return f"{name} {info.get('valkey_version' if name == 'valkey' else 'redis_version', '?')}"

    def server_time_s(self) -> float:
        """The server's clock, seconds since the epoch."""
        with named_errors(self.config):
            seconds, micros = self.client.time()
        return float(seconds + micros / 1e6)

    @property
    def client(self) -> Any:
        """The redis-py client; its errors are given our names by `named_errors`."""
        if self._connected is None:
            self._connected = connect(self.config)
        return self._connected

    def run(self, script: str, keys: GalleryKeys, identity_id: str, *argv: Any, reason: str = "") -> list[Any]:
        """Run a script that begins with the prelude; its refusals come out as named errors."""
        config = self.config
        with named_errors(config):
            reply: list[Any] = self.client.eval(
                script,
                4,
                *(keys.meta, keys.log, keys.audit, keys.identities),
                *(keys.prefix, self.who, reason, config.log_maxlen, config.audit_maxlen, identity_id),
                *argv,
            )
        _refuse(keys.gallery, identity_id, reply[0].decode(), [_text(item) for item in reply[1:4]], argv)
        return reply


def unknown_identity(gallery: str, identity_id: str, into: str | None = None) -> NoReturn:
    """Raises: UnknownIdentityError, saying where a merged identity went."""
    went = f", which was merged into {into!r}" if into not in (None, identity_id) else ""
    raise UnknownIdentityError(
        f"identity_id: expected one of the gallery {gallery!r}, got {identity_id!r}{went}; "
        f"`foveal gallery show {gallery}` lists all"
    )


def _refuse(gallery: str, identity_id: str, said: str, items: list[str], argv: tuple[Any, ...]) -> None:
    match said:
        case "unknown_gallery":
            raise UnknownGalleryError(
                f"gallery: expected one that exists, got {gallery!r}; `foveal gallery list` shows all"
            )
        case "unknown_identity":
            unknown_identity(gallery, *items)
        case "dimension":
            raise DimensionMismatchError(f"embedding: the gallery {gallery!r} has dimension {items[0]} now")
        case "epoch":
            raise EpochMismatchError(
                f"epoch: expected {items[0]!r}, that of the gallery {gallery!r}, got {argv[5]!r}; "
                "embed with that model, or create a gallery for the new one and enrol again"
            )
        case "full" if items[0] == "merge":
            raise GalleryFullError(
                f"merge: together they have more than {items[1]} vectors (gallery {gallery!r}, identity "
                f"{identity_id!r}); split off or remove some first"
            )
        case "full":
            raise GalleryFullError(
                f"gallery.{items[0]}: the gallery {gallery!r} is at its bound of {items[1]} "
                f"(identity {identity_id!r}); remove some, or raise the setting"
            )
        case "same":
            raise ChangeError(f"identity_id: expected two identities, got {identity_id!r} twice")
        case "apart":
            raise ChangeError(
                f"merge: {items[0]!r} and {items[1]!r} are noted as two people; undo that note first, if it was wrong "
                f"(`foveal gallery show {gallery} --changes`)"
            )
        case "taken":
            raise ChangeError(f"new_id: expected an id that nobody has or had, got {items[0]!r}")
        case "not_a_part":
            raise ChangeError(
                f"vectors: expected some, not all, of the numbers {items[0] or '(none)'} of {identity_id!r}, "
                f"got {argv[0]!r}; `foveal gallery show {gallery} {identity_id}` lists them"
            )
        case "unknown_change":
            raise ChangeError(
                f"change: expected one that can be undone, got {items[0]!r}; "
                f"`foveal gallery show {gallery} --changes` lists them"
            )
        case "later":
            raise ChangeError(f"change: {items[0]} ({items[1]}) came later and moved the same people; undo it first")


def _text(reply: Any) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)
