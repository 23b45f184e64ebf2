"""Galleries from Python: enrol people from pictures or embeddings, search, list, remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from actors.config import AppConfig
from actors.crops import check_crop_keys, keep_crop
from actors.pictures import EmbeddedPerson, PersonEmbedder
from actors.wordsearch import WordSearch, WordSearcher
from foveal.settings import load_settings
from gallery import changes
from gallery.calibration import calibrate_gallery
from gallery.errors import EpochMismatchError, UnknownGalleryError
from gallery.proof import RemovalReceipt, prove
from gallery.schema import (
    Calibration,
    Candidate,
    Change,
    Enrolment,
    GalleryInfo,
    Identity,
    Match,
    Polarity,
    Sighting,
    check_embeddings,
)
from gallery.search import IdentityTable
from gallery.store import GalleryStore

__all__ = ["AmbiguousNameError", "Gallery", "Search"]

Box = tuple[float, float, float, float]


class AmbiguousNameError(ValueError):
    """Several identities have this name; the text lists their ids."""


@dataclass(frozen=True, slots=True)
class Search:
    """The answer to one search: the decision at the gallery's threshold, and the nearest identities whatever it is.

    `box_xyxy` is where the person was in the picture, None for an embedding.
    """

    match: Match
    candidates: tuple[Candidate, ...]
    threshold: float
    box_xyxy: Box | None


class Gallery:
    """One gallery, on the Redis of the settings or at `url`.

    ```python
    with Gallery("lobby") as lobby:
        lobby.enrol("Ada", image_bgr=picture)
        print(lobby.search(image_bgr=other).match)
    ```
    Everything is read from Redis when it is asked, so answers are never stale. Raises, from every method:
    GalleryUnavailableError within 10 s with the address and the remedy, and the other errors of `gallery.errors`.
    """

    def __init__(
        self, name: str = "default", *, url: str | None = None, config: AppConfig | None = None, create: bool = True
    ) -> None:
        """`create` makes the gallery at the first enrolment where it is not there."""
        settings = config if config is not None else load_settings()
        redis = (
            settings.gallery
            if url is None
            else type(settings.gallery)(**(settings.gallery.model_dump() | {"url": url}))
        )
        self.name = name
        self._create = create
        self._store = GalleryStore(redis)
        self._embedder = PersonEmbedder.of(settings)
        self._searcher = WordSearcher()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._store.close()

    def create(
        self, *, dimension: int | None = None, epoch: str | None = None, threshold: float | None = None
    ) -> GalleryInfo:
        """Make the gallery, for this project's embedder unless said otherwise; as it is where it is there already."""
        return self._store.create(
            self.name,
            dimension=dimension or self._embedder.dimension,
            epoch=epoch or self._embedder.epoch,
            threshold=threshold,
            exist_ok=True,
        )

    def enrol(
        self,
        name: str,
        *,
        image_bgr: NDArray[np.uint8] | None = None,
        box: Box | None = None,
        whole: bool = False,
        embedding: ArrayLike | None = None,
        identity_id: str | None = None,
        event_id: str | None = None,
        polarity: Polarity = "positive",
    ) -> Enrolment:
        """Add a person's picture (uint8 [H, W, 3] BGR) or embeddings ([D] or [K, D], unit norm) under a name.

        The person is the one in `box` (x1, y1, x2, y2 in pixels), the `whole` picture, or the largest found. A name
        that is there already gets another vector, unless `identity_id` says whose it is.
        Raises: AmbiguousNameError, NoPersonError.
        """
        person = self._person(image_bgr, box, whole, embedding)
        vectors = person.embedding if isinstance(person, EmbeddedPerson) else person
        info = self._info_or_create(vectors)
        if identity_id is None:
            identity_id = self._id_of(name)
        if image_bgr is not None:
            check_crop_keys(self._store, self.name)
        done = self._store.enrol(
            self.name,
            vectors,
            identity_id=identity_id,
            name=name,
            event_id=event_id,
            polarity=polarity,
            quality=person.quality if isinstance(person, EmbeddedPerson) else 1.0,
            epoch=self._embedder.epoch if isinstance(person, EmbeddedPerson) else info.epoch,
        )
        if image_bgr is not None and isinstance(person, EmbeddedPerson):
            keep_crop(self._store, self.name, done, image_bgr, person.box_xyxy)
        return done

    def search(
        self,
        *,
        image_bgr: NDArray[np.uint8] | None = None,
        box: Box | None = None,
        whole: bool = False,
        embedding: ArrayLike | None = None,
        top: int = 5,
    ) -> Search:
        """Look the person of a picture or one embedding up, exactly, among every vector of the gallery.

        Raises: UnknownGalleryError, EpochMismatchError, NoPersonError.
        """
        info = self.info()
        person = self._person(image_bgr, box, whole, embedding)
        if isinstance(person, EmbeddedPerson):
            self._same_epoch(info)
        vector = person.embedding if isinstance(person, EmbeddedPerson) else person
        found = self._table(info).rank(check_embeddings(vector, dimension=info.dimension)[:1], max(2, top))[0]
        return Search(
            match=Match.decide(found, info.threshold, info.calibration, provisional_from=info.provisional_from),
            candidates=tuple(found[:top]),
            threshold=info.threshold,
            box_xyxy=person.box_xyxy if isinstance(person, EmbeddedPerson) else None,
        )

    def search_by_words(self, text: str, *, top: int = 5) -> WordSearch:
        """Whom do words fit, such as "woman, red top, backpack"? Needs the extra `text`.

        Raises: UnknownGalleryError, EpochMismatchError for a gallery of another network, QuestionError where nothing
        is understood, TextEncoderMissingError.
        """
        info = self.info()
        if info.epoch != self._searcher.epoch:
            raise EpochMismatchError(
                f"epoch: words are read off the embeddings of {self._searcher.epoch}, the gallery {self.name!r} is of "
                f"{info.epoch}; search it by a picture, or enrol again"
            )
        return self._searcher.search(text, *self._table(info).positives(), top)

    def info(self) -> GalleryInfo:
        """The gallery's properties. Raises: UnknownGalleryError."""
        return self._store.info(self.name)

    def identities(self) -> list[Identity]:
        """Everyone in it, oldest first."""
        return self._store.list_identities(self.name)

    def show(self, identity_id: str) -> Identity:
        """One identity with its vectors described. Raises: UnknownIdentityError."""
        return self._store.show(self.name, identity_id)

    def sightings(self, identity_id: str, *, limit: int = 100) -> list[Sighting]:
        """Where an identity was seen, newest first. Raises: UnknownIdentityError."""
        return self._store.sightings(self.name, identity_id, limit=limit)

    def remove(self, identity_id: str, *, reason: str = "") -> RemovalReceipt:
        """Delete an identity with everything of it, and prove it. Raises: UnknownIdentityError."""
        return prove(self._store, self._store.remove(self.name, identity_id, reason=reason))

    def merge(self, identity_id: str, into: str, *, reason: str = "") -> Change:
        """Make an identity part of another. Raises: UnknownIdentityError, ChangeError."""
        return changes.merge(self._store, self.name, identity_id, into=into, reason=reason)

    def split(self, identity_id: str, vectors: Sequence[int], *, name: str | None = None, reason: str = "") -> Change:
        """Make an identity of some vectors of another. Raises: UnknownIdentityError, ChangeError."""
        return changes.split(self._store, self.name, identity_id, vectors, name=name, reason=reason)

    def undo(self, change: int | None = None, *, reason: str = "") -> Change:
        """Take a change back, the newest where none is named. Raises: ChangeError."""
        return changes.undo(self._store, self.name, change, reason=reason)

    def calibrate(self, fpir: float, *, strangers: NDArray[np.float32] | None = None) -> Calibration:
        """Set the threshold so that this share of strangers is let through. Raises: CalibrationError."""
        return calibrate_gallery(self._store, self.name, fpir, strangers=strangers)

    def set_threshold(self, threshold: float) -> None:
        """Set the cosine from which a match is `known`."""
        self._store.set_threshold(self.name, threshold)

    def drop(self) -> None:
        """Delete the whole gallery. Raises: UnknownGalleryError."""
        self._store.remove_gallery(self.name)

    def _person(
        self, image_bgr: NDArray[np.uint8] | None, box: Box | None, whole: bool, embedding: ArrayLike | None
    ) -> EmbeddedPerson | NDArray[np.float32]:
        if (image_bgr is None) == (embedding is None):
            raise TypeError("expected either image_bgr or embedding, got both or neither")
        if image_bgr is not None:
            return self._embedder.embed(image_bgr, box_xyxy=box, whole=whole)
        return check_embeddings(embedding if embedding is not None else ())

    def _table(self, info: GalleryInfo) -> IdentityTable:
        """Everyone as they stand in Redis now."""
        table = IdentityTable(info.dimension)
        for identity in self._store.load(self.name):
            usable = [
                (v.polarity, v.embedding)
                for v in identity.vectors
                if v.embedding is not None and v.polarity is not None and v.epoch == info.epoch
            ]
            table.put(identity.identity_id, identity.name, usable)
        return table

    def _same_epoch(self, info: GalleryInfo) -> None:
        if info.epoch != self._embedder.epoch:
            raise EpochMismatchError(
                f"epoch: the gallery {self.name!r} holds vectors of {info.epoch!r}, pictures are embedded by "
                f"{self._embedder.epoch!r}; set reid.network, `foveal gallery reembed {self.name}`, or enrol again"
            )

    def _info_or_create(self, vectors: NDArray[np.float32]) -> GalleryInfo:
        try:
            return self.info()
        except UnknownGalleryError:
            if not self._create:
                raise
            return self.create(dimension=vectors.shape[-1])

    def _id_of(self, name: str) -> str | None:
        same = [i.identity_id for i in self.identities() if i.name == name]
        if len(same) > 1:
            raise AmbiguousNameError(
                f"name: {len(same)} identities are named {name!r} ({', '.join(same)}); say which by its id"
            )
        return same[0] if same else None
