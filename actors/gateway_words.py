"""The gateway's search by words."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict

from actors.wordsearch import WordSearcher
from gallery.index import GalleryIndex
from models.reid.prompts import LONGEST_QUESTION

__all__ = ["add_words"]


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class PhraseOut(_Out):
    """A phrase, the label that it was understood as, and how probable it is of this person."""

    text: str
    label: str
    probability: float


class WordCandidateOut(_Out):
    """`score`: geometric mean of the phrases' probabilities; `uncertainty`: its standard deviation."""

    identity_id: str
    name: str | None
    score: float
    uncertainty: float
    matched: list[str]
    phrases: list[PhraseOut]


class WordSearchOut(_Out):
    """`ignored`: phrases of the text that were not understood."""

    text: str
    candidates: list[WordCandidateOut]
    ignored: list[str]


def add_words(app: FastAPI, index: GalleryIndex) -> None:
    """Add `GET /v1/galleries/{gallery}/search?text=...`."""
    searcher = WordSearcher()

    @app.get("/v1/galleries/{gallery}/search", tags=["search"])
    def search_by_words(
        gallery: str,
        text: Annotated[str, Query(min_length=1, max_length=LONGEST_QUESTION, description="woman, red top, backpack")],
        top: Annotated[int, Query(ge=1, le=100)] = 5,
    ) -> WordSearchOut:
        """Whom do these words fit? Phrases between commas, about gender, age, hair, clothes, colours and bags."""
        embeddings, owners, who = index.positives(gallery, epoch=searcher.epoch)
        return WordSearchOut.model_validate(searcher.search(text, embeddings, owners, who, top))
