"""Valence and arousal out of the crowd's votes, because FER2013 has no such labels.

A vote is a point on the circumplex of affect (Russell, 1980; the coordinates are ours, rounded), a face is the mean of
its votes. LDLVA (Le et al., WACV 2023, section 3) uses labelled or predicted valence and arousal in this place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.expression.spec import CROWD, EXPRESSIONS
from training.expression.data import VOTED, FaceSet

__all__ = ["CIRCUMPLEX", "affect_of", "crowd_of", "nearest"]

CIRCUMPLEX = {
    "angry": (-0.55, 0.65),
    "disgust": (-0.70, 0.35),
    "fear": (-0.45, 0.80),
    "happy": (0.80, 0.35),
    "sad": (-0.70, -0.35),
    "surprise": (0.20, 0.80),
    "neutral": (0.00, 0.00),
    "contempt": (-0.55, 0.15),
}
"""Valence and arousal of each emotion, both in [-1, 1]."""


def affect_of(faces: FaceSet) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Valence and arousal [N, 2], and whether they come from votes [N]; else from the label: all fear and disgust."""
    points = np.array([CIRCUMPLEX.get(name, (0.0, 0.0)) for name in VOTED])
    counted = np.array([name in CIRCUMPLEX for name in VOTED])
    votes = np.clip(faces.votes, 0, None) * counted
    total = votes.sum(axis=1)
    voted = total > 0
    by_label = np.array([CIRCUMPLEX[name] for name in EXPRESSIONS])[faces.labels]
    by_votes = votes @ points / np.maximum(total, 1)[:, None]
    return np.where(voted[:, None], by_votes, by_label).astype(np.float32), voted


def crowd_of(faces: FaceSet) -> NDArray[np.float32]:
    """How the votes divide over CROWD, [N, 8]; of a face without votes its label; 0 where none voted for an emotion."""
    shares = np.clip(faces.votes, 0, None)[:, [VOTED.index(name) for name in CROWD]].astype(np.float32)
    unasked = faces.votes.max(axis=1) < 0
    shares[unasked, faces.labels[unasked]] = 1
    return np.asarray(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1), np.float32)


def nearest(
    affect: NDArray[np.float32], count: int, generator: np.random.Generator, jitter: float = 0.03
) -> NDArray[np.int64]:
    """The `count` nearest others of every face, int64 [N, count].

    Ten votes leave many faces on one point, so ties are broken by a little noise, drawn anew at every call.
    """
    noisy = affect + generator.normal(0, jitter, affect.shape)
    _, found = cKDTree(noisy).query(noisy, k=count + 1)  # the nearest of all is the face itself
    return np.asarray(found[:, 1:], np.int64)
