"""Cosine search over the vectors of one gallery, in memory.

Vectors are of unit norm, so a matrix product gives the cosines. An identity's score is the best of its positive
vectors; one with a negative vector at least as near as that is no candidate ("this is not that person"). Up to 8,000
vectors all are compared; beyond, binary codes choose those that are (`gallery/codes.py`).
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from gallery.codes import CodeBook, compiled
from gallery.schema import Candidate, Polarity

__all__ = ["IdentityTable", "VectorMatrix"]

FIRST_CAPACITY = 64
LARGE = 8_000
LEAST_DIMENSION = 128  # fewer bits tell too little
QUERIES_AT_A_TIME = 64  # bounds the scores to 64 x vectors, 25 MB at 100,000 vectors


class VectorMatrix:
    """Rows float32 [n, D] with an owner each; grows by doubling, so that adding costs O(D) on average."""

    def __init__(self, dimension: int, capacity: int = 0) -> None:
        self._rows = np.zeros((max(FIRST_CAPACITY, capacity), dimension), dtype=np.float32)
        self._owners: list[int] = []
        self._rows_of: dict[int, list[int]] = {}
        self._codes: CodeBook | None = None

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def rows(self) -> NDArray[np.float32]:
        """A view of the rows in use."""
        return self._rows[: len(self._owners)]

    @property
    def nbytes(self) -> int:
        """Memory of rows and codes."""
        return self._rows.nbytes + (0 if self._codes is None else self._codes.nbytes)

    def owner(self, row: int) -> int:
        return self._owners[row]

    @property
    def owners(self) -> list[int]:
        """A copy of the rows' owners."""
        return list(self._owners)

    def rows_of(self, owner: int) -> list[int]:
        """Row numbers of an owner, empty where it has none."""
        return self._rows_of.get(owner, [])

    def add(self, owner: int, vector: NDArray[np.float32]) -> None:
        if len(self._owners) == len(self._rows):
            grown = np.zeros((2 * len(self._rows), self._rows.shape[1]), dtype=np.float32)
            grown[: len(self._rows)] = self._rows
            self._rows = grown
        row = len(self._owners)
        self._owners.append(owner)
        self._rows_of.setdefault(owner, []).append(row)
        self._set(row, vector)

    def remove(self, owner: int) -> None:
        """Take an owner's rows out; the last rows move into their places."""
        for row in sorted(self._rows_of.pop(owner, []), reverse=True):
            last = len(self._owners) - 1
            if row != last:
                moved = self._owners[last]
                self._set(row, self._rows[last])
                self._owners[row] = moved
                places = self._rows_of[moved]
                places[places.index(last)] = row
            self._set(last, None)  # a removed person does not stay in memory
            self._owners.pop()

    def prepare(self, *, wait: bool = False) -> None:
        """Make the codes where the rows are many, and anew where they have doubled since: a second for a million.

        Until their loops are compiled all rows are compared, unless it may `wait`. To be called where rows are added.
        """
        if len(self) < LARGE or self._rows.shape[1] < LEAST_DIMENSION:
            self._codes = None
        elif (self._codes is None or len(self) > 2 * self._codes.built_for) and compiled(wait=wait):
            self._codes = CodeBook(self.rows, len(self._rows))

    def nearest(self, queries: NDArray[np.float32]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]] | None:
        """For each query some rows, best first, with their cosines; None where all are to be compared."""
        if self._codes is None or len(self) < LARGE:
            return None
        return self._codes.nearest(queries, self.rows)

    def _set(self, row: int, vector: NDArray[np.float32] | None) -> None:
        self._rows[row] = 0 if vector is None else vector
        if self._codes is not None and row >= self._codes.capacity:
            self._codes = None  # until `prepare`, all rows are compared
        elif self._codes is not None:
            self._codes.set(row, vector)


class IdentityTable:
    """The identities of one gallery with their vectors. Not thread-safe: its owner holds a lock."""

    def __init__(self, dimension: int, capacity: int = 0) -> None:
        """`capacity`: positive vectors that there is room for at once."""
        self.dimension = dimension
        self._positive = VectorMatrix(dimension, capacity)
        self._negative = VectorMatrix(dimension)
        self._owner_of: dict[str, int] = {}
        self._who: dict[int, tuple[str, str | None]] = {}
        self._next_owner = 0

    def __len__(self) -> int:
        return len(self._owner_of)

    @property
    def vectors(self) -> int:
        return len(self._positive) + len(self._negative)

    @property
    def nbytes(self) -> int:
        """Memory of the vectors and their codes, without names."""
        return self._positive.nbytes + self._negative.nbytes

    def positives(self) -> tuple[NDArray[np.float32], list[int], dict[int, tuple[str, str | None]]]:
        """A copy of the positive vectors [N, D], whose each is by number, and the id and name of each number."""
        return self._positive.rows.copy(), self._positive.owners, dict(self._who)

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

    def prepare(self, *, wait: bool = False) -> None:
        """Make ready for quick matches after changes; without it they are right, and slow where there are many."""
        self._positive.prepare(wait=wait)

    def rank(self, queries: NDArray[np.float32], top: int, *, exact: bool = False) -> list[list[Candidate]]:
        """For each of the queries [N, D], unit norm: its best `top` identities, best first; `exact` looks at all."""
        found: list[list[Candidate]] = []
        for start in range(0, len(queries), QUERIES_AT_A_TIME):
            some = np.ascontiguousarray(queries[start : start + QUERIES_AT_A_TIME])
            against = some @ self._negative.rows.T if len(self._negative) else None
            near = None if exact else self._positive.nearest(some)
            scores = some @ self._positive.rows.T if near is None else None
            for i, query in enumerate(some):
                vetoes = None if against is None else against[i]
                if near is not None:
                    best = self._best(zip(*near[i], strict=True), vetoes, top)
                    if len(best) == top or len(best) == len(self):
                        found.append(best)
                        continue  # else its nearest were all vetoed, or of few identities
                of_all = self._positive.rows @ query if scores is None else scores[i]
                found.append(self._best(_descending(self._positive, of_all), vetoes, top))
        return found

    def _best(
        self, rows: Iterable[tuple[int, float]], against: NDArray[np.float32] | None, top: int
    ) -> list[Candidate]:
        """The first `top` identities of rows with their cosines, best first."""
        best: list[Candidate] = []
        seen: set[int] = set()
        for row, score in rows:
            owner = self._positive.owner(int(row))
            if owner in seen:
                continue
            seen.add(owner)
            vetoes = self._negative.rows_of(owner) if against is not None else []
            if against is not None and vetoes and float(against[vetoes].max()) >= score:
                continue
            identity_id, name = self._who[owner]
            best.append(Candidate(identity_id, name, min(1.0, max(-1.0, float(score)))))
            if len(best) == top:
                break
        return best


def _descending(matrix: VectorMatrix, scores: NDArray[np.float32]) -> Iterator[tuple[int, float]]:
    """The best row of each owner, best first. `scores` [M] is used up: the rows of an owner that was become -inf."""
    while scores.size:
        row = int(scores.argmax())
        score = float(scores[row])
        if score == -np.inf:
            return
        yield row, score
        scores[matrix.rows_of(matrix.owner(row))] = -np.inf
