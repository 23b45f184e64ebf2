"""The galleries as they stand in Redis: the truth. Every write is one atomic script and one line of the change log.

Nothing here is kept in memory between calls, so any number of processes may use the same galleries; `GalleryIndex`
is the fast reader. Merge, split and undo are in `gallery/changes.py`.
"""

import random
import time
import uuid
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from gallery import scripts
from gallery.connection import named_errors
from gallery.errors import (
    GalleryBusyError,
    GalleryConfigError,
    GalleryExistsError,
    GalleryServerError,
    UnknownGalleryError,
)
from gallery.keys import REGISTER, GalleryKeys, check_identity_id
from gallery.queryindex import drop_embeddings_index, index_embeddings
from gallery.schema import (
    Calibration,
    Enrolment,
    GalleryInfo,
    Identity,
    Polarity,
    Removed,
    Sighting,
    SightingsRecorded,
    StoredVector,
    check_embeddings,
    check_qualities,
    encode_vector,
)
from gallery.selection import select
from gallery.server import GalleryServer, unknown_identity
from gallery.snapshot import LoadedIdentity, chunks, load_gallery, load_identities, read_identity, read_info

__all__ = ["GalleryStore"]

LOG_RETENTION_S = 3_600  # of a dropped gallery: long enough for every index to read the last line
PURGE_IDENTITIES = 200
SIGHTINGS_AT_A_TIME = 500
ENROL_TRIES = 50


class GalleryStore(GalleryServer):
    """Reads and writes galleries. Connects at its first call; thread-safe; a context manager closes it.

    Every method raises GalleryUnavailableError, GalleryAuthError, GalleryReadOnlyError, GalleryOutOfMemoryError or
    GalleryServerError when the server does not do it, and InvalidNameError for a name that cannot be a key. `reason`
    goes into the audit trail.
    """

    def create(
        self, gallery: str, *, dimension: int, epoch: str, threshold: float | None = None, exist_ok: bool = False
    ) -> GalleryInfo:
        """Make a gallery for embeddings of one length and model epoch.

        With `exist_ok` an existing gallery of the same dimension and epoch is returned as it is.
        Raises: GalleryExistsError, GalleryConfigError.
        """
        if dimension < 1 or dimension > 16_384:
            raise GalleryConfigError(f"dimension: expected 1 to 16384, got {dimension}")
        if not epoch:
            raise GalleryConfigError("epoch: expected the model's name and version, for example osnet-nano-3, got ''")
        value = _threshold(self.config.default_threshold if threshold is None else threshold)
        keys = GalleryKeys(gallery)
        generation = uuid.uuid4().hex
        with named_errors(self.config):
            self.client.sadd(REGISTER, gallery)  # first: a name without `meta` is harmless, the reverse is invisible
        for _ in range(2):
            said = self.run(scripts.CREATE, keys, "", dimension, epoch, value, self.config.storage, generation)[0]
            if said == b"leftovers":  # of a removal that was cut short
                self._purge(keys)
                continue
            break
        info = self.info(gallery)
        if said == b"exists":
            same = (info.dimension, info.epoch) == (dimension, epoch)
            if not (exist_ok and same):
                raise GalleryExistsError(
                    f"gallery: expected a new name, got {gallery!r}, which has dimension {info.dimension} and epoch "
                    f"{info.epoch!r}; take another name, or remove it by `foveal gallery remove {gallery}`"
                )
        with named_errors(self.config):
            index_embeddings(self, info)
        return info

    def list_galleries(self) -> list[GalleryInfo]:
        """Every gallery, by name."""
        with named_errors(self.config):
            names = sorted(name.decode() for name in self.client.smembers(REGISTER))
        found = []
        for name in names:
            try:
                found.append(self.info(name))
            except UnknownGalleryError:
                continue  # the register is a hint: a gallery that was never finished, or is gone
        return found

    def info(self, gallery: str) -> GalleryInfo:
        """One gallery. Raises: UnknownGalleryError."""
        with named_errors(self.config):
            return read_info(self.client, gallery)

    def set_threshold(self, gallery: str, threshold: float, *, reason: str = "") -> None:
        """Set the cosine from which a match is `known`, by hand: a calibration is thereby given up.

        Raises: UnknownGalleryError, GalleryConfigError.
        """
        self._configure(gallery, "threshold", reason, threshold=repr(_threshold(threshold)), calibration="")

    def set_calibration(self, gallery: str, calibration: Calibration, *, reason: str = "") -> None:
        """Set the threshold that was calibrated, and what turns scores into probabilities. Raises: as above."""
        stored = calibration.model_copy(update={"at_ms": round(self.server_time_s() * 1000)}).model_dump_json()
        value = repr(_threshold(calibration.threshold))
        self._configure(gallery, "calibrate", reason, threshold=value, calibration=stored, score_reference="")

    def set_expiry(self, gallery: str, expire_after_s: int | None, *, reason: str = "") -> None:
        """Let identities go that were neither seen nor changed for so long; None keeps them. Raises: as above."""
        if expire_after_s is not None and expire_after_s < 1:
            raise GalleryConfigError(f"expire_after_s: expected a second or more, got {expire_after_s}")
        self._configure(gallery, "expiry", reason, expire_after_s="" if expire_after_s is None else str(expire_after_s))

    def enrol(
        self,
        gallery: str,
        embedding: ArrayLike,
        *,
        identity_id: str | None = None,
        name: str | None = None,
        event_id: str | None = None,
        polarity: Polarity = "positive",
        quality: ArrayLike = 1.0,
        epoch: str | None = None,
        reason: str = "",
    ) -> Enrolment:
        """Add one [D] or several [K, D] unit-norm embeddings to an identity, new where the id is new or None.

        Idempotent by `event_id`: the same again writes nothing and returns what the first one did. A `negative` says
        "this is not that person". `quality`, 0 to 1, is one number or [K]: an identity that is full keeps those worth
        most (`gallery/selection.py`). `epoch` is the embedder's, checked against the gallery's where given.
        Raises: UnknownGalleryError, DimensionMismatchError, EpochMismatchError, GalleryFullError,
        InvalidEmbeddingError, GalleryBusyError.
        """
        given_id = check_identity_id(identity_id) if identity_id is not None else uuid.uuid4().hex
        info = self.info(gallery)
        rows = check_embeddings(embedding, dimension=info.dimension)
        qualities = check_qualities(quality, len(rows))
        event = event_id or uuid.uuid4().hex
        keep: list[int] = list(range(len(rows)))
        drop: tuple[int, ...] = ()
        revision = ""
        for attempt in range(ENROL_TRIES):
            reply = self.run(
                scripts.ENROL,
                GalleryKeys(gallery),
                given_id,
                *(event, name or "", polarity, info.storage, info.dimension),
                epoch if epoch is not None else info.epoch,
                *(self.config.max_identities, self.config.vectors_per_identity, self.config.events_maxlen),
                *(self.config.undo_maxlen, revision, ",".join(map(str, drop))),
                *(part for n in keep for part in (qualities[n], encode_vector(rows[n], info.storage))),
                reason=reason,
            )
            if reply[0] not in (b"crowded", b"changed"):
                break
            time.sleep(random.uniform(0, 0.002 * attempt))  # others write the same identity: out of step with them
            keep, drop, revision = self._make_room(info, reply[1].decode(), rows, qualities, polarity)
        else:
            raise GalleryBusyError(
                f"identity_id: {given_id!r} was changed by others {ENROL_TRIES} times while it was full; try again"
            )
        identity, _, listed = reply[1].decode().partition(" ")
        replayed = reply[0] == b"replayed"
        return Enrolment(
            identity_id=identity,
            vector_numbers=tuple(int(n) for n in listed.split(",") if n),
            event_id=event,
            replayed=replayed,
            replaced=() if replayed else tuple(drop),
            left_out=0 if replayed else len(rows) - len(keep),
        )

    def list_identities(self, gallery: str) -> list[Identity]:
        """Every identity of a gallery, oldest first, without its vectors. Raises: UnknownGalleryError."""
        self.info(gallery)
        keys = GalleryKeys(gallery)
        with named_errors(self.config):
            ids = [i.decode() for i in self.client.zrange(keys.identities, 0, -1)]
            found: list[Identity] = []
            for some in chunks(ids, SIGHTINGS_AT_A_TIME):
                pipe = self.client.pipeline(transaction=False)
                for identity_id in some:
                    pipe.hmget(
                        keys.identity(identity_id), "name", "created_at_ms", "updated_at_ms", "vectors", "negatives"
                    )
                    pipe.zscore(keys.seen, identity_id)
                replies = pipe.execute(raise_on_error=False)
                found.extend(read_identity(i, *replies[2 * n : 2 * n + 2]) for n, i in enumerate(some))
        return found

    def show(self, gallery: str, identity_id: str) -> Identity:
        """One identity with its vectors described. Raises: UnknownGalleryError, UnknownIdentityError."""
        info = self.info(gallery)
        with named_errors(self.config):
            loaded = next(iter(load_identities(self.client, info, [check_identity_id(identity_id)])), None)
            seen = self.client.zscore(GalleryKeys(gallery).seen, identity_id)
        if loaded is None:
            self._not_there(gallery, identity_id)
        return Identity(
            identity_id=identity_id,
            name=loaded.name,
            created_at_ms=loaded.created_at_ms,
            updated_at_ms=loaded.updated_at_ms,
            vector_count=len(loaded.vectors),
            last_seen_at_ms=int(seen) if seen is not None else None,
            vectors=tuple(
                StoredVector(
                    number=v.number,
                    epoch=v.epoch,
                    polarity=v.polarity,
                    quality=v.quality,
                    enrolled_at_ms=v.enrolled_at_ms,
                    fault=v.fault,
                )
                for v in loaded.vectors
            ),
        )

    def remove(self, gallery: str, identity_id: str, *, reason: str = "") -> Removed:
        """Delete an identity: its hash, every vector, its sightings, and every change that could bring some of it back.

        The audit trail keeps its id, nothing else. `gallery.proof.prove` shows that it is gone everywhere.
        Raises: UnknownGalleryError, UnknownIdentityError.
        """
        reply = self.run(
            scripts.REMOVE,
            GalleryKeys(gallery),
            check_identity_id(identity_id),
            self.config.vectors_per_identity,
            reason=reason,
        )
        vectors, sightings, changes, seq = (int(n) for n in reply[1:5])
        return Removed(
            gallery=gallery,
            identity_id=identity_id,
            vectors=vectors,
            sightings=sightings,
            changes=changes,
            crops=int(reply[7]),
            at_ms=int(reply[6]),
            generation=reply[5].decode(),
            seq=seq,
        )

    def expire(self, gallery: str) -> list[str]:
        """Remove who was neither seen nor changed for the gallery's `expire_after_s`; returns their ids.

        Raises: UnknownGalleryError.
        """
        info = self.info(gallery)
        if info.expire_after_s is None:
            return []
        keys, cutoff_ms = GalleryKeys(gallery), round(self.server_time_s() * 1000) - 1000 * info.expire_after_s
        with named_errors(self.config):
            enrolled_before = [i.decode() for i in self.client.zrangebyscore(keys.identities, "-inf", cutoff_ms)]
            gone: list[str] = []
            for some in chunks(enrolled_before, SIGHTINGS_AT_A_TIME):
                seen = self.client.zmscore(keys.seen, some)
                due = [i for i, at_ms in zip(some, seen, strict=True) if (at_ms or 0) < cutoff_ms]
                reply = self.run(
                    scripts.EXPIRE, keys, "", self.config.vectors_per_identity, cutoff_ms, *due, reason="expire_after_s"
                )
                gone += [i.decode() for i in reply[1:]]
        return gone

    def remove_gallery(self, gallery: str, *, reason: str = "") -> None:
        """Delete a gallery with everything in it; the audit trail stays for `gallery.audit_retention_s`.

        It is gone for every reader at once; its keys are freed in bounded steps. Cut short, the next `create` or
        `remove_gallery` of that name goes on. Raises: UnknownGalleryError.
        """
        keys = GalleryKeys(gallery)
        try:
            self.run(scripts.DROP, keys, "", LOG_RETENTION_S, self.config.audit_retention_s, reason=reason)
        except UnknownGalleryError:
            with named_errors(self.config):
                if not self.client.exists(keys.identities):
                    raise
        self._purge(keys)
        with named_errors(self.config):
            drop_embeddings_index(self, gallery)
            self.client.srem(REGISTER, gallery)

    def record_sightings(self, gallery: str, batch: Sequence[Sighting]) -> SightingsRecorded:
        """Add to the sightings of identities; an event id that was here before, or an unknown identity, adds nothing.

        Raises: UnknownGalleryError.
        """
        keys, counts = GalleryKeys(gallery), np.zeros(3, dtype=np.int64)
        for some in chunks(batch, SIGHTINGS_AT_A_TIME):
            fields: list[Any] = []
            for s in some:
                fields += [check_identity_id(s.identity_id), s.event_id, s.seen_at_ms, s.model_dump_json()]
            reply = self.run(
                scripts.SIGHTINGS, keys, "", self.config.sightings_maxlen, self.config.events_maxlen, *fields
            )
            counts += np.asarray(reply[1:], dtype=np.int64)
        recorded, duplicates, unknown = (int(n) for n in counts)
        return SightingsRecorded(recorded=recorded, duplicates=duplicates, unknown=unknown)

    def sightings(self, gallery: str, identity_id: str, *, limit: int = 100) -> list[Sighting]:
        """The newest sightings of an identity, newest first. Raises: UnknownGalleryError, UnknownIdentityError."""
        self.info(gallery)
        keys = GalleryKeys(gallery)
        with named_errors(self.config):
            if self.client.zscore(keys.identities, check_identity_id(identity_id)) is None:
                self._not_there(gallery, identity_id)
            entries = self.client.xrevrange(keys.sightings(identity_id), count=limit)
        try:
            found = [Sighting.model_validate_json(fields[b"sighting"]) for _, fields in entries]
            return [one.model_copy(update={"identity_id": identity_id}) for one in found]  # one may have been merged
        except ValidationError as error:
            raise GalleryServerError(f"{keys.sightings(identity_id)}: not written by this version: {error}") from error

    def audit(self, gallery: str, *, limit: int = 100) -> list[dict[str, str]]:
        """The newest lines of the audit trail, newest first: at_ms, op, identity, vectors, who, reason, detail."""
        with named_errors(self.config):
            entries = self.client.xrevrange(GalleryKeys(gallery).audit, count=limit)
        return [
            {"at_ms": entry_id.decode().partition("-")[0]} | {k.decode(): v.decode() for k, v in fields.items()}
            for entry_id, fields in entries
        ]

    def load(self, gallery: str) -> list[LoadedIdentity]:
        """Every identity with its vectors, for an exact search without an index. Raises: UnknownGalleryError."""
        with named_errors(self.config):
            return list(load_gallery(self.client, read_info(self.client, gallery)))

    def _configure(self, gallery: str, op: str, reason: str, **fields: str) -> None:
        pairs = [part for pair in fields.items() for part in pair]
        self.run(scripts.CONFIGURE, GalleryKeys(gallery), "", op, *pairs, reason=reason)

    def _make_room(
        self,
        info: GalleryInfo,
        identity_id: str,
        rows: NDArray[np.float32],
        qualities: list[float],
        polarity: Polarity,
    ) -> tuple[list[int], tuple[int, ...], str]:
        """Which of the new rows stay, the numbers of the old ones that go, and the revision that was looked at."""
        with named_errors(self.config):
            there = next(iter(load_identities(self.client, info, [identity_id])), None)
        old = [v for v in there.vectors if v.polarity in (polarity, None)] if there is not None else []
        sound = [v for v in old if v.embedding is not None and v.epoch == info.epoch]
        known = np.stack([v.embedding for v in sound if v.embedding is not None]) if sound else rows[:0]
        quality = np.array([1.0 if v.quality is None else v.quality for v in sound] + qualities)
        kept = set(select(np.concatenate([known, rows]), quality, self.config.vectors_per_identity))
        drop = [v.number for v in old if v not in sound]  # what cannot be compared is worth nothing
        drop += [v.number for n, v in enumerate(sound) if n not in kept]
        return (
            [n for n in range(len(rows)) if n + len(sound) in kept],
            tuple(sorted(drop)),
            "0" if there is None else there.revision,
        )

    def _not_there(self, gallery: str, identity_id: str) -> NoReturn:
        with named_errors(self.config):
            into = self.client.hget(GalleryKeys(gallery).aliases, identity_id)
        unknown_identity(gallery, identity_id, None if into is None else into.decode())

    def _purge(self, keys: GalleryKeys) -> None:
        while self.run(scripts.PURGE, keys, "", self.config.vectors_per_identity, PURGE_IDENTITIES)[0] == b"more":
            time.sleep(0)  # let other clients in between


def _threshold(value: float) -> float:
    if not -1.0 <= value <= 1.0:
        raise GalleryConfigError(f"threshold: expected a cosine from -1 to 1, got {value}")
    return float(value)
