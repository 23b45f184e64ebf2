"""k-reciprocal re-ranking: a match is likelier where two pictures are among each other's nearest.

Zhong et al., CVPR 2017, section 3 (k1 20, k2 6, lambda 0.3 as there). Needs no torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["jaccard_distances", "reciprocal_similarity"]

NEAR, EXPAND, ORIGINAL = 20, 6, 0.3
OVERLAP = 2 / 3


def reciprocal_similarity(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit-norm [Q, D] and [G, D] -> the re-ranked similarity [Q, G]; (Q + G)^2 numbers are in memory."""
    distances, weights = _neighbourhoods(np.concatenate((queries, gallery)), NEAR)
    count = len(queries)
    found = np.empty((count, len(gallery)), np.float32)
    for row in range(count):
        found[row] = -(_unshared(weights, row)[count:] * (1 - ORIGINAL) + distances[row, count:] * ORIGINAL)
    return found


def jaccard_distances(embeddings: NDArray[np.float32], near: int) -> NDArray[np.float32]:
    """How little two pictures share of who is near them, 0 to 1: unit-norm [N, D] -> symmetric [N, N], 0 within.

    `near`: how many neighbours count, about as many as a person has pictures.
    """
    _, weights = _neighbourhoods(embeddings, near)
    found = np.stack([_unshared(weights, row) for row in range(len(weights))])
    found = (found + found.T) / 2
    np.fill_diagonal(found, 0)
    return np.asarray(found, np.float32)


def _neighbourhoods(rows: NDArray[np.float32], near: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Squared distances over each row's largest, and the weight of each row's reciprocal neighbours: both [N, N]."""
    distances = np.maximum(2 - 2 * (rows @ rows.T), 0)
    distances /= distances.max(axis=1, keepdims=True)
    order = np.argsort(distances, axis=1, kind="stable")[:, : near + 1].astype(np.int64)
    weights = np.zeros_like(distances)
    for row in range(len(rows)):
        found = _expanded(order, row, near)
        likeness = np.exp(-distances[row, found])
        weights[row, found] = likeness / likeness.sum()
    return distances, np.stack([weights[order[row, :EXPAND]].mean(axis=0) for row in range(len(rows))])


def _unshared(weights: NDArray[np.float32], row: int) -> NDArray[np.float32]:
    """The Jaccard distances of a row's neighbourhood to all: [N]."""
    at = np.flatnonzero(weights[row])
    shared = np.minimum(weights[row, at], weights[:, at]).sum(axis=1)
    return np.asarray(np.maximum(1 - shared / (2 - shared), 0), np.float32)


def _reciprocal(order: NDArray[np.int64], row: int, near: int) -> NDArray[np.int64]:
    """Of a row's nearest those that have it among their own nearest."""
    forward = order[row, : near + 1]
    return forward[(order[forward, : near + 1] == row).any(axis=1)]


def _expanded(order: NDArray[np.int64], row: int, near: int) -> NDArray[np.int64]:
    """A row's reciprocal neighbours, and theirs where two thirds of these are shared."""
    own = _reciprocal(order, row, near)
    found = [own]
    for candidate in own:
        others = _reciprocal(order, int(candidate), round(near / 2))
        if len(np.intersect1d(others, own, assume_unique=True)) > OVERLAP * len(others):
            found.append(others)
    return np.unique(np.concatenate(found))
