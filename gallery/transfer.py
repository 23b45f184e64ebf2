"""A gallery as one file, to keep or to carry to another server: NumPy's `.npz` of embeddings and a JSON description.

It holds what identifies people: it is written for its owner alone to read.
"""

import json
import os
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from gallery.changes import keep_apart
from gallery.connection import named_errors
from gallery.errors import ExportFileError
from gallery.keys import GalleryKeys
from gallery.schema import Calibration, GalleryInfo, Polarity, Sighting
from gallery.store import GalleryStore

__all__ = ["Transferred", "export_gallery", "import_gallery"]

MOST_SIGHTINGS = 10_000


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Vector(_Record):
    row: int
    polarity: Polarity
    quality: float


class _Identity(_Record):
    identity_id: str
    name: str | None
    vectors: tuple[_Vector, ...]
    sightings: tuple[Sighting, ...]


class _File(_Record):
    format: Literal["foveal-gallery-1"]
    name: str
    generation: str
    dimension: int
    epoch: str
    threshold: float
    calibration: Calibration | None
    expire_after_s: int | None
    identities: tuple[_Identity, ...]
    apart: tuple[tuple[str, str], ...]


class Transferred(_Record):
    """What went over. `left_out`: vectors that cannot be read, are of another epoch, or worth less than those there."""

    gallery: str
    identities: int
    vectors: int
    sightings: int
    left_out: int


def export_gallery(store: GalleryStore, gallery: str, path: Path) -> Transferred:
    """Write a gallery to a file that is whole or not there; times of enrolment and the trail stay behind.

    Raises: UnknownGalleryError, OSError.
    """
    info = store.info(gallery)
    rows: list[NDArray[np.float32]] = []
    people: list[_Identity] = []
    left_out = 0
    for one in store.load(gallery):
        vectors = []
        for v in one.vectors:
            if v.embedding is None or v.polarity is None or v.epoch != info.epoch:
                left_out += 1
                continue
            vectors.append(_Vector(row=len(rows), polarity=v.polarity, quality=1.0 if v.quality is None else v.quality))
            rows.append(v.embedding)
        seen = store.sightings(gallery, one.identity_id, limit=MOST_SIGHTINGS)
        people.append(
            _Identity(identity_id=one.identity_id, name=one.name, vectors=tuple(vectors), sightings=tuple(seen[::-1]))
        )
    with named_errors(store.config):
        pairs = sorted(pair.decode() for pair in store.client.smembers(GalleryKeys(gallery).apart))
    here = {one.identity_id for one in people}  # a pair may name one that was merged since
    described = _File(
        format="foveal-gallery-1",
        name=gallery,
        generation=info.generation,
        dimension=info.dimension,
        epoch=info.epoch,
        threshold=info.threshold,
        calibration=info.calibration,
        expire_after_s=info.expire_after_s,
        identities=tuple(people),
        apart=tuple((a, b) for a, b in (pair.split() for pair in pairs) if {a, b} <= here),
    )
    embeddings = np.stack(rows) if rows else np.zeros((0, info.dimension), np.float32)
    part = path.with_name(path.name + ".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        np.savez(file, embeddings=embeddings, gallery=np.frombuffer(described.model_dump_json().encode(), np.uint8))
    os.replace(part, path)
    return _transferred(gallery, people, left_out)


def import_gallery(store: GalleryStore, path: Path, *, name: str | None = None, reason: str = "") -> Transferred:
    """Enrol everybody of a file, in a gallery that is made where it is not there; the same file again adds nothing.

    Raises: ExportFileError, GalleryExistsError where a gallery of that name is for other embeddings.
    """
    described, embeddings = _read(path)
    gallery = name or described.name
    info: GalleryInfo = store.create(
        gallery,
        dimension=described.dimension,
        epoch=described.epoch,
        threshold=described.threshold,
        exist_ok=True,
    )
    left_out = 0
    for one in described.identities:
        for polarity in ("positive", "negative"):
            vectors = [v for v in one.vectors if v.polarity == polarity]
            if vectors:
                left_out += store.enrol(
                    gallery,
                    embeddings[[v.row for v in vectors]],
                    identity_id=one.identity_id,
                    name=one.name,
                    polarity=polarity,
                    quality=[v.quality for v in vectors],
                    event_id=f"import:{described.generation}:{one.identity_id}:{polarity}",
                    epoch=described.epoch,
                    reason=reason or f"import of {path.name}",
                ).left_out
        store.record_sightings(gallery, one.sightings)
    for one_id, other_id in described.apart:
        keep_apart(store, gallery, one_id, other_id, reason=reason)
    if info.identities == 0 and described.calibration is not None:
        store.set_calibration(gallery, described.calibration, reason=reason)
    if info.identities == 0 and described.expire_after_s is not None:
        store.set_expiry(gallery, described.expire_after_s, reason=reason)
    return _transferred(gallery, described.identities, left_out)


def _read(path: Path) -> tuple[_File, NDArray[np.float32]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            described = _File.model_validate(json.loads(arrays["gallery"].tobytes()))
            embeddings = arrays["embeddings"]
        if embeddings.dtype != np.float32 or embeddings.ndim != 2 or embeddings.shape[1] != described.dimension:
            raise ValueError(f"embeddings {embeddings.dtype} {list(embeddings.shape)}")
        rows = [v.row for one in described.identities for v in one.vectors]
        if rows and not 0 <= min(rows) <= max(rows) < len(embeddings):
            raise ValueError(f"rows beyond {len(embeddings)}")
    except (OSError, EOFError, KeyError, ValueError, ValidationError, BadZipFile) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ExportFileError(
            f"{path}: expected a file that `foveal gallery export` wrote, whole; {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    return described, embeddings


def _transferred(gallery: str, people: tuple[_Identity, ...] | list[_Identity], left_out: int) -> Transferred:
    return Transferred(
        gallery=gallery,
        identities=len(people),
        vectors=sum(len(one.vectors) for one in people),
        sightings=sum(len(one.sightings) for one in people),
        left_out=left_out,
    )
