"""How the best scores of matches are distributed, and how far that has drifted from what it was."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ENOUGH_SCORES", "ScoreWindow", "drift"]

BINS = 40
ENOUGH_SCORES = 1_000
"""Fewer say nothing about a distribution."""
MOST_SCORES = 4_000


class ScoreWindow:
    """A histogram of cosines from -1 to 1 that forgets: at 4,000 scores all of them are halved."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, dtype=np.int64)
        self.added = 0

    def add(self, scores: ArrayLike) -> None:
        """Count cosines."""
        values = np.asarray(scores, dtype=np.float64).ravel()
        bins = np.clip(((values + 1) / 2 * BINS).astype(np.int64), 0, BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)
        self.added += len(values)
        if self.counts.sum() > MOST_SCORES:
            self.counts //= 2


def drift(counts: ArrayLike, reference: ArrayLike) -> float | None:
    """The Kolmogorov-Smirnov distance of two histograms, 0 to 1; None where either has under 1,000 scores."""
    now, then = (np.asarray(values, dtype=np.float64) for values in (counts, reference))
    if now.shape != then.shape or min(now.sum(), then.sum()) < ENOUGH_SCORES:
        return None
    return float(np.abs(np.cumsum(now) / now.sum() - np.cumsum(then) / then.sum()).max())
