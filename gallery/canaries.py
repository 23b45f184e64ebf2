"""Canaries: identities read from Redis are looked up in memory, as a frame would be, and must be found."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gallery.keys import GalleryKeys
from gallery.snapshot import load_identities

if TYPE_CHECKING:
    from gallery.follower import Replica

__all__ = ["Canaries", "look_up"]

AT_ONCE = 4
SAME = 0.999
"""Cosine of a stored vector with itself, with room for float16."""


@dataclass
class Canaries:
    """How the looks went."""

    looked_up: int = 0
    failed: tuple[str, ...] = ()
    """Ids that were not found at the last look nor the one before; one failure alone may be a change on its way."""
    missing: tuple[str, ...] = ()


def look_up(client: Any, replica: "Replica") -> None:
    """Look up a few at random, and again those that were missing. Raises: redis-py's errors."""
    keys = GalleryKeys(replica.info.name)
    drawn = {i.decode() for i in client.zrandmember(keys.identities, AT_ONCE) or ()} | set(replica.canaries.missing)
    missing = []
    for identity in load_identities(client, replica.info, sorted(drawn)):
        sound = [
            v.embedding
            for v in identity.vectors
            if v.embedding is not None and v.polarity == "positive" and v.epoch == replica.info.epoch
        ]
        if sound and not _found(replica, identity.identity_id, random.choice(sound)):
            missing.append(identity.identity_id)
    canaries = replica.canaries
    canaries.looked_up += len(drawn)
    canaries.failed = tuple(i for i in missing if i in canaries.missing)
    canaries.missing = tuple(missing)


def _found(replica: "Replica", identity_id: str, vector: NDArray[np.float32]) -> bool:
    """Among the best of its own vector, of which a twin may hold the same."""
    with replica.lock:
        best = replica.table.rank(vector[None], top=AT_ONCE)[0]
    return any(one.identity_id == identity_id and one.score >= SAME for one in best)
