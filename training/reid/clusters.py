"""Who may be whom among pictures without labels: k-reciprocal Jaccard distances, then clusters. Needs no torch.

Zhong et al., CVPR 2017, section 3 (the distance); average linkage, cut at a distance (Sokal and Michener, 1958).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from training.reid.rerank import jaccard_distances

__all__ = ["ALONE", "find_clusters"]

ALONE = -1
LEAST_MEMBERS = 3
"""Fewer tell little about how somebody varies, and are often a chance."""


def find_clusters(embeddings: NDArray[np.float32], cut: float) -> NDArray[np.int64]:
    """A cluster's number for each of the embeddings [N, D], unit norm; `ALONE` where it has too few like it.

    `cut`, 0 to 1: the mean Jaccard distance of two groups up to which they are one.
    """
    if len(embeddings) < LEAST_MEMBERS:
        return np.full(len(embeddings), ALONE, np.int64)
    distances = jaccard_distances(embeddings)
    tree = linkage(squareform(distances, checks=False), "average")
    _, labels, counts = np.unique(fcluster(tree, cut, "distance"), return_inverse=True, return_counts=True)
    large = counts >= LEAST_MEMBERS
    numbers = np.where(large, np.cumsum(large) - 1, ALONE)
    return np.asarray(numbers[labels], np.int64)
