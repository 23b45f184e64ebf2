"""Provisional identities: unknown people whom a gallery remembers where its policy says so, until they are named.

Such an identity is an ordinary one with an id that begins with `provisional-` and no name: it is merged, split,
removed and undone as all are. Whoever gives it a name makes it a known one. It never changes who is known: a match
answers `unknown` with the provisional identity's id beside it.
"""

import uuid
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gallery import changes, scripts
from gallery.connection import named_errors
from gallery.errors import ChangeError, GalleryConfigError, UnknownIdentityError
from gallery.index import GalleryIndex
from gallery.keys import GalleryKeys, check_identity_id
from gallery.schema import PROVISIONAL, Change, Enrolment, ProvisionalPolicy, Sighting, encode_vector, is_provisional
from gallery.snapshot import chunks, load_identities
from gallery.store import GalleryStore

__all__ = [
    "add_provisional",
    "add_view",
    "expire_provisional",
    "join",
    "name_identity",
    "provisional_ids",
    "set_policy",
]

CANDIDATES = 10
IDS_AT_A_TIME = 500
LEAST_VECTORS = 3
"""Of one of two that are merged: a single view may look like anybody."""
Track = tuple[str, int | None]


def set_policy(store: GalleryStore, gallery: str, policy: ProvisionalPolicy | None, *, reason: str = "") -> None:
    """Remember unknown people, or (None) no more of them: those that are there stay. Raises: UnknownGalleryError."""
    stored = "" if policy is None else policy.model_dump_json()
    store.run(scripts.CONFIGURE, GalleryKeys(gallery), "", "provisional", "provisional", stored, reason=reason)


def name_identity(store: GalleryStore, gallery: str, identity_id: str, name: str, *, reason: str = "") -> str:
    """Give an identity a name, which makes a provisional one known; returns its id. Raises: UnknownIdentityError."""
    if not name.strip():
        raise GalleryConfigError("name: expected some text, got none")
    reply = store.run(scripts.NAME, GalleryKeys(gallery), check_identity_id(identity_id), name, reason=reason)
    return str(reply[1].decode())


def provisional_ids(store: GalleryStore, gallery: str) -> list[str]:
    """Those that nobody has named, the longest unseen first."""
    keys, found = GalleryKeys(gallery), dict[str, float]()
    with named_errors(store.config):
        ids = [i.decode() for i in store.client.zrange(keys.identities, 0, -1)]
        for some in chunks([i for i in ids if i.startswith(PROVISIONAL)], IDS_AT_A_TIME):
            pipe = store.client.pipeline(transaction=False)
            for identity_id in some:
                pipe.hmget(keys.identity(identity_id), "name", "updated_at_ms")
                pipe.zscore(keys.seen, identity_id)
            replies = pipe.execute()
            for n, identity_id in enumerate(some):
                (name, updated), seen = replies[2 * n], replies[2 * n + 1]
                if name is None:
                    found[identity_id] = max(float(updated or 0), float(seen or 0))
    return sorted(found, key=lambda identity_id: found[identity_id])


def add_provisional(
    store: GalleryStore,
    gallery: str,
    views: NDArray[np.float32],
    qualities: Sequence[float],
    policy: ProvisionalPolicy,
    *,
    epoch: str,
    reason: str = "",
) -> Enrolment:
    """Remember a person by embeddings [K, D]; beyond `policy.at_most` the longest unseen ones go."""
    identity_id = PROVISIONAL + uuid.uuid4().hex
    done = store.enrol(gallery, views, identity_id=identity_id, quality=list(qualities), epoch=epoch, reason=reason)
    there = provisional_ids(store, gallery)
    _expire(store, gallery, there[: max(0, len(there) - policy.at_most)], None, "provisional: at_most")
    return done


def add_view(
    store: GalleryStore, gallery: str, identity_id: str, view: NDArray[np.float32], quality: float, *, epoch: str
) -> int | None:
    """Add an embedding [D] to a provisional identity; None where it was removed, named or changed, or is full.

    Returns the vector's number. Unlike an enrolment this never makes an identity: nobody who was deleted comes back.
    """
    info = store.info(gallery)
    with named_errors(store.config):
        there = next(iter(load_identities(store.client, info, [identity_id])), None)
    if there is None or not is_provisional(identity_id, there.name):
        return None
    config = store.config
    reply = store.run(
        scripts.ENROL,
        GalleryKeys(gallery),
        identity_id,
        *(uuid.uuid4().hex, "", "positive", info.storage, info.dimension, epoch),
        *(config.max_identities, config.vectors_per_identity, config.events_maxlen, config.undo_maxlen),
        *(there.revision, "", quality, encode_vector(view, info.storage)),
        reason="provisional: another view on his track",
    )
    return int(reply[1].split()[1]) if reply[0] == b"ok" else None


def expire_provisional(store: GalleryStore, gallery: str) -> list[str]:
    """Remove those neither seen nor changed for the policy's `expire_after_s`; returns their ids."""
    policy = store.info(gallery).provisional
    if policy is None:
        return []
    cutoff_ms = round(store.server_time_s() * 1000) - 1000 * policy.expire_after_s
    return _expire(store, gallery, provisional_ids(store, gallery), cutoff_ms, "provisional: expire_after_s")


def join(store: GalleryStore, index: GalleryIndex, gallery: str, identity_id: str) -> Change | None:
    """Merge a provisional identity with another that is surely the same person, the younger into the older.

    Sure: all vectors of the one, three or more, have in the mean a cosine with the other's nearest that reaches
    `GalleryInfo.provisional_from`, and their tracks were never on one stream at one time. An ordinary merge:
    audited, undone as all are, never against a note that they are two people. None: nobody, or another was quicker.
    """
    info = store.info(gallery)
    with named_errors(store.config):
        mine = next(iter(load_identities(store.client, info, [identity_id])), None)
    rows = [v.embedding for v in mine.vectors if v.embedding is not None] if mine is not None else []
    if info.provisional is None or mine is None or not rows:
        return None
    found = {c.identity_id: c for some in index.search(np.stack(rows), gallery, top=CANDIDATES) for c in some}
    others = [i for i, c in found.items() if is_provisional(i, c.name) and i != identity_id]
    sure = info.provisional_from
    with named_errors(store.config):
        loaded = list(load_identities(store.client, info, others))
    for other in sorted(loaded, key=lambda one: -found[one.identity_id].score):
        theirs = [v.embedding for v in other.vectors if v.embedding is not None]
        if not theirs:
            continue
        cosines = np.stack(rows) @ np.stack(theirs).T
        ways = [float(cosines.max(axis=way).mean()) for way in (0, 1) if cosines.shape[1 - way] >= LEAST_VECTORS]
        likeness = max(ways, default=-1.0)
        if likeness < sure or _seen_at_once(store, gallery, identity_id, other.identity_id):
            continue
        old, young = sorted([mine, other], key=lambda one: (one.created_at_ms, one.identity_id))
        reason = f"provisional: cosine {likeness:.3f}, {sure:.3f} is sure"
        try:
            return changes.merge(store, gallery, young.identity_id, into=old.identity_id, reason=reason)
        except (UnknownIdentityError, ChangeError):
            continue
    return None


def _seen_at_once(store: GalleryStore, gallery: str, one: str, other: str) -> bool:
    """Whether two tracks of one stream, one of each, were there at the same time: then they are two people."""
    try:
        spans = [_spans(store.sightings(gallery, identity_id)) for identity_id in (one, other)]
    except UnknownIdentityError:
        return True
    return any(
        stream == at and track != there and first <= end and start <= last
        for (stream, track), (first, last) in spans[0].items()
        for (at, there), (start, end) in spans[1].items()
    )


def _spans(sightings: Sequence[Sighting]) -> dict[Track, tuple[int, int]]:
    spans: dict[Track, tuple[int, int]] = {}
    for one in sightings:
        first, last = spans.get((one.stream_id, one.track_id), (one.seen_at_ms, one.seen_at_ms))
        spans[one.stream_id, one.track_id] = (min(first, one.seen_at_ms), max(last, one.seen_at_ms))
    return spans


def _expire(store: GalleryStore, gallery: str, ids: Sequence[str], cutoff_ms: int | None, reason: str) -> list[str]:
    """Remove those of the ids that were not seen since; None: all of them."""
    since_ms = round(store.server_time_s() * 1000) + 1 if cutoff_ms is None else cutoff_ms
    gone: list[str] = []
    for some in chunks(ids, IDS_AT_A_TIME):
        reply = store.run(
            scripts.EXPIRE,
            GalleryKeys(gallery),
            "",
            store.config.vectors_per_identity,
            since_ms,
            *some,
            reason=reason,
        )
        gone += [i.decode() for i in reply[1:]]
    return gone
