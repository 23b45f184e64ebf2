"""Who may be whom among pictures without labels: k-reciprocal Jaccard distances, then clusters. Needs no torch.

Zhong et al., CVPR 2017, section 3 (the distance); average linkage, cut at a distance (Sokal and Michener, 1958).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from training.reid.rerank import jaccard_distances

__all__ = ["ALONE", "centred", "find_clusters"]

ALONE = -1
LEAST_MEMBERS = 3
"""Fewer tell little about how somebody varies, and are often a chance."""
LEAST_OF_A_CAMERA = 20
"""Pictures: the mean of fewer is that of some people, not of the camera."""


def find_clusters(embeddings: NDArray[np.float32], cut: float, near: int) -> NDArray[np.int64]:
    """A cluster's number for each of the embeddings [N, D], unit norm; `ALONE` where it has too few like it.

    `cut`, 0 to 1: the mean Jaccard distance of two groups up to which they are one. `near`: the neighbours that count.
    """
    if len(embeddings) < LEAST_MEMBERS:
        return np.full(len(embeddings), ALONE, np.int64)
    distances = jaccard_distances(embeddings, near)
    tree = linkage(squareform(distances, checks=False), "average")
    _, labels, counts = np.unique(fcluster(tree, cut, "distance"), return_inverse=True, return_counts=True)
    large = counts >= LEAST_MEMBERS
    numbers = np.where(large, np.cumsum(large) - 1, ALONE)
    return np.asarray(numbers[labels], np.int64)


def centred(embeddings: NDArray[np.float32], cameras: Sequence[str]) -> NDArray[np.float32]:
    """Without what is common to each camera's pictures, which is its light: unit norm [N, D] in and out.

    Else pictures are like each other because one camera took them. Cameras of few pictures go together.
    """
    where = np.array(cameras)
    names, places, counts = np.unique(where, return_inverse=True, return_counts=True)
    places = np.where(counts[places] < LEAST_OF_A_CAMERA, len(names), places)
    found = embeddings.copy()
    for place in np.unique(places):
        found[places == place] -= embeddings[places == place].mean(axis=0)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)
