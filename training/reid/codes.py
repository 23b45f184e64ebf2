"""What a gallery of compact codes loses: Rank-1 and mAP with queries as they are and the gallery kept small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.reid.protocol import market_metrics

__all__ = ["compact_codes"]


def compact_codes(
    embeddings: NDArray[np.float32],
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    queries: NDArray[np.int64],
) -> dict[str, dict[str, float]]:
    """By code its bytes a vector, rank1 and mAP in percent: int8 with a scale a vector, and one bit a number.

    The bit is the sign about the gallery's mean, as `gallery/codes.py` keeps it.
    """
    kept = np.setdiff1d(np.arange(len(embeddings)), queries)
    dimension = embeddings.shape[1]
    scales = np.abs(embeddings[kept]).max(axis=1, keepdims=True) / 127
    whole = embeddings.copy()
    whole[kept] = np.rint(embeddings[kept] / scales) * scales
    centred = embeddings - embeddings[kept].mean(axis=0)
    centred[kept] = np.where(centred[kept] > 0, 1, -1)
    found = {}
    for name, rows, size in (("int8", whole, dimension + 4), ("bits", centred, dimension // 8)):
        scores = market_metrics(rows, identities, cameras, queries)
        found[name] = {"bytes": float(size), "rank1": round(scores["rank1"], 2), "mAP": round(scores["mAP"], 2)}
    return found
