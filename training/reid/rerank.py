"""k-reciprocal re-ranking: a match is likelier where two pictures are among each other's nearest.

Zhong et al., CVPR 2017, section 3 (k1 20, k2 6, lambda 0.3 as there). Needs no torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["reciprocal_similarity"]

NEAR, EXPAND, ORIGINAL = 20, 6, 0.3
OVERLAP = 2 / 3


def reciprocal_similarity(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit-norm [Q, D] and [G, D] -> the re-ranked similarity [Q, G]; (Q + G)^2 numbers are in memory."""
    rows = np.concatenate((queries, gallery))
    distances = np.maximum(2 - 2 * (rows @ rows.T), 0)
    distances /= distances.max(axis=1, keepdims=True)
    order = np.argsort(distances, axis=1, kind="stable")[:, : NEAR + 1].astype(np.int64)
    weights = np.zeros_like(distances)
    for row in range(len(rows)):
        near = _expanded(order, row)
        likeness = np.exp(-distances[row, near])
        weights[row, near] = likeness / likeness.sum()
    weights = np.stack([weights[order[row, :EXPAND]].mean(axis=0) for row in range(len(rows))])
    count = len(queries)
    found = np.empty((count, len(gallery)), np.float32)
    for row in range(count):
        at = np.flatnonzero(weights[row])
        shared = np.minimum(weights[row, at], weights[count:, at]).sum(axis=1)
        found[row] = -((1 - shared / (2 - shared)) * (1 - ORIGINAL) + distances[row, count:] * ORIGINAL)
    return found


def _reciprocal(order: NDArray[np.int64], row: int, near: int) -> NDArray[np.int64]:
    """Of a row's nearest those that have it among their own nearest."""
    forward = order[row, : near + 1]
    return forward[(order[forward, : near + 1] == row).any(axis=1)]


def _expanded(order: NDArray[np.int64], row: int) -> NDArray[np.int64]:
    """A row's reciprocal neighbours, and theirs where two thirds of these are shared."""
    own = _reciprocal(order, row, NEAR)
    found = [own]
    for candidate in own:
        others = _reciprocal(order, int(candidate), round(NEAR / 2))
        if len(np.intersect1d(others, own, assume_unique=True)) > OVERLAP * len(others):
            found.append(others)
    return np.unique(np.concatenate(found))
