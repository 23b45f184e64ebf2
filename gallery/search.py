"""Exact cosine search over the vectors of one gallery, in memory.

Vectors are of unit norm, so a matrix product gives the cosines. An identity's score is the best of its positive
vectors; one with a negative vector at least as near as that is no candidate ("this is not that person").
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gallery.schema import Candidate, Polarity

__all__ = ["IdentityTable", "VectorMatrix"]

FIRST_CAPACITY = 64
QUERIES_AT_A_TIME = 64  # bounds the scores to 64 x vectors, 25 MB at 100,000 vectors


class VectorMatrix:
    """Rows float32 [n, D] with an owner each; grows by doubling, so that adding costs O(D) on average."""

    def __init__(self, dimension: int) -> None:
        self._rows = np.empty((FIRST_CAPACITY, dimension), dtype=np.float32)
        self._owners: list[int] = []
        self._rows_of: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def rows(self) -> NDArray[np.float32]:
        """A view of the rows in use."""
        return self._rows[: len(self._owners)]

    def owner(self, row: int) -> int:
        return self._owners[row]

    def rows_of(self, owner: int) -> list[int]:
        """Row numbers of an owner, empty where it has none."""
        return self._rows_of.get(owner, [])

    def add(self, owner: int, vector: NDArray[np.float32]) -> None:
        if len(self._owners) == len(self._rows):
            grown = np.empty((2 * len(self._rows), self._rows.shape[1]), dtype=np.float32)
            grown[: len(self._rows)] = self._rows
            self._rows = grown
        row = len(self._owners)
        self._rows[row] = vector
        self._owners.append(owner)
        self._rows_of.setdefault(owner, []).append(row)

    def remove(self, owner: int) -> None:
        """Take an owner's rows out; the last rows move into their places."""
        for row in sorted(self._rows_of.pop(owner, []), reverse=True):
            last = len(self._owners) - 1
            if row != last:
                moved = self._owners[last]
                self._rows[row] = self._rows[last]
                self._owners[row] = moved
                places = self._rows_of[moved]
                places[places.index(last)] = row
            self._rows[last] = 0  # a removed face does not stay in memory
            self._owners.pop()


class IdentityTable:
    """The identities of one gallery with their vectors. Not thread-safe: its owner holds a lock."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._positive = VectorMatrix(dimension)
        self._negative = VectorMatrix(dimension)
        self._owner_of: dict[str, int] = {}
        self._who: dict[int, tuple[str, str | None]] = {}
        self._next_owner = 0

    def __len__(self) -> int:
        return len(self._owner_of)

    @property
    def vectors(self) -> int:
        return len(self._positive) + len(self._negative)

    def put(self, identity_id: str, name: str | None, vectors: Iterable[tuple[Polarity, NDArray[np.float32]]]) -> None:
        """Set an identity to exactly these vectors, each float32 [D] of unit norm."""
        self.remove(identity_id)
        owner, self._next_owner = self._next_owner, self._next_owner + 1
        self._owner_of[identity_id] = owner
        self._who[owner] = (identity_id, name)
        for polarity, vector in vectors:
            (self._positive if polarity == "positive" else self._negative).add(owner, vector)

    def remove(self, identity_id: str) -> None:
        """Forget an identity; nothing happens where it is not there."""
        owner = self._owner_of.pop(identity_id, None)
        if owner is None:
            return
        del self._who[owner]
        self._positive.remove(owner)
        self._negative.remove(owner)

    def rank(self, queries: NDArray[np.float32], top: int) -> list[list[Candidate]]:
        """For each of the queries [N, D], unit norm: its best `top` identities, best first."""
        found: list[list[Candidate]] = []
        for start in range(0, len(queries), QUERIES_AT_A_TIME):
            some = queries[start : start + QUERIES_AT_A_TIME]
            positive = some @ self._positive.rows.T
            negative = some @ self._negative.rows.T if len(self._negative) else None
            found.extend(
                self._best(scores, None if negative is None else negative[i], top) for i, scores in enumerate(positive)
            )
        return found

    def _best(self, scores: NDArray[np.float32], against: NDArray[np.float32] | None, top: int) -> list[Candidate]:
        """`scores` [M] is used up: the rows of an identity that was looked at become -inf."""
        best: list[Candidate] = []
        while scores.size and len(best) < top:
            row = int(scores.argmax())
            score = float(scores[row])
            if score == -np.inf:
                break
            owner = self._positive.owner(row)
            scores[self._positive.rows_of(owner)] = -np.inf
            vetoes = self._negative.rows_of(owner) if against is not None else []
            if against is not None and vetoes and float(against[vetoes].max()) >= score:
                continue
            identity_id, name = self._who[owner]
            best.append(Candidate(identity_id, name, min(1.0, max(-1.0, score))))
        return best
