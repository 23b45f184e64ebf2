"""Attributes and search by words on embeddings of people whom the network never saw. Needs no torch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.reid.attributes import GROUPS, LABELS
from models.reid.prompts import SAYINGS
from models.reid.words import Phrase, Question, Words
from training.reid.attributes import label_rows, said_in_a_question

__all__ = ["attribute_accuracy", "search_by_words"]

STARTS = (0, *np.cumsum([len(group.labels) for group in GROUPS]).tolist())
FEW = 3
SEED = 0


def attribute_accuracy(words: Words, embeddings: NDArray[np.float32], told: NDArray[np.int64]) -> dict[str, float]:
    """Percent of crops whose label is named right, of each group and in the mean; told int64 [N, 12], -1 unknown."""
    found = words.attributes(embeddings)
    accuracy = {}
    for column, (group, (start, end)) in enumerate(zip(GROUPS, pairwise(STARTS), strict=True)):
        known = told[:, column] >= 0
        right = found[known, start:end].argmax(axis=1) == told[known, column]
        accuracy[group.name] = 100 * float(right.mean())
    return {"mean": float(np.mean(list(accuracy.values()))), **accuracy}


def search_by_words(
    words: Words, embeddings: NDArray[np.float32], identities: NDArray[np.int64], told: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """Ask for each person by all that one would say of them, and by three phrases of it; rank the crops.

    A crop is right where every label that was asked for is its person's. Two people of one description ask once.
    Returns for each kind of question recall at 1, 5, 10 and mAP in percent, of the attributes' probabilities alone
    too, and recall at 1 of the half of the questions whose best crop is least uncertain.
    """
    held = label_rows(told)
    generator = np.random.default_rng(SEED)
    found: dict[str, dict[str, float]] = {}
    everything = [np.flatnonzero(held[np.flatnonzero(identities == one)[0]] & _said()) for one in np.unique(identities)]
    for kind, most in (("described", len(LABELS)), ("three phrases", FEW)):
        asked = {tuple(sorted(generator.permutation(labels)[:most].tolist())) for labels in everything if len(labels)}
        rows = [_answers(words, embeddings, held, labels) for labels in sorted(asked)]
        ours, alone, doubt = (np.array(column) for column in zip(*rows, strict=True))
        sure = doubt <= np.median(doubt)
        found[kind] = {
            "questions": float(len(rows)),
            **_named("", ours),
            **_named("attributes_alone_", alone),
            "recall1_of_the_surer_half": 100 * float(ours[sure, 0].mean()),
            "recall1_of_the_other_half": 100 * float(ours[~sure, 0].mean()) if (~sure).any() else float("nan"),
        }
    return {kind: {name: round(value, 2) for name, value in one.items()} for kind, one in found.items()}


def _answers(
    words: Words, embeddings: NDArray[np.float32], held: NDArray[np.bool_], labels: tuple[int, ...]
) -> tuple[list[float], list[float], float]:
    """Recall at 1, 5, 10 and average precision by words, by attributes alone, and the best crop's uncertainty."""
    question = _question(labels)
    right = held[:, list(labels)].all(axis=1)
    ours = words.log_probabilities(question, embeddings).mean(axis=1)
    alone = np.log(words.attributes(embeddings)[:, list(labels)]).mean(axis=1)
    best = int(ours.argmax())
    hit = words.rank(question, embeddings[best : best + 1], [0], 1)[0]
    return _ranked(ours, right), _ranked(alone, right), hit.uncertainty / max(hit.score, 1e-9)


def _ranked(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> list[float]:
    ranks = np.flatnonzero(right[np.argsort(-scores, kind="stable")]) + 1
    precision = float(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return [float(ranks[0] <= 1), float(ranks[0] <= 5), float(ranks[0] <= 10), precision]


def _named(prefix: str, rows: NDArray[np.float64]) -> dict[str, float]:
    names = ("recall1", "recall5", "recall10", "mAP")
    return {prefix + name: 100 * float(value) for name, value in zip(names, rows.mean(axis=0), strict=True)}


def _question(labels: tuple[int, ...]) -> Question:
    return Question(tuple(Phrase(SAYINGS[label][0], LABELS[label].name) for label in labels), ())


def _said() -> NDArray[np.bool_]:
    return np.array([said_in_a_question(label.name) for label in LABELS])
