"""The galleries as they stand in Redis: the truth. Every write is one atomic script and one line of the change log.

Nothing here is kept in memory between calls, so any number of processes may use the same galleries; `GalleryIndex`
is the fast reader.
"""

import os
import socket
import time
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from gallery import scripts
from gallery.config import GalleryConfig
from gallery.connection import connect, named_errors
from gallery.errors import (
    DimensionMismatchError,
    EpochMismatchError,
    GalleryConfigError,
    GalleryExistsError,
    GalleryFullError,
    GalleryServerError,
    UnknownGalleryError,
    UnknownIdentityError,
)
from gallery.keys import REGISTER, GalleryKeys, check_identity_id
from gallery.schema import (
    Enrolment,
    GalleryInfo,
    Identity,
    Polarity,
    Sighting,
    SightingsRecorded,
    StoredVector,
    check_embeddings,
    encode_vector,
)
from gallery.snapshot import LoadedIdentity, chunks, load_gallery, load_identities, read_info

__all__ = ["GalleryStore"]

LOG_RETENTION_S = 3_600  # of a dropped gallery: long enough for every index to read the last line
PURGE_IDENTITIES = 200
SIGHTINGS_AT_A_TIME = 500


class GalleryStore:
    """Reads and writes galleries. Connects at its first call; thread-safe; a context manager closes it.

    Every method raises GalleryUnavailableError, GalleryAuthError, GalleryReadOnlyError, GalleryOutOfMemoryError or
    GalleryServerError when the server does not do it, and InvalidNameError for a name that cannot be a key.
    """

    def __init__(self, config: GalleryConfig, *, who: str | None = None) -> None:
        """`who` goes into the audit trail; by default host and process."""
        self._config = config
        self._who = who or f"{socket.gethostname()}/{os.getpid()}"
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
        with named_errors(self._config):
            reply = self._client.info("server")
        info = next(iter(reply.values())) if self._config.cluster else reply
        name = info.get("server_name", "redis")
        return f"{name} {info.get('valkey_version' if name == 'valkey' else 'redis_version', '?')}"

    def server_time_s(self) -> float:
        """The server's clock, seconds since the epoch."""
        with named_errors(self._config):
            seconds, micros = self._client.time()
        return float(seconds + micros / 1e6)

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
        value = _threshold(self._config.default_threshold if threshold is None else threshold)
        keys = GalleryKeys(gallery)
        generation = uuid.uuid4().hex
        with named_errors(self._config):
            self._client.sadd(REGISTER, gallery)  # first: a name without `meta` is harmless, the reverse is invisible
        for _ in range(2):
            said = self._run(scripts.CREATE, keys, "", dimension, epoch, value, self._config.storage, generation)[0]
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
        return info

    def list_galleries(self) -> list[GalleryInfo]:
        """Every gallery, by name."""
        with named_errors(self._config):
            names = sorted(name.decode() for name in self._client.smembers(REGISTER))
        found = []
        for name in names:
            try:
                found.append(self.info(name))
            except UnknownGalleryError:
                continue  # the register is a hint: a gallery that was never finished, or is gone
        return found

    def info(self, gallery: str) -> GalleryInfo:
        """One gallery. Raises: UnknownGalleryError."""
        with named_errors(self._config):
            return read_info(self._client, gallery)

    def set_threshold(self, gallery: str, threshold: float) -> None:
        """Set the cosine from which a match is `known`. Raises: UnknownGalleryError, GalleryConfigError."""
        self._run(scripts.SET_THRESHOLD, GalleryKeys(gallery), "", _threshold(threshold))

    def enrol(
        self,
        gallery: str,
        embedding: ArrayLike,
        *,
        identity_id: str | None = None,
        name: str | None = None,
        event_id: str | None = None,
        polarity: Polarity = "positive",
        epoch: str | None = None,
    ) -> Enrolment:
        """Add one [D] or several [K, D] unit-norm embeddings to an identity, new where the id is new or None.

        Idempotent by `event_id`: the same again writes nothing and returns what the first one did. A `negative` says
        "this is not that person". `epoch` is the embedder's, checked against the gallery's where given.
        Raises: UnknownGalleryError, DimensionMismatchError, EpochMismatchError, GalleryFullError,
        InvalidEmbeddingError.
        """
        keys = GalleryKeys(gallery)
        given_id = check_identity_id(identity_id) if identity_id is not None else uuid.uuid4().hex
        info = self.info(gallery)
        rows = check_embeddings(embedding, dimension=info.dimension)
        event = event_id or uuid.uuid4().hex
        reply = self._run(
            scripts.ENROL,
            keys,
            given_id,
            event,
            name or "",
            polarity,
            info.storage,
            info.dimension,
            epoch if epoch is not None else info.epoch,
            self._config.max_identities,
            self._config.vectors_per_identity,
            self._config.events_maxlen,
            *(encode_vector(row, info.storage) for row in rows),
        )
        identity, _, listed = reply[1].decode().partition(" ")
        numbers = tuple(int(n) for n in listed.split(","))
        return Enrolment(identity_id=identity, vector_numbers=numbers, event_id=event, replayed=reply[0] == b"replayed")

    def list_identities(self, gallery: str) -> list[Identity]:
        """Every identity of a gallery, oldest first, without its vectors. Raises: UnknownGalleryError."""
        self.info(gallery)
        keys = GalleryKeys(gallery)
        with named_errors(self._config):
            ids = [i.decode() for i in self._client.zrange(keys.identities, 0, -1)]
            found: list[Identity] = []
            for some in chunks(ids, SIGHTINGS_AT_A_TIME):
                pipe = self._client.pipeline(transaction=False)
                for identity_id in some:
                    pipe.hmget(keys.identity(identity_id), "name", "created_at_ms", "updated_at_ms", "next_vector")
                    pipe.zscore(keys.seen, identity_id)
                replies = pipe.execute(raise_on_error=False)
                found.extend(_identity(i, *replies[2 * n : 2 * n + 2]) for n, i in enumerate(some))
        return found

    def show(self, gallery: str, identity_id: str) -> Identity:
        """One identity with its vectors described. Raises: UnknownGalleryError, UnknownIdentityError."""
        info = self.info(gallery)
        with named_errors(self._config):
            loaded = next(iter(load_identities(self._client, info, [check_identity_id(identity_id)])), None)
            seen = self._client.zscore(GalleryKeys(gallery).seen, identity_id)
        if loaded is None:
            _unknown_identity(gallery, identity_id)
        return Identity(
            identity_id=identity_id,
            name=loaded.name,
            created_at_ms=loaded.created_at_ms,
            updated_at_ms=loaded.updated_at_ms,
            vector_count=len(loaded.vectors),
            last_seen_at_ms=int(seen) if seen is not None else None,
            vectors=tuple(
                StoredVector(
                    number=v.number, epoch=v.epoch, polarity=v.polarity, enrolled_at_ms=v.enrolled_at_ms, fault=v.fault
                )
                for v in loaded.vectors
            ),
        )

    def remove(self, gallery: str, identity_id: str) -> None:
        """Delete an identity: its hash, every vector, its sightings. The audit trail keeps its id, nothing else.

        Raises: UnknownGalleryError, UnknownIdentityError.
        """
        self._run(
            scripts.REMOVE, GalleryKeys(gallery), check_identity_id(identity_id), self._config.vectors_per_identity
        )

    def remove_gallery(self, gallery: str) -> None:
        """Delete a gallery with everything in it; the audit trail stays for `gallery.audit_retention_s`.

        It is gone for every reader at once; its keys are freed in bounded steps. Cut short, the next `create` or
        `remove_gallery` of that name goes on. Raises: UnknownGalleryError.
        """
        keys = GalleryKeys(gallery)
        try:
            self._run(scripts.DROP, keys, "", LOG_RETENTION_S, self._config.audit_retention_s)
        except UnknownGalleryError:
            with named_errors(self._config):
                if not self._client.exists(keys.identities):
                    raise
        self._purge(keys)
        with named_errors(self._config):
            self._client.srem(REGISTER, gallery)

    def record_sightings(self, gallery: str, batch: Sequence[Sighting]) -> SightingsRecorded:
        """Add to the sightings of identities; an event id that was here before, or an unknown identity, adds nothing.

        Raises: UnknownGalleryError.
        """
        keys, counts = GalleryKeys(gallery), np.zeros(3, dtype=np.int64)
        for some in chunks(batch, SIGHTINGS_AT_A_TIME):
            fields: list[Any] = []
            for s in some:
                fields += [check_identity_id(s.identity_id), s.event_id, s.seen_at_ms, s.model_dump_json()]
            reply = self._run(
                scripts.SIGHTINGS, keys, "", self._config.sightings_maxlen, self._config.events_maxlen, *fields
            )
            counts += np.asarray(reply[1:], dtype=np.int64)
        recorded, duplicates, unknown = (int(n) for n in counts)
        return SightingsRecorded(recorded=recorded, duplicates=duplicates, unknown=unknown)

    def sightings(self, gallery: str, identity_id: str, *, limit: int = 100) -> list[Sighting]:
        """The newest sightings of an identity, newest first. Raises: UnknownGalleryError, UnknownIdentityError."""
        self.info(gallery)
        keys = GalleryKeys(gallery)
        with named_errors(self._config):
            if self._client.zscore(keys.identities, check_identity_id(identity_id)) is None:
                _unknown_identity(gallery, identity_id)
            entries = self._client.xrevrange(keys.sightings(identity_id), count=limit)
        try:
            return [Sighting.model_validate_json(fields[b"sighting"]) for _, fields in entries]
        except ValidationError as error:
            raise GalleryServerError(f"{keys.sightings(identity_id)}: not written by this version: {error}") from error

    def audit(self, gallery: str, *, limit: int = 100) -> list[dict[str, str]]:
        """The newest lines of the audit trail, newest first: at_ms, op, identity, vectors, who, detail."""
        with named_errors(self._config):
            entries = self._client.xrevrange(GalleryKeys(gallery).audit, count=limit)
        return [
            {"at_ms": entry_id.decode().partition("-")[0]} | {k.decode(): v.decode() for k, v in fields.items()}
            for entry_id, fields in entries
        ]

    def load(self, gallery: str) -> list[LoadedIdentity]:
        """Every identity with its vectors, for an exact search without an index. Raises: UnknownGalleryError."""
        with named_errors(self._config):
            return list(load_gallery(self._client, read_info(self._client, gallery)))

    @property
    def _client(self) -> Any:
        if self._connected is None:
            self._connected = connect(self._config)
        return self._connected

    def _run(self, script: str, keys: GalleryKeys, identity_id: str, *argv: Any) -> list[Any]:
        """Run a script; its refusals come out as named errors."""
        with named_errors(self._config):
            reply: list[Any] = self._client.eval(
                script,
                4,
                *(keys.meta, keys.log, keys.audit, keys.identities),
                *(keys.prefix, self._who, self._config.log_maxlen, self._config.audit_maxlen, identity_id),
                *argv,
            )
        match reply[0]:
            case b"unknown_gallery":
                raise UnknownGalleryError(
                    f"gallery: expected one that exists, got {keys.gallery!r}; `foveal gallery list` shows all"
                )
            case b"unknown_identity":
                _unknown_identity(keys.gallery, identity_id)
            case b"dimension":
                raise DimensionMismatchError(
                    f"embedding: the gallery {keys.gallery!r} has dimension {_text(reply[1])} now"
                )
            case b"epoch":
                raise EpochMismatchError(
                    f"epoch: expected {_text(reply[1])!r}, that of the gallery {keys.gallery!r}, got {argv[5]!r}; "
                    "embed with that model, or create a gallery for the new one and enrol again"
                )
            case b"full":
                raise GalleryFullError(
                    f"gallery.{_text(reply[1])}: the gallery {keys.gallery!r} is at its bound of {_text(reply[2])} "
                    f"(identity {identity_id!r}); remove some, or raise the setting"
                )
        return reply

    def _purge(self, keys: GalleryKeys) -> None:
        while self._run(scripts.PURGE, keys, "", self._config.vectors_per_identity, PURGE_IDENTITIES)[0] == b"more":
            time.sleep(0)  # let other clients in between


def _threshold(value: float) -> float:
    if not -1.0 <= value <= 1.0:
        raise GalleryConfigError(f"threshold: expected a cosine from -1 to 1, got {value}")
    return float(value)


def _identity(identity_id: str, fields: Any, seen: Any) -> Identity:
    """From replies that may be errors, where a hash is damaged: such an identity is listed with no vectors."""
    name, created, updated, count = (None,) * 4 if isinstance(fields, Exception) else fields
    return Identity(
        identity_id=identity_id,
        name=name.decode("utf-8", "replace") if name is not None else None,
        created_at_ms=int(created or 0),
        updated_at_ms=int(updated or 0),
        vector_count=int(count or 0),
        last_seen_at_ms=int(seen) if isinstance(seen, float) else None,
    )


def _unknown_identity(gallery: str, identity_id: str) -> NoReturn:
    raise UnknownIdentityError(
        f"identity_id: expected one of the gallery {gallery!r}, got {identity_id!r}; "
        f"`foveal gallery show {gallery}` lists all"
    )


def _text(reply: bytes | int) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)
