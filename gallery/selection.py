"""Which embeddings of an identity are kept: the good ones that say something new."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["select"]


def select(embeddings: NDArray[np.float32], qualities: NDArray[np.float64], limit: int) -> list[int]:
    """Rows to keep of the embeddings [N, D], unit norm, oldest first, with qualities [N] from 0 to 1.

    A row is worth its quality times its distance (1 - cosine) to the nearest better one; better is of higher quality,
    or of the same and newer. The least worth goes first, until `limit` are left. The best row always stays.
    """
    by_rank = np.lexsort((np.arange(len(embeddings)), qualities))[::-1]  # best first
    cosines = embeddings[by_rank] @ embeddings[by_rank].T
    np.fill_diagonal(cosines, -np.inf)
    nearer_and_better = np.where(np.tri(len(by_rank), k=-1, dtype=bool), cosines, -np.inf)
    kept = np.ones(len(by_rank), dtype=bool)
    quality = qualities[by_rank]
    while kept.sum() > max(1, limit):
        redundancy = np.where(kept[None, :], nearer_and_better, -np.inf).max(axis=1)
        worth = np.where(kept, quality * (1 - np.maximum(redundancy, -1)), np.inf)
        worth[int(np.flatnonzero(kept)[0])] = np.inf
        kept[int(worth.argmin())] = False
    return sorted(int(row) for row in by_rank[kept])
