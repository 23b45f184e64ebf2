"""Names of the Redis keys of a gallery.

All share the hash tag `{<gallery>}`, so that a Redis Cluster keeps a gallery in one slot and each write is one atomic
script (Redis Cluster specification, "Hash tags"). The one key outside is the register of gallery names: a hint only,
a gallery is there if and only if its `meta` is.
"""

import re
from dataclasses import dataclass

from gallery.errors import InvalidNameError

__all__ = ["REGISTER", "GalleryKeys", "check_identity_id"]

REGISTER = "foveal:galleries"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
_IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")


@dataclass(frozen=True, slots=True)
class GalleryKeys:
    """The keys of one gallery. Raises: InvalidNameError."""

    gallery: str

    def __post_init__(self) -> None:
        if not isinstance(self.gallery, str) or _NAME.fullmatch(self.gallery) is None:
            raise InvalidNameError(
                "gallery: expected 1 to 64 letters, digits, '_', '.', '-', first a letter or digit, "
                f"got {self.gallery!r}"
            )

    @property
    def prefix(self) -> str:
        return f"foveal:{{{self.gallery}}}:"

    @property
    def meta(self) -> str:
        """Hash: schema, dimension, epoch, threshold, storage, generation, seq, created_at_ms, changes; where set also
        calibration, expire_after_s, score_reference, provisional, crops."""
        return f"{self.prefix}meta"

    @property
    def vectors_prefix(self) -> str:
        """What the key of each vector of the gallery begins with."""
        return f"{self.prefix}vector:"

    @property
    def log(self) -> str:
        """Stream: one entry a change, numbered by `seq` without gaps; never an embedding or a name."""
        return f"{self.prefix}log"

    @property
    def audit(self) -> str:
        """Stream: who changed what and when; outlives the gallery by `gallery.audit_retention_s`."""
        return f"{self.prefix}audit"

    @property
    def identities(self) -> str:
        """Sorted set: identity id by the time of its enrolment in ms."""
        return f"{self.prefix}identities"

    @property
    def seen(self) -> str:
        """Sorted set: identity id by the time it was last seen in ms."""
        return f"{self.prefix}seen"

    @property
    def enrolments(self) -> str:
        """Hash: event id -> what its enrolment did."""
        return f"{self.prefix}enrolments"

    @property
    def enrolments_order(self) -> str:
        """List: event ids of `enrolments`, oldest first, to forget by."""
        return f"{self.prefix}enrolments-order"

    @property
    def sighted(self) -> str:
        """Sorted set: event ids of recorded sightings by arrival in ms."""
        return f"{self.prefix}sighted"

    @property
    def aliases(self) -> str:
        """Hash: id of an identity that was merged -> the id it lives on in."""
        return f"{self.prefix}aliases"

    @property
    def apart(self) -> str:
        """Set: two ids with a space between, known to be two people."""
        return f"{self.prefix}apart"

    @property
    def changes(self) -> str:
        """Sorted set: numbers of the changes that can be undone."""
        return f"{self.prefix}changes"

    @property
    def replicas(self) -> str:
        """Hash: replica -> "<time in ms> <generation> <seq> <JSON>": how far each index in memory is, how it fares."""
        return f"{self.prefix}replicas"

    def change(self, number: int) -> str:
        """Hash: op, from, into, moved, at_ms, who, reason and what undoing needs."""
        return f"{self.prefix}change:{number}"

    def identity(self, identity_id: str) -> str:
        """Hash: name, created_at_ms, updated_at_ms, next_vector, vectors and negatives (their numbers), revision."""
        return f"{self.prefix}identity:{identity_id}"

    def vector(self, identity_id: str, number: int) -> str:
        """Hash: embedding, dtype, epoch, polarity, quality, enrolled_at_ms."""
        return f"{self.prefix}vector:{identity_id}:{number}"

    def crop(self, identity_id: str, number: int) -> str:
        """String that expires: the encrypted picture which a vector was made of."""
        return f"{self.prefix}crop:{identity_id}:{number}"

    def sightings(self, identity_id: str) -> str:
        """Stream, capped: the newest sightings."""
        return f"{self.prefix}sightings:{identity_id}"


def check_identity_id(identity_id: str) -> str:
    """The id itself. Raises: InvalidNameError."""
    if not isinstance(identity_id, str) or _IDENTITY.fullmatch(identity_id) is None:
        raise InvalidNameError(
            "identity_id: expected 1 to 128 letters, digits, '_', '.', '-', first a letter or digit, "
            f"got {identity_id!r}; give people's names by `name`, any text goes there"
        )
    return identity_id
