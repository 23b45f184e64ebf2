"""That a removed identity is gone: no key names it, nothing in a key does, and every replica has forgotten it."""

import time

from pydantic import BaseModel, ConfigDict, computed_field

from gallery.connection import named_errors
from gallery.keys import GalleryKeys
from gallery.replicas import list_replicas
from gallery.schema import Removed
from gallery.server import GalleryServer

__all__ = ["RemovalReceipt", "prove"]

POLL_S = 0.01
KEYS_AT_A_TIME = 5_000


class RemovalReceipt(BaseModel):
    """What was removed, and what is left of it; `proven` is whether that is nothing."""

    model_config = ConfigDict(frozen=True)

    removed: Removed
    keys_left: tuple[str, ...]
    """Keys of the gallery that still name the identity, or members of its sets and hashes that do."""
    replicas: tuple[str, ...]
    """Those that have it no more: they have read the log to the removal or beyond."""
    replicas_left: tuple[str, ...]
    """Those that were heard of and have not said so within the time."""
    waited_s: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def proven(self) -> bool:
        """Nothing is left."""
        return not self.keys_left and not self.replicas_left


def prove(server: GalleryServer, removed: Removed, *, timeout_s: float = 2.0) -> RemovalReceipt:
    """Look through every key of the gallery, and wait for every live replica to have read so far.

    Not seen from here: Redis' own files (RDB, AOF) until it next writes them, and results that are in Kafka.
    """
    began_s = time.monotonic()
    while True:
        live = list_replicas(server, removed.gallery)
        left = [r.replica for r in live if r.generation == removed.generation and r.seq < removed.seq]
        if not left or time.monotonic() - began_s > timeout_s:
            break
        time.sleep(POLL_S)
    waited_s = time.monotonic() - began_s
    return RemovalReceipt(
        removed=removed,
        keys_left=tuple(_left(server, removed)),
        replicas=tuple(r.replica for r in live if r.replica not in left),
        replicas_left=tuple(left),
        waited_s=round(waited_s, 3),
    )


def _left(server: GalleryServer, removed: Removed) -> list[str]:
    """The id is looked for in names of keys, whoever wrote them; the log and the audit trail keep it on purpose."""
    keys, identity = GalleryKeys(removed.gallery), removed.identity_id
    with named_errors(server.config):
        client = server.client
        names = client.scan_iter(match=f"{keys.prefix}*{identity}*", count=KEYS_AT_A_TIME)
        left = [name.decode() for name in names if identity in name.decode()[len(keys.prefix) :].split(":")]
        for key in (keys.identities, keys.seen):
            if client.zscore(key, identity) is not None:
                left.append(f"{key} {identity}")
        if identity.encode() in client.hvals(keys.aliases):
            left.append(f"{keys.aliases} -> {identity}")
        left += [f"{keys.apart} {p.decode()}" for p in client.smembers(keys.apart) if identity in p.decode().split()]
    return sorted(left)
