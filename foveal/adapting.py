"""Adapting the embedder to a site: its pictures out of a gallery or a folder, and the training."""

from __future__ import annotations

import importlib
import importlib.util
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.cropfiles import crops_of
from actors.pictures import PictureError
from gallery.crops import list_crops, open_crops
from gallery.schema import Sighting
from gallery.store import GalleryStore
from training.reid.site import UNKNOWN, SiteCrops

if TYPE_CHECKING:
    from models.engine import EngineConfig
    from models.spec import ModelSpec

__all__ = ["TrainingMissingError", "folder_crops", "gallery_crops", "need_training", "train_for_site"]

NEAR_MS = 10_000
"""A sighting so near to a vector's enrolment tells on which stream its picture was taken."""
MOST_SIGHTINGS = 10_000
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
Said = Callable[[float, dict[str, float]], None]


class TrainingMissingError(ValueError):
    """This environment cannot train: it has no torch."""


def need_training() -> None:
    """Before anything else is done. Raises: TrainingMissingError."""
    if importlib.util.find_spec("torch") is None:
        raise TrainingMissingError(
            "adapting needs torch, which this environment lacks; run `make setup-train` and use "
            ".venv-train/bin/foveal, or install the extra foveal[train]; the service needs none"
        )


def gallery_crops(store: GalleryStore, gallery: str, network: ModelSpec, *, reason: str = "") -> SiteCrops:
    """The kept crops of a gallery's people, decrypted in memory; each identity's opening is in the audit trail.

    A picture's camera is the stream of the sighting nearest to its enrolment, where one is near. Negatives are somebody
    else, and are left out. Raises: UnknownGalleryError, CropKeyError.
    """
    found: list[SiteCrops] = []
    for identity in store.list_identities(gallery):
        identity_id = identity.identity_id
        kept = set(list_crops(store, gallery, identity_id))
        vectors = [v for v in store.show(gallery, identity_id).vectors if v.number in kept and v.polarity == "positive"]
        if not vectors:
            continue
        numbers = [v.number for v in vectors]
        opened = open_crops(store, gallery, identity_id, numbers, what_for="adapt the embedder", reason=reason)
        seen = sorted(store.sightings(gallery, identity_id, limit=MOST_SIGHTINGS), key=lambda one: one.seen_at_ms)
        times = {v.number: v.enrolled_at_ms for v in vectors}
        cameras = tuple(_stream_of(seen, times[number]) for number in opened)
        images = crops_of(list(opened.values()), network)
        found.append(SiteCrops(images, (identity_id,) * len(images), cameras))
    return _together(found, network)


def folder_crops(folder: Path, network: ModelSpec) -> SiteCrops:
    """Pictures of a person each: FOLDER/person/camera/*.jpg, FOLDER/person/*.jpg, or FOLDER/*.jpg of nobody knows whom.

    Raises: PictureError for a folder without a picture, or a file that is none.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise PictureError(f"--crops: expected JPEG or PNG pictures under {folder}, found none")
    places = [path.relative_to(folder).parts[:-1] for path in paths]
    return SiteCrops(
        images=crops_of([path.read_bytes() for path in paths], network),
        people=tuple(place[0] if place else UNKNOWN for place in places),
        cameras=tuple(place[1] if len(place) > 1 else UNKNOWN for place in places),
    )


def train_for_site(
    site: SiteCrops,
    now: ModelSpec,
    new: ModelSpec,
    engine: EngineConfig,
    said: Said,
    *,
    minutes: float,
    threads: int,
    seed: int,
) -> Any:
    """`training.reid.adaptation.adapt_site`, which needs torch and is therefore imported only here.

    Raises: TrainingMissingError, NotEnoughToJudgeError, NoClustersError.
    """
    need_training()
    adapter = importlib.import_module("training.reid.adapter")
    adaptation = importlib.import_module("training.reid.adaptation")
    config = adapter.AdaptConfig(minutes=minutes, threads=threads, seed=seed)
    return adaptation.adapt_site(site, now, new, config, engine, said)


def _stream_of(seen: Sequence[Sighting], at_ms: int | None) -> str:
    if at_ms is None or not seen:
        return UNKNOWN
    place = bisect_left([one.seen_at_ms for one in seen], at_ms)
    nearest = min(seen[max(0, place - 1) : place + 1], key=lambda one: abs(one.seen_at_ms - at_ms))
    return nearest.stream_id if abs(nearest.seen_at_ms - at_ms) <= NEAR_MS else UNKNOWN


def _together(parts: Sequence[SiteCrops], network: ModelSpec) -> SiteCrops:
    width, height = network.input.size_wh
    return SiteCrops(
        images=np.concatenate([np.empty((0, height, width, 3), np.uint8), *(one.images for one in parts)]),
        people=tuple(person for one in parts for person in one.people),
        cameras=tuple(camera for one in parts for camera in one.cameras),
    )
