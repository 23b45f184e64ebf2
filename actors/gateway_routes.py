"""The REST address of galleries and status, as a FastAPI application that knows neither Ray nor Kafka."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from actors.crops import check_crop_keys, keep_crop
from actors.errors import ActorError
from actors.gateway_governance import add_governance
from actors.gateway_words import add_words
from actors.pictures import EmbeddedPerson, PersonEmbedder, decode_picture, parse_box
from actors.problems import install_problems
from gallery.config import GalleryConfig
from gallery.errors import GalleryUnavailableError
from gallery.expiry import expiring
from gallery.index import GalleryIndex
from gallery.schema import Enrolment, GalleryInfo, Identity, Polarity, Sighting
from gallery.store import GalleryStore

__all__ = ["GatewayServices", "build_api"]

MAX_BODY_BYTES = 32 * 1024 * 1024
API_VERSION = "1"
Status = Callable[[], Awaitable[dict[str, Any]]]


class BodyError(ActorError, ValueError):
    """A request's body is too large, or neither a picture nor the JSON that the path takes."""


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


T = TypeVar("T", bound=_Body)


class NewGallery(_Body):
    """`dimension` and `epoch` are those of the service's own embedder where left out."""

    name: str
    dimension: int | None = Field(default=None, ge=1, le=16_384)
    epoch: str | None = Field(default=None, min_length=1)
    threshold: float | None = Field(default=None, ge=-1, le=1)


class Threshold(_Body):
    threshold: float = Field(ge=-1, le=1)


class NewVectors(_Body):
    """Unit-norm embeddings of one person. The same `event_id` again enrols nothing twice."""

    embeddings: list[list[float]] = Field(min_length=1)
    name: str | None = None
    identity_id: str | None = None
    event_id: str | None = Field(default=None, min_length=1, max_length=256)
    polarity: Polarity = "positive"
    quality: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    epoch: str | None = None
    reason: str = ""


class OneEmbedding(_Body):
    """One unit-norm embedding to look up."""

    embedding: list[float] = Field(min_length=1)
    epoch: str | None = None


class CandidateOut(_Body):
    identity_id: str
    name: str | None
    score: float


class MatchOut(_Body):
    """`status`: known or unknown. A gallery that cannot be asked is a 503, never `unknown`."""

    status: str
    identity_id: str | None
    name: str | None
    score: float | None
    margin: float | None
    probability: float | None
    """That the best identity is the right one; null where the gallery is not calibrated."""
    provisional: str | None
    """The id under which the gallery remembers somebody unknown, where it does."""
    candidates: list[CandidateOut]
    box_xyxy: tuple[float, float, float, float] | None


@dataclass
class GatewayServices:
    """What the routes work with; `status` answers /v1/status."""

    store: GalleryStore
    index: GalleryIndex
    embedder: PersonEmbedder
    status: Status

    @classmethod
    @contextmanager
    def opened(cls, config: GalleryConfig, embedder: PersonEmbedder, status: Status) -> Iterator[GatewayServices]:
        """A store and a running index on one configuration."""
        with (
            GalleryStore(config, who="gateway") as store,
            GalleryIndex(config, epoch=embedder.epoch) as index,
            expiring(store, config.expire_every_s),
        ):
            yield cls(store, index, embedder, status)


_PICTURE_OR_JSON = {
    "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
    "image/png": {"schema": {"type": "string", "format": "binary"}},
}
Box = Annotated[str | None, Query(description="x1,y1,x2,y2 in pixels: the person in the picture")]
Whole = Annotated[bool, Query(description="the whole picture is one person")]


def build_api(services: GatewayServices) -> FastAPI:
    """The application: /healthz, /v1/galleries..., /v1/status, and its description at /docs and /openapi.json."""
    app = FastAPI(
        title="Foveal",
        version=API_VERSION,
        summary="Galleries of identities, search by picture or embedding, and how the service is.",
    )
    install_problems(app)
    store = services.store

    @app.get("/healthz", tags=["service"])
    def healthz() -> dict[str, Any]:
        """Whether this process answers (200), and how its galleries are."""
        health = services.index.health()
        return {"status": "ok" if health.available else "degraded", "galleries": asdict(health)}

    @app.get("/v1/status", tags=["service"])
    async def status() -> dict[str, Any]:
        """What the actors report: streams, results, drops, lag."""
        return await services.status()

    @app.get("/v1/galleries", tags=["galleries"])
    def list_galleries() -> list[GalleryInfo]:
        return store.list_galleries()

    @app.post("/v1/galleries", tags=["galleries"], status_code=201)
    def create_gallery(body: NewGallery) -> GalleryInfo:
        return store.create(
            body.name,
            dimension=body.dimension or services.embedder.dimension,
            epoch=body.epoch or services.embedder.epoch,
            threshold=body.threshold,
        )

    @app.get("/v1/galleries/{gallery}", tags=["galleries"])
    def show_gallery(gallery: str) -> GalleryInfo:
        return store.info(gallery)

    @app.patch("/v1/galleries/{gallery}", tags=["galleries"])
    def set_threshold(gallery: str, body: Threshold) -> GalleryInfo:
        store.set_threshold(gallery, body.threshold)
        return store.info(gallery)

    @app.delete("/v1/galleries/{gallery}", tags=["galleries"], status_code=204)
    def remove_gallery(gallery: str, reason: str = "") -> Response:
        store.remove_gallery(gallery, reason=reason)
        return Response(status_code=204)

    @app.get("/v1/galleries/{gallery}/identities", tags=["identities"])
    def list_identities(gallery: str) -> list[Identity]:
        return store.list_identities(gallery)

    @app.post(
        "/v1/galleries/{gallery}/identities",
        tags=["identities"],
        status_code=201,
        openapi_extra=_body_of(NewVectors),
    )
    async def enrol(
        request: Request,
        gallery: str,
        name: str | None = None,
        identity_id: str | None = None,
        event_id: str | None = None,
        box: Box = None,
        whole: Whole = False,
    ) -> Enrolment:
        """Enrol embeddings (JSON), or the largest person of a picture (the raw bytes as the body)."""
        body = await _read(request)

        def work() -> Enrolment:
            if _is_json(request):
                new = _parse(NewVectors, body)
                vectors: Any = _matrix(new.embeddings)
            else:
                picture = decode_picture(body, "body")
                person = services.embedder.embed(picture, box_xyxy=parse_box(box) if box else None, whole=whole)
                vectors = person.embedding
                check_crop_keys(store, gallery)
                new = NewVectors(
                    embeddings=[[0.0]],  # the picture's own vector stands in its place
                    name=name,
                    identity_id=identity_id,
                    event_id=event_id,
                    quality=[person.quality],
                    epoch=services.embedder.epoch,
                )
            done = store.enrol(
                gallery,
                vectors,
                identity_id=new.identity_id,
                name=new.name,
                event_id=new.event_id,
                polarity=new.polarity,
                quality=1.0 if new.quality is None else new.quality,
                epoch=new.epoch,
                reason=new.reason,
            )
            if not _is_json(request):
                keep_crop(store, gallery, done, picture, person.box_xyxy)
            return done

        return await run_in_threadpool(work)

    @app.get("/v1/galleries/{gallery}/identities/{identity_id}", tags=["identities"])
    def show(gallery: str, identity_id: str) -> Identity:
        return store.show(gallery, identity_id)

    @app.get("/v1/galleries/{gallery}/identities/{identity_id}/sightings", tags=["identities"])
    def sightings(gallery: str, identity_id: str, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[Sighting]:
        return store.sightings(gallery, identity_id, limit=limit)

    @app.post("/v1/galleries/{gallery}/search", tags=["search"], openapi_extra=_body_of(OneEmbedding))
    async def search(
        request: Request,
        gallery: str,
        top: Annotated[int, Query(ge=1, le=100)] = 5,
        box: Box = None,
        whole: Whole = False,
    ) -> MatchOut:
        """Look an embedding (JSON) or the largest person of a picture up."""
        body = await _read(request)

        def work() -> MatchOut:
            person: EmbeddedPerson | None = None
            if _is_json(request):
                query = _parse(OneEmbedding, body)
                vector, epoch = _matrix([query.embedding]), query.epoch
            else:
                person = _person(services.embedder, body, box, whole)
                vector, epoch = person.embedding[None], services.embedder.epoch
            match = services.index.match(vector, gallery, epoch=epoch)[0]
            if match.status == "unavailable":
                raise GalleryUnavailableError(
                    f"gallery: {gallery!r} cannot be asked now ({services.index.health().error or 'still loading'}); "
                    "this says nothing about the person; try again"
                )
            candidates = services.index.search(vector, gallery, top=top)[0]
            return MatchOut(
                **asdict(match),
                candidates=[CandidateOut(**asdict(c)) for c in candidates],
                box_xyxy=None if person is None else person.box_xyxy,
            )

        return await run_in_threadpool(work)

    add_governance(app, store)
    add_words(app, services.index)
    return app


async def _read(request: Request) -> bytes:
    """The body, cut off at 32 MiB whatever its headers say. Raises: BodyError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BodyError(f"body: expected at most {MAX_BODY_BYTES:,} bytes, got more; send a smaller picture")
    return bytes(body)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _parse(kind: type[T], body: bytes) -> T:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(str(part) for part in e['loc']) or 'body'}: {e['msg']}" for e in error.errors())
        raise BodyError(f"{said}; /docs shows what the path takes") from error


def _matrix(rows: list[list[float]]) -> Any:
    if len({len(row) for row in rows}) > 1:
        raise BodyError(f"embeddings: expected rows of one length, got {sorted({len(row) for row in rows})}")
    return np.asarray(rows, np.float32)


def _person(embedder: PersonEmbedder, body: bytes, box: str | None, whole: bool) -> EmbeddedPerson:
    return embedder.embed(decode_picture(body, "body"), box_xyxy=parse_box(box) if box else None, whole=whole)


def _body_of(kind: type[BaseModel]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    content = {"application/json": {"schema": schema}, **_PICTURE_OR_JSON}
    return {"requestBody": {"required": True, "content": content}}
