"""Reading identities in bulk, each as it stands at one moment, damaged vectors named and left out."""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gallery.errors import CorruptVectorError, GalleryServerError, UnknownGalleryError
from gallery.keys import GalleryKeys
from gallery.schema import (
    Calibration,
    CropPolicy,
    GalleryInfo,
    Identity,
    Polarity,
    ProvisionalPolicy,
    decode_vector,
    decode_vectors,
    vector_dtype,
)
from gallery.scripts import LOAD

__all__ = ["LoadedIdentity", "LoadedVector", "chunks", "load_gallery", "load_identities", "read_identity", "read_info"]

SCHEMA = "2"
FIRST_IDENTITIES, MOST_IDENTITIES = 16, 2_000
VECTORS_AT_A_TIME = 2_000  # 4 MB of 512 float32: the server is held for some 5 ms
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class LoadedVector:
    """A vector of an identity: `embedding` float32 [D], unit norm; None with the `fault` that makes it unusable."""

    number: int
    polarity: Polarity | None
    epoch: str | None
    quality: float | None
    enrolled_at_ms: int | None
    embedding: NDArray[np.float32] | None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class LoadedIdentity:
    """An identity with every vector of it that is stored. `revision` counts its changes."""

    identity_id: str
    name: str | None
    created_at_ms: int
    updated_at_ms: int
    revision: str
    vectors: list[LoadedVector] = field(default_factory=list)


def read_info(client: Any, gallery: str, *, epoch: str | None = None) -> GalleryInfo:
    """The gallery's `meta`; as it is for the network `epoch`, where it was of that before and can be still.

    Raises: UnknownGalleryError, and redis-py's errors.
    """
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
        text = {k.decode(): v.decode() for k, v in meta.items()}
        if epoch is not None and f"threshold:{epoch}" in text:
            text |= {"epoch": epoch, "threshold": text[f"threshold:{epoch}"]}
            text["calibration"] = text.get(f"calibration:{epoch}", "")
        return _info(gallery, text, identities)
    except (KeyError, ValueError) as error:
        raise GalleryServerError(
            f"{keys.meta}: expected the fields of a gallery, got one that cannot be read ({error!r}); "
            f"remove it by `foveal gallery remove {gallery}` and enrol again"
        ) from error


def load_gallery(client: Any, info: GalleryInfo, *, brief: bool = False) -> Iterator[LoadedIdentity]:
    """Every identity of a gallery with its vectors, in bounded steps. Raises: redis-py's errors."""
    ids = [i.decode() for i in client.zrange(GalleryKeys(info.name).identities, 0, -1)]
    yield from load_identities(client, info, ids, brief=brief)


def load_identities(
    client: Any, info: GalleryInfo, identity_ids: Sequence[str], *, brief: bool = False
) -> Iterator[LoadedIdentity]:
    """These identities with their vectors by the network `info.epoch`; who is not there (any more) is left out.

    That epoch need not be the gallery's any more: a copy stays of one network until it is loaded anew.
    In `brief`, positive vectors come without quality and time: less work, and all that a match needs. While one answer
    is taken apart the server is at work on the next.
    """
    keys = GalleryKeys(info.name)

    def ask(some: Sequence[str]) -> tuple[list[Any], bytes]:
        described, raw = client.eval(LOAD, 1, keys.meta, keys.prefix, "brief" if brief else "full", info.epoch, *some)
        return json.loads(described.decode("utf-8", "replace")) or [], raw

    if len(identity_ids) <= FIRST_IDENTITIES:
        if identity_ids:
            yield from _identities(keys, info, *ask(identity_ids))
        return
    with ThreadPoolExecutor(1, thread_name_prefix="gallery-load") as ahead:
        end = count = FIRST_IDENTITIES
        answer = ahead.submit(ask, identity_ids[:end])
        while True:
            found, raw = answer.result()
            vectors = sum(len(vectors) for *_, vectors in found)
            more = identity_ids[end : end + max(1, min(MOST_IDENTITIES, VECTORS_AT_A_TIME * count // max(1, vectors)))]
            if more:
                answer = ahead.submit(ask, more)
            yield from _identities(keys, info, found, raw)
            if not more:
                return
            end, count = end + len(more), len(more)


def chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of `size` items, the last one shorter."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _info(gallery: str, text: dict[str, str], identities: int) -> GalleryInfo:
    if text["schema"] != SCHEMA:
        raise ValueError(f"schema {text['schema']}, this version reads {SCHEMA}")
    calibration, provisional, crops = (text.get(name) for name in ("calibration", "provisional", "crops"))
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
        calibration=None if not calibration else Calibration.model_validate_json(calibration),
        expire_after_s=int(text["expire_after_s"]) if "expire_after_s" in text else None,
        provisional=None if provisional is None else ProvisionalPolicy.model_validate_json(provisional),
        crops=None if crops is None else CropPolicy.model_validate_json(crops),
    )


def _identities(keys: GalleryKeys, info: GalleryInfo, found: list[Any], raw: bytes) -> Iterator[LoadedIdentity]:
    """From what `lua/load.lua` said: headers, and the bytes of all vectors in their order."""
    usual = info.dimension * vector_dtype(info.storage).itemsize
    told = [vector for *_, vectors in found for vector in vectors]
    sizes = [usual if isinstance(v, str) else v[1] for v in told if isinstance(v, str) or v[1] >= 0]
    kinds = {info.storage if isinstance(v, str) else v[2] for v in told if isinstance(v, str) or v[1] >= 0}
    whole = decode_vectors(raw, kinds, sizes, info.dimension)
    place = row = 0
    for identity_id, name, created, updated, revision, vectors in found:
        loaded = []
        for vector in vectors:
            ready = None if whole is None else whole[row] if row < len(whole) else None
            if isinstance(vector, str):
                if ready is not None:
                    loaded.append(LoadedVector(int(vector), "positive", info.epoch, None, None, ready))
                    place, row = place + usual, row + 1
                    continue
                vector = [vector, usual, info.storage, True, "positive", None, None]
            if len(vector) == 3:
                key = keys.vector(identity_id, int(vector[0]))
                loaded.append(LoadedVector(int(vector[0]), None, None, None, None, None, fault=f"{key}: {vector[2]}"))
                continue
            size = max(0, vector[1])
            loaded.append(_vector(keys, identity_id, vector, info, raw[place : place + size], ready))
            place, row = place + size, row + (vector[1] >= 0)
        yield LoadedIdentity(identity_id, name or None, int(created), int(updated or 0), revision or "0", loaded)


def _vector(
    keys: GalleryKeys,
    identity_id: str,
    said: list[Any],
    info: GalleryInfo,
    raw: bytes,
    ready: NDArray[np.float32] | None,
) -> LoadedVector:
    text, size, dtype, epoch, polarity, quality, at_ms = said
    number, fault, embedding = int(text), None, ready
    if size < 0 or ready is None:
        key = keys.vector(identity_id, number)
        fields = {"embedding": raw if size >= 0 else None, "dtype": (dtype or "").encode()}
        try:
            embedding = decode_vector(key, fields, dimension=info.dimension)
        except CorruptVectorError as error:
            embedding, fault = None, str(error)
    if polarity not in ("positive", "negative"):
        key = keys.vector(identity_id, number)
        embedding, fault = None, fault or f"{key}: expected polarity positive or negative, got {polarity!r}"
        polarity = None
    return LoadedVector(
        number=number,
        polarity=polarity,
        epoch=info.epoch if epoch is True else epoch or None,
        quality=_number(quality),
        enrolled_at_ms=int(at_ms) if at_ms and at_ms.isdigit() else None,
        embedding=embedding,
        fault=fault,
    )


def _number(text: str | bool | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def read_identity(identity_id: str, fields: Any, seen: Any) -> Identity:
    """From replies that may be errors, where a hash is damaged: such an identity is listed with no vectors."""
    name, created, updated, *listed = (None,) * 5 if isinstance(fields, Exception) else fields
    return Identity(
        identity_id=identity_id,
        name=name.decode("utf-8", "replace") if name is not None else None,
        created_at_ms=int(created or 0),
        updated_at_ms=int(updated or 0),
        vector_count=sum(len(numbers.split(b",")) for numbers in listed if numbers),
        last_seen_at_ms=int(seen) if isinstance(seen, float) else None,
    )
