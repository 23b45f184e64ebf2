"""People by words: how well each phrase of a question fits embeddings that a gallery already holds.

MP-ReID, AAAI 2024 (several written prompts and a learned one, aligned with pictures); Zhao et al., AAAI 2024 (a picture
is a Gaussian, whose spread is the answer's uncertainty). The maps are linear, so a phrase is a direction in the
embedding's own space: nothing more than embeddings is stored, and what is forgotten there is forgotten here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_safetensors

from models.errors import ModelError
from models.reid.attributes import GROUPS, LABELS
from models.reid.prompts import SAYINGS, TEMPLATES, phrases_of
from models.reid.spec import REID_NANO
from models.reid.text import TextEncoder
from models.spec import Weights
from models.weights import read_checked, restored

__all__ = ["Hit", "Phrase", "Question", "QuestionError", "Words", "words_paths"]

Array = NDArray[np.float32]
SHARPNESS = np.float32(16.0)
LEAST_LIKENESS = 0.6
"""Cosine of a phrase to the nearest saying from which it is understood."""
MOST_PHRASES = 12
DRAWS = 16
ROWS_AT_A_TIME = 65_536
_STARTS = (0, *np.cumsum([len(group.labels) for group in GROUPS]).tolist())
_GROUP_OF = [start for start, group in enumerate(GROUPS) for _ in group.labels]


class QuestionError(ModelError, ValueError):
    """A question holds no phrase about what the network tells of people."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of the question and the label that it was understood as. `probability`: that it holds of a person."""

    text: str
    label: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: phrases that were understood, and those that were not."""

    phrases: tuple[Phrase, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """One person. `score`: geometric mean of the phrases' probabilities, 0 to 1. `matched`: the phrases that hold.

    `uncertainty`: standard deviation of the score over prompts and over draws from the picture's Gaussian.
    """

    owner: int
    score: float
    uncertainty: float
    phrases: tuple[Phrase, ...]

    @property
    def matched(self) -> tuple[str, ...]:
        """The phrases that are likelier than not."""
        return tuple(one.text for one in self.phrases if (one.probability or 0) >= 0.5)


def words_paths(folder: Path = REID_NANO.folder) -> tuple[Path, Path]:
    """The weights that read embeddings of this epoch, and their record."""
    stem = f"reid-words-{REID_NANO.version}"
    return folder / f"{stem}.safetensors", folder / f"{stem}.json"


class Words:
    """`rank("woman, red top, backpack", embeddings, owners, 5)`. Thread-safe; the encoder is loaded at the first use.

    Raises at its making: WeightsMissingError, DigestError, TextEncoderMissingError.
    """

    def __init__(self, encoder: TextEncoder | None = None) -> None:
        path, record = words_paths()
        digest = json.loads(record.read_text(encoding="utf-8"))["weights"]["sha256"] if record.is_file() else ""
        state = restored(load_safetensors(read_checked(Weights(path, digest))))
        self._state = {name: values.astype(np.float32) for name, values in state.items()}
        self._encoder = encoder or TextEncoder()
        self._said = [label for label, sayings in enumerate(SAYINGS) for _ in sayings]
        self._directions_of = lru_cache(maxsize=512)(self._directions)

    @property
    def reader(self) -> Array:
        """The attributes' directions in the embedding's space [41, 512]."""
        return self._state["reader.weight"]

    def read(self, question: str) -> Question:
        """Which phrases are understood, and as what. Raises: QuestionError where none is."""
        understood: dict[str, Phrase] = {}
        ignored: list[str] = []
        for text in phrases_of(question):
            label = self._label_of(text)
            if label is None or len(understood) == MOST_PHRASES:
                ignored.append(text)
            else:
                understood[text] = Phrase(text, LABELS[label].name)
        if not understood:
            raise QuestionError(
                f"text: expected phrases such as 'woman, red top, backpack', understood nothing of {question!r}; "
                f"known are {', '.join(label.name for label in LABELS)}"
            )
        return Question(tuple(understood.values()), tuple(ignored))

    def rank(self, question: Question | str, embeddings: Array, owners: Sequence[int], top: int) -> list[Hit]:
        """The `top` owners whom the question fits best, best first; an owner of several rows has their mean.

        Shapes: embeddings [N, 512] unit norm, owners one for each row.
        Raises: QuestionError for a text of which nothing is understood.
        """
        asked = self.read(question) if isinstance(question, str) else question
        if not len(embeddings):
            return []
        numbers, places, counts = np.unique(np.asarray(owners), return_inverse=True, return_counts=True)
        fits = self.log_probabilities(asked, embeddings)
        sums = np.zeros((len(numbers), fits.shape[1]), np.float64)
        np.add.at(sums, places, fits)
        means = sums / counts[:, None]
        best = np.argsort(-means.mean(axis=1), kind="stable")[:top]
        return [self._hit(asked, int(numbers[one]), means[one], embeddings[places == one]) for one in best]

    def log_probabilities(self, question: Question, embeddings: Array) -> Array:
        """Of each phrase for each embedding: float32 [N, phrases]; attributes and aligned prompts in equal parts."""
        found = np.empty((len(embeddings), len(question.phrases)), np.float32)
        for start in range(0, len(embeddings), ROWS_AT_A_TIME):
            rows = embeddings[start : start + ROWS_AT_A_TIME]
            told = self.attributes(rows)
            for column, phrase in enumerate(question.phrases):
                prompts = self._by_prompts(phrase, rows)
                attribute = np.log(told[:, _index_of(phrase.label)])
                found[start : start + len(rows), column] = (attribute + prompts.mean(axis=0)) / 2
        return found

    def attributes(self, embeddings: Array) -> Array:
        """Probabilities of the labels, float32 [N, 41] in the order of `LABELS`, each group's sum 1."""
        logits = SHARPNESS * embeddings @ self._state["reader.weight"].T + self._state["reader.bias"]
        for start, end in pairwise(_STARTS):
            logits[:, start:end] -= logits[:, start:end].max(axis=1, keepdims=True)
            np.exp(logits[:, start:end], out=logits[:, start:end])
            logits[:, start:end] /= logits[:, start:end].sum(axis=1, keepdims=True)
        return np.asarray(np.maximum(logits, 1e-6), np.float32)

    def _by_prompts(self, phrase: Phrase, embeddings: Array) -> Array:
        """The log-probability of a phrase among its group's labels by each prompt: [prompts, N]."""
        directions, offsets = self._directions_of(phrase.text, phrase.label)
        logits = np.einsum("nd,pld->pnl", embeddings, directions, optimize=True) + offsets[:, None]
        logits -= logits.max(axis=2, keepdims=True)
        own = logits[:, :, 0] - np.log(np.exp(logits).sum(axis=2))
        return np.asarray(own, np.float32)

    def _directions(self, text: str, label: str) -> tuple[Array, Array]:
        """By each prompt the phrase, then its group's other labels: directions [P, L, 512] and offsets [P, L]."""
        index = _index_of(label)
        start, end = _STARTS[_GROUP_OF[index]], _STARTS[_GROUP_OF[index] + 1]
        sentences = [template.format(text) for template in TEMPLATES]
        own = np.stack([*self._encoder.encode(sentences), *self._encoder.encode([text], self._state["context"])])
        others = np.delete(self._state["labels"][:, start:end], index - start, axis=1)
        vectors = np.concatenate((own[:, None], others), axis=1)
        said = vectors @ self._state["text.weight"].T
        directions = SHARPNESS * np.exp(self._state["scale"]) * said @ self._state["image.weight"]
        offsets = vectors @ self._state["offset.weight"][0] + self._state["offset.bias"][0]
        return np.asarray(directions, np.float32), np.asarray(offsets, np.float32)

    def _label_of(self, text: str) -> int | None:
        """The label of the nearest saying; what begins with "no" is only ever a lack."""
        lacks = text.startswith("no ")
        likeness = self._state["sayings"] @ self._encoder.encode([text])[0]
        for place in np.argsort(-likeness).tolist():
            if likeness[place] < LEAST_LIKENESS:
                return None
            label: int = self._said[place]
            if LABELS[label].name.startswith("no ") == lacks:
                return label
        return None

    def _hit(self, question: Question, owner: int, means: NDArray[np.float64], rows: Array) -> Hit:
        """With the spread that prompts and the pictures' Gaussians give the score."""
        generator = np.random.default_rng(0)
        noise = generator.standard_normal((DRAWS, *rows.shape), np.float32) * self._state["spread"]
        drawn = (rows + noise).reshape(-1, rows.shape[1])
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        told = np.log(self.attributes(drawn))
        by_prompt = np.stack(
            [(self._by_prompts(one, drawn) + told[:, _index_of(one.label)]) / 2 for one in question.phrases]
        )
        scores = np.exp(by_prompt.reshape(len(question.phrases), -1, DRAWS, len(rows)).mean(axis=(0, 3)))
        pairs = zip(question.phrases, np.exp(means), strict=True)
        phrases = tuple(Phrase(one.text, one.label, float(probability)) for one, probability in pairs)
        return Hit(owner, float(np.exp(means.mean())), float(scores.std()), phrases)


def _index_of(name: str) -> int:
    return next(index for index, label in enumerate(LABELS) if label.name == name)
