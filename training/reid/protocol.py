"""The Market-1501 protocol on embeddings: mAP, Rank-k, mINP. Needs no torch.

Zheng et al., ICCV 2015, section 5.1 (same identity in the same camera and junk are left out of a query's ranking);
mINP: Ye et al., TPAMI 2021, section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.reid.data import JUNK_IDENTITY
from training.reid.rerank import reciprocal_similarity

__all__ = ["market_metrics", "query_indices"]


def query_indices(names: Sequence[str], identities: NDArray[np.int64], cameras: NDArray[np.int64]) -> NDArray[np.int64]:
    """One query per identity and camera, the smallest name; distractors (identity 0) and junk ask nothing."""
    first: dict[tuple[int, int], int] = {}
    for index in sorted(range(len(names)), key=lambda i: names[i]):
        if identities[index] > 0:
            first.setdefault((int(identities[index]), int(cameras[index])), index)
    return np.array(sorted(first.values()), np.int64)


def market_metrics(
    embeddings: NDArray[np.float32],
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    queries: NDArray[np.int64],
    *,
    rerank: bool = False,
) -> dict[str, float]:
    """Rank all that are not queries for every query, by cosine or re-ranked among k-reciprocal neighbours.

    Shapes: embeddings [N, D] unit norm, identities and cameras [N], queries [Q] indices.
    Returns: mAP, rank1, rank5, rank10, mINP in percent; queries and gallery as counts. A query with no true match in
    another camera is not counted, as in the protocol.
    Raises: ValueError where no query has a true match.
    """
    gallery = np.setdiff1d(np.flatnonzero(identities != JUNK_IDENTITY), queries)
    gallery_ids, gallery_cameras = identities[gallery], cameras[gallery]
    asked, held = embeddings[queries], embeddings[gallery]
    similarity = reciprocal_similarity(asked, held) if rerank else asked @ held.T
    precisions, penalties, first_hits = [], [], []
    for row, query in enumerate(queries):
        order = np.argsort(-similarity[row], kind="stable")
        same = gallery_ids[order] == identities[query]
        hits = same[~(same & (gallery_cameras[order] == cameras[query]))]
        ranks = np.flatnonzero(hits) + 1
        if not len(ranks):
            continue
        found = np.arange(1, len(ranks) + 1)
        precisions.append(float(np.mean(found / ranks)))
        penalties.append(len(ranks) / float(ranks[-1]))
        first_hits.append(int(ranks[0]))
    if not first_hits:
        raise ValueError(
            "no query has a true match in another camera: the protocol needs identities seen by two cameras"
        )
    first = np.array(first_hits)
    return {
        "mAP": 100 * float(np.mean(precisions)),
        "rank1": 100 * float(np.mean(first <= 1)),
        "rank5": 100 * float(np.mean(first <= 5)),
        "rank10": 100 * float(np.mean(first <= 10)),
        "mINP": 100 * float(np.mean(penalties)),
        "queries": float(len(first)),
        "gallery": float(len(gallery)),
    }
