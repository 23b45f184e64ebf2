"""Reading vectors in bulk: all of a gallery, or of some identities, in pipelines, damaged ones named and left out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gallery.errors import CorruptVectorError, GalleryServerError, UnknownGalleryError
from gallery.keys import GalleryKeys
from gallery.schema import GalleryInfo, Polarity, decode_vector

__all__ = ["LoadedIdentity", "LoadedVector", "chunks", "load_gallery", "load_identities", "read_info"]

IDENTITIES_AT_A_TIME = 500
VECTORS_AT_A_TIME = 1_000
_Item = TypeVar("_Item")
VECTOR_FIELDS = ("embedding", "dtype", "epoch", "polarity", "enrolled_at_ms")


@dataclass(frozen=True, slots=True)
class LoadedVector:
    """A vector of an identity: `embedding` float32 [D], unit norm; None with the `fault` that makes it unusable."""

    number: int
    polarity: Polarity | None
    epoch: str | None
    enrolled_at_ms: int | None
    embedding: NDArray[np.float32] | None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class LoadedIdentity:
    """An identity with every vector of it that is stored."""

    identity_id: str
    name: str | None
    created_at_ms: int
    updated_at_ms: int
    vectors: list[LoadedVector] = field(default_factory=list)


def read_info(client: Any, gallery: str) -> GalleryInfo:
    """The gallery's `meta`. Raises: UnknownGalleryError, and redis-py's errors."""
    keys = GalleryKeys(gallery)
    pipe = client.pipeline(transaction=False)
    pipe.hgetall(keys.meta)
    pipe.zcard(keys.identities)
    meta, identities = pipe.execute()
    if not meta:
        raise UnknownGalleryError(
            f"gallery: expected one that exists, got {gallery!r}; `foveal gallery list` shows all, "
            f"`foveal gallery create {gallery}` makes it"
        )
    try:
        return _info(gallery, {k.decode(): v.decode() for k, v in meta.items()}, identities)
    except (KeyError, ValueError) as error:
        raise GalleryServerError(
            f"{keys.meta}: expected the fields of a gallery, got one that cannot be read ({error!r}); "
            f"remove it by `foveal gallery remove {gallery}` and enrol again"
        ) from error


def load_gallery(client: Any, info: GalleryInfo) -> Iterator[LoadedIdentity]:
    """Every identity of a gallery with its vectors, in bounded pipelines. Raises: redis-py's errors."""
    ids = [i.decode() for i in client.zrange(GalleryKeys(info.name).identities, 0, -1)]
    for some in chunks(ids, IDENTITIES_AT_A_TIME):
        yield from load_identities(client, info, some)


def load_identities(client: Any, info: GalleryInfo, identity_ids: Sequence[str]) -> Iterator[LoadedIdentity]:
    """These identities with their vectors; those that are not there (any more) are left out."""
    keys = GalleryKeys(info.name)
    pipe = client.pipeline(transaction=False)
    for identity_id in identity_ids:
        pipe.hmget(keys.identity(identity_id), "name", "created_at_ms", "updated_at_ms", "next_vector")
    found: dict[str, LoadedIdentity] = {}
    wanted: list[tuple[str, int]] = []
    for identity_id, reply in zip(identity_ids, pipe.execute(raise_on_error=False), strict=True):
        if isinstance(reply, Exception) or reply[3] is None:
            continue
        name, created, updated, next_vector = reply
        found[identity_id] = LoadedIdentity(
            identity_id,
            name.decode("utf-8", "replace") if name is not None else None,
            int(created or 0),
            int(updated or 0),
        )
        wanted.extend((identity_id, n) for n in range(int(next_vector)))
    for identity_id, vector in _vectors(client, keys, wanted, info.dimension):
        found[identity_id].vectors.append(vector)
    return iter(found.values())


def chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of `size` items, the last one shorter."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _info(gallery: str, text: dict[str, str], identities: int) -> GalleryInfo:
    return GalleryInfo(
        name=gallery,
        dimension=int(text["dimension"]),
        epoch=text["epoch"],
        threshold=float(text["threshold"]),
        storage="float16" if text["storage"] == "float16" else "float32",
        identities=identities,
        created_at_ms=int(text["created_at_ms"]),
        generation=text["generation"],
        seq=int(text["seq"]),
    )


def _vectors(
    client: Any, keys: GalleryKeys, wanted: Iterable[tuple[str, int]], dimension: int
) -> Iterator[tuple[str, LoadedVector]]:
    for some in chunks(wanted, VECTORS_AT_A_TIME):
        pipe = client.pipeline(transaction=False)
        for identity_id, number in some:
            pipe.hmget(keys.vector(identity_id, number), *VECTOR_FIELDS)
        for (identity_id, number), reply in zip(some, pipe.execute(raise_on_error=False), strict=True):
            yield identity_id, _loaded(keys.vector(identity_id, number), number, reply, dimension)


def _loaded(key: str, number: int, reply: Any, dimension: int) -> LoadedVector:
    if isinstance(reply, Exception):
        return LoadedVector(number, None, None, None, None, fault=f"{key}: {reply}")
    fields = dict(zip(VECTOR_FIELDS, reply, strict=True))
    polarity, epoch, at_ms = fields["polarity"], fields["epoch"], fields["enrolled_at_ms"]
    embedding, fault = None, None
    try:
        embedding = decode_vector(key, fields, dimension=dimension)
    except CorruptVectorError as error:
        fault = str(error)
    if polarity not in (b"positive", b"negative"):
        embedding, fault = None, fault or f"{key}: expected polarity positive or negative, got {polarity!r}"
    return LoadedVector(
        number=number,
        polarity="negative" if polarity == b"negative" else "positive" if polarity == b"positive" else None,
        epoch=epoch.decode("utf-8", "replace") if epoch is not None else None,
        enrolled_at_ms=int(at_ms) if at_ms is not None and at_ms.isdigit() else None,
        embedding=embedding,
        fault=fault,
    )
