"""The 27 attributes of Lin et al. as one label in each group of `models.reid.attributes`. Needs no torch."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.reid.attributes import GROUPS, LABELS, LOWER_COLOURS, UPPER_COLOURS

__all__ = ["UNKNOWN", "correlations", "label_rows", "read_attributes", "said_in_a_question"]

UNKNOWN = -1
YES = 2
# Group and column; the columns count from 1 in the order of the group's labels.
COUNTED = {
    "gender": "gender",
    "age": "age",
    "hair": "hair",
    "hat": "hat",
    "sleeves": "up",
    "backpack": "backpack",
    "bag": "bag",
    "handbag": "handbag",
    "length": "down",
    "lower": "clothes",
}
RARE, KEPT = 0.2, 0.5
"""Chances under the first are no edge; the second is the weight of a node's neighbours beside itself (ML-GCN)."""


def read_attributes(path: Path, identities: NDArray[np.int64]) -> NDArray[np.int64]:
    """The label of each identity in each group: int64 [N, 12], `UNKNOWN` where the file lacks the identity.

    Raises: FileNotFoundError; ValueError naming a row whose columns are not the file's form.
    """
    rows: dict[int, list[int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                rows[int(row["id"])] = [_label(group.name, row) for group in GROUPS]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}: the row of id {row.get('id')} is not of attributes.csv's form") from error
    unknown = [UNKNOWN] * len(GROUPS)
    return np.array([rows.get(int(one), unknown) for one in identities], np.int64).reshape(-1, len(GROUPS))


def correlations(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """How often label j holds where i does: float32 [41, 41], rows of sum 1, from labels [identities, 12].

    Chen et al., CVPR 2019 (ML-GCN), section 3.3: chances under 0.2 are noise, and a node keeps half for itself.
    """
    held = label_rows(labels).astype(np.float64)
    chances = (held.T @ held) / np.maximum(held.sum(axis=0), 1)[:, None]
    np.fill_diagonal(chances, 0)
    chances[chances < RARE] = 0
    chances *= KEPT / np.maximum(chances.sum(axis=1, keepdims=True), 1e-12)
    np.fill_diagonal(chances, 1 - chances.sum(axis=1))
    return chances.astype(np.float32)


def label_rows(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the 41 labels hold: bool [N, 41] from labels int64 [N, 12]."""
    held = np.zeros((len(labels), len(LABELS)), np.bool_)
    start = 0
    for column, group in enumerate(GROUPS):
        known = np.flatnonzero(labels[:, column] >= 0)
        held[known, start + labels[known, column]] = True
        start += len(group.labels)
    return held


def said_in_a_question(label: str) -> bool:
    """Whether one would say it of a person: not what is lacking, nor the colour that is none of the named."""
    return not label.startswith(("no ", "other ")) and label not in {"adult", "teenager"}


def _label(group: str, row: dict[str, str]) -> int:
    if group in COUNTED:
        found = int(row[COUNTED[group]]) - 1
        if not 0 <= found < len(next(one for one in GROUPS if one.name == group).labels):
            raise ValueError(group)
        return found
    colours, prefix = (UPPER_COLOURS, "up") if group == "upper colour" else (LOWER_COLOURS, "down")
    held = [index for index, colour in enumerate(colours) if int(row[prefix + colour]) == YES]
    return held[0] if held else len(colours)
