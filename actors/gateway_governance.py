"""The REST routes of a gallery's government: merge, split, undo, negatives, calibration, removal, health, transfer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from gallery import changes
from gallery.calibration import calibrate_gallery
from gallery.crops import set_crop_policy
from gallery.health import GalleryCheck, check_gallery
from gallery.proof import RemovalReceipt, prove
from gallery.provisional import name_identity, set_policy
from gallery.schema import Calibration, Change, CropPolicy, GalleryInfo, Identity, ProvisionalPolicy
from gallery.store import GalleryStore
from gallery.transfer import Transferred, export_gallery, import_gallery

__all__ = ["add_governance"]

FILE = "application/vnd.foveal.gallery"


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str = Field(default="", max_length=1_000, description="why; goes into the audit trail")


class Merge(_Body):
    identity_id: str = Field(description="the identity that ends")
    into: str = Field(description="the identity that it becomes part of")


class Split(_Body):
    identity_id: str
    vectors: list[int] = Field(min_length=1, description="numbers of the vectors that are somebody else")
    new_id: str | None = None
    name: str | None = None


class Undo(_Body):
    change: int | None = Field(default=None, description="the newest where left out")


class Apart(_Body):
    identity_id: str
    other_id: str


class Calibrate(_Body):
    fpir: float = Field(default=0.01, gt=0, lt=1, description="the share of strangers that may be taken for somebody")
    strangers: list[list[float]] | None = Field(default=None, description="their embeddings; else the gallery's own")


class Expiry(_Body):
    expire_after_s: int | None = Field(ge=1, description="null keeps everybody")


class Provisional(_Body):
    policy: ProvisionalPolicy | None = Field(description="null remembers nobody new")


class Crops(_Body):
    policy: CropPolicy | None = Field(description="null keeps none, and deletes those that are kept")


class Naming(_Body):
    name: str = Field(min_length=1, max_length=1_000)


def add_governance(app: FastAPI, store: GalleryStore) -> None:
    """Add the routes."""

    @app.delete("/v1/galleries/{gallery}/identities/{identity_id}", tags=["identities"])
    def remove(gallery: str, identity_id: str, reason: str = "") -> RemovalReceipt:
        """Delete an identity with all that is of it, and prove that nothing is left in Redis or in any replica."""
        return prove(store, store.remove(gallery, identity_id, reason=reason))

    @app.get("/v1/galleries/{gallery}/changes", tags=["government"])
    def list_changes(gallery: str) -> list[Change]:
        """The changes that can be undone, newest first."""
        store.info(gallery)
        return changes.list_changes(store, gallery)

    @app.post("/v1/galleries/{gallery}/merge", tags=["government"])
    def merge(gallery: str, body: Merge) -> Change:
        """Two identities are one person."""
        return changes.merge(store, gallery, body.identity_id, into=body.into, reason=body.reason)

    @app.post("/v1/galleries/{gallery}/split", tags=["government"])
    def split(gallery: str, body: Split) -> Change:
        """Some vectors of an identity are somebody else."""
        return changes.split(
            store, gallery, body.identity_id, body.vectors, new_id=body.new_id, name=body.name, reason=body.reason
        )

    @app.post("/v1/galleries/{gallery}/undo", tags=["government"])
    def undo(gallery: str, body: Undo) -> Change:
        """Take a merge, a split, a negative or an "apart" back."""
        return changes.undo(store, gallery, body.change, reason=body.reason)

    @app.post("/v1/galleries/{gallery}/apart", tags=["government"])
    def apart(gallery: str, body: Apart) -> Change | None:
        """Two identities are two people; null where that was known. "This is not that person" is an enrolment with
        the polarity `negative`."""
        return changes.keep_apart(store, gallery, body.identity_id, body.other_id, reason=body.reason)

    @app.get("/v1/galleries/{gallery}/audit", tags=["government"])
    def audit(gallery: str, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> list[dict[str, str]]:
        """Who changed what, when and why, newest first."""
        return store.audit(gallery, limit=limit)

    @app.post("/v1/galleries/{gallery}/calibrate", tags=["government"])
    def calibrate(gallery: str, body: Calibrate) -> Calibration:
        """Set the threshold from data to the named share of strangers let through."""
        strangers = None if body.strangers is None else np.asarray(body.strangers, np.float32)
        return calibrate_gallery(store, gallery, body.fpir, strangers=strangers, reason=body.reason)

    @app.put("/v1/galleries/{gallery}/expiry", tags=["government"])
    def expiry(gallery: str, body: Expiry) -> GalleryInfo:
        """Let identities go that were neither seen nor changed for so long."""
        store.set_expiry(gallery, body.expire_after_s, reason=body.reason)
        return store.info(gallery)

    @app.put("/v1/galleries/{gallery}/provisional", tags=["government"])
    def provisional(gallery: str, body: Provisional) -> GalleryInfo:
        """Remember unknown people as provisional identities, or no more of them."""
        set_policy(store, gallery, body.policy, reason=body.reason)
        return store.info(gallery)

    @app.put("/v1/galleries/{gallery}/crops", tags=["government"])
    def crops(gallery: str, body: Crops) -> GalleryInfo:
        """Keep the crop that each vector was made of, encrypted; they are shown by `foveal gallery crop` only."""
        set_crop_policy(store, gallery, body.policy, reason=body.reason)
        return store.info(gallery)

    @app.put("/v1/galleries/{gallery}/identities/{identity_id}/name", tags=["identities"])
    def name(gallery: str, identity_id: str, body: Naming) -> Identity:
        """Name an identity; a provisional one is known from then on."""
        return store.show(gallery, name_identity(store, gallery, identity_id, body.name, reason=body.reason))

    @app.get("/v1/galleries/{gallery}/check", tags=["government"])
    def check(gallery: str) -> GalleryCheck:
        """How well a gallery is; `healthy` is false where there is a fault."""
        return check_gallery(store, gallery)

    @app.get("/v1/galleries/{gallery}/export", tags=["government"], response_class=Response)
    def export(gallery: str) -> Response:
        """The gallery as one file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gallery.npz"
            export_gallery(store, gallery, path)
            return Response(
                path.read_bytes(),
                media_type=FILE,
                headers={"Content-Disposition": f'attachment; filename="{gallery}.npz"'},
            )

    @app.post("/v1/galleries/{gallery}/import", tags=["government"], openapi_extra=_FILE_BODY)
    async def import_(request: Request, gallery: str, reason: str = "") -> Transferred:
        """Read such a file (the raw bytes as the body) into a gallery, made where it is not there."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gallery.npz"
            with path.open("wb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
            return await run_in_threadpool(import_gallery, store, path, name=gallery, reason=reason)


_FILE_BODY = {
    "requestBody": {"required": True, "content": {FILE: {"schema": {"type": "string", "format": "binary"}}}},
}
