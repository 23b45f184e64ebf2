"""Merge, split, "these are two people", and taking any of these back."""

import uuid
from collections.abc import Sequence

from gallery import scripts
from gallery.connection import named_errors
from gallery.keys import GalleryKeys, check_identity_id
from gallery.schema import Change
from gallery.server import GalleryServer

__all__ = ["keep_apart", "list_changes", "merge", "split", "undo"]

MOST_VECTORS = 1_024
"""Of one polarity after a merge: more than `gallery.vectors_per_identity` may come together, and the next enrolment
keeps those worth most. Until then the merge can be undone whole."""


def merge(server: GalleryServer, gallery: str, identity_id: str, *, into: str, reason: str = "") -> Change:
    """Make an identity part of another: vectors, negatives, sightings, and the name where the other has none.

    Its id goes on to mean the other one for enrolments and sightings that still come.
    Raises: UnknownIdentityError, ChangeError (the same, or noted as two people), GalleryFullError.
    """
    reply = server.run(
        scripts.MERGE,
        GalleryKeys(gallery),
        check_identity_id(identity_id),
        *(check_identity_id(into), MOST_VECTORS, server.config.undo_maxlen),
        reason=reason,
    )
    return _change(reply[1], reply[2])


def split(
    server: GalleryServer,
    gallery: str,
    identity_id: str,
    vectors: Sequence[int],
    *,
    new_id: str | None = None,
    name: str | None = None,
    reason: str = "",
) -> Change:
    """Make an identity of some vectors of another. The sightings stay: nothing says which vector they are of.

    Raises: UnknownIdentityError, ChangeError (all of its vectors, none, or not its own; an id that was used).
    """
    new = check_identity_id(new_id) if new_id is not None else uuid.uuid4().hex
    numbers = ",".join(str(int(n)) for n in dict.fromkeys(vectors))
    reply = server.run(
        scripts.SPLIT,
        GalleryKeys(gallery),
        check_identity_id(identity_id),
        *(numbers, new, name or "", server.config.undo_maxlen),
        reason=reason,
    )
    return _change(reply[1], reply[2])


def keep_apart(server: GalleryServer, gallery: str, identity_id: str, other: str, *, reason: str = "") -> Change | None:
    """Note that two identities are two people: no merge until that is undone, no suspicion. None: it was noted before.

    Raises: UnknownIdentityError, ChangeError.
    """
    reply = server.run(
        scripts.APART,
        GalleryKeys(gallery),
        check_identity_id(identity_id),
        *(check_identity_id(other), server.config.undo_maxlen),
        reason=reason,
    )
    return _change(reply[1], reply[2]) if reply[1] else None


def undo(server: GalleryServer, gallery: str, number: int | None = None, *, reason: str = "") -> Change:
    """Take a change back, the newest where no number is given; returns what was undone.

    What was enrolled since stays where it is; a vector that made room for a better one since is not brought back.
    Raises: ChangeError - none such, or a later change moved the same people.
    """
    if number is None:
        newest = list_changes(server, gallery)[:1]
        number = newest[0].number if newest else 0
    reply = server.run(scripts.UNDO, GalleryKeys(gallery), "", number, reason=reason)
    return _change(number, reply[2])


def list_changes(server: GalleryServer, gallery: str) -> list[Change]:
    """The changes that can be undone, newest first."""
    keys = GalleryKeys(gallery)
    with named_errors(server.config):
        numbers = [int(n) for n in server.client.zrevrange(keys.changes, 0, -1)]
        pipe = server.client.pipeline(transaction=False)
        for number in numbers:
            pipe.hgetall(keys.change(number))
        found = pipe.execute()
    return [_change(n, [part for pair in f.items() for part in pair]) for n, f in zip(numbers, found, strict=True) if f]


def _change(number: int, flat: Sequence[bytes]) -> Change:
    """From field, value, field, value..."""
    fields = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
    return Change.model_validate(
        {
            "number": number,
            "op": fields["op"],
            "identity_id": fields["from"] or fields["into"],
            "into": fields["into"],
            "moved": fields.get("moved", ""),
            "at_ms": int(fields["at_ms"]),
            "who": fields["who"],
            "reason": fields["reason"],
        }
    )
