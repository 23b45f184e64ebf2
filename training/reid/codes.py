"""What a gallery of compact codes loses: Rank-1 and mAP with queries as they are and the gallery kept small.

The learned binary mask says which bits of an embedding are kept: those whose mean differs most between people, counted
on the training identities. It belongs to one network; rotations (ITQ, Gong and Lazebnik, CVPR 2011) lost to it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.reid.spec import REID_NANO
from training.reid.protocol import market_metrics

__all__ = ["compact_codes", "learn_mask", "mask_path", "read_mask"]

MASKED_BITS = 256


def mask_path(folder: Path = REID_NANO.folder) -> Path:
    """Where the mask of the network in use lies."""
    return folder / f"{REID_NANO.stem}-mask.json"


def read_mask(path: Path | None = None) -> NDArray[np.int64] | None:
    """Which numbers' bits are kept, ascending; None where no mask was learned for this network."""
    path = path or mask_path()
    return np.array(json.loads(path.read_text(encoding="utf-8")), np.int64) if path.is_file() else None


def learn_mask(
    embeddings: NDArray[np.float32], identities: NDArray[np.int64], bits: int = MASKED_BITS
) -> NDArray[np.int64]:
    """The `bits` numbers whose sign about the mean tells most of these people apart: int64 [bits], ascending."""
    signs = np.where(embeddings > embeddings.mean(axis=0), 1.0, -1.0)
    means = np.stack([signs[identities == one].mean(axis=0) for one in np.unique(identities)])
    return np.sort(np.argsort(-means.var(axis=0), kind="stable")[:bits])


def compact_codes(
    embeddings: NDArray[np.float32],
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    queries: NDArray[np.int64],
    mask: NDArray[np.int64] | None = None,
) -> dict[str, dict[str, float]]:
    """By code its bytes a vector, rank1 and mAP in percent: int8 with a scale a vector, one bit a number, masked bits.

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
    codes = [("int8", whole, dimension + 4), ("bits", centred, dimension // 8)]
    if mask is not None:
        codes.append(("masked", centred[:, mask], len(mask) // 8))
    for name, rows, size in codes:
        scores = market_metrics(rows, identities, cameras, queries)
        found[name] = {"bytes": float(size), "rank1": round(scores["rank1"], 2), "mAP": round(scores["mAP"], 2)}
    return found
