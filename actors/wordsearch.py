"""A gallery searched by words, for the client and the gateway: who fits what was said."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.reid.spec import REID_NANO
from models.reid.words import Phrase, Words

__all__ = ["WordCandidate", "WordSearch", "WordSearcher"]


@dataclass(frozen=True, slots=True)
class WordCandidate:
    """An identity and how well the words fit it: `score` 0 to 1, the geometric mean of the phrases' probabilities.

    `matched`: the phrases that are likelier than not. `uncertainty`: the score's standard deviation over prompts and
    over what a picture of the same person might have shown.
    """

    identity_id: str
    name: str | None
    score: float
    uncertainty: float
    matched: tuple[str, ...]
    phrases: tuple[Phrase, ...]


@dataclass(frozen=True, slots=True)
class WordSearch:
    """Candidates best first, and what of the question was not understood."""

    text: str
    candidates: tuple[WordCandidate, ...]
    ignored: tuple[str, ...]


class WordSearcher:
    """Loads the words' weights and the text encoder at the first search; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: Words | None = None

    @property
    def epoch(self) -> str:
        """Whose embeddings can be searched by words."""
        return REID_NANO.stem

    def search(
        self,
        text: str,
        embeddings: NDArray[np.float32],
        owners: Sequence[int],
        who: Mapping[int, tuple[str, str | None]],
        top: int,
    ) -> WordSearch:
        """Rank the owners of embeddings [N, 512]; `who` tells the id and name of each.

        Raises: QuestionError where no phrase is understood, TextEncoderMissingError, WeightsMissingError.
        """
        words = self._loaded()
        question = words.read(text)
        hits = words.rank(question, embeddings, owners, top)
        candidates = tuple(
            WordCandidate(*who[one.owner], one.score, one.uncertainty, one.matched, one.phrases) for one in hits
        )
        return WordSearch(text, candidates, question.ignored)

    def _loaded(self) -> Words:
        with self._lock:
            if self._words is None:
                self._words = Words()
            return self._words
