"""Binary codes of many vectors: a first pass over one bit a number finds a few rows, which are then compared exactly.

The bit is the sign of a number less the mean of all rows, so that the share of bits in which two codes differ grows
with the angle between the vectors (Charikar, STOC 2002). 512 numbers are 64 bytes, a thirty-second of their floats, and
a popcount each 64. Rows lie in blocks of 64, word by word, so that one instruction works on several rows. The loops are
compiled by Numba when the first large gallery is loaded; they hold no lock of Python.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CodeBook"]

BLOCK = 64
WORDS_AT_ONCE = 4
BREADTH = 128
"""Blocks a query whose nearest rows are compared exactly."""
CENTRE_ROWS = 20_000
THREADS = max(1, min(4, len(os.sched_getaffinity(0))))


class CodeBook:
    """The codes of rows float32 [N, D]; the caller keeps the rows and tells of each that changed."""

    def __init__(self, rows: NDArray[np.float32], capacity: int) -> None:
        step = max(1, len(rows) // CENTRE_ROWS)
        self._centre = rows[::step].mean(axis=0)
        self._words = -(-rows.shape[1] // (BLOCK * WORDS_AT_ONCE)) * WORDS_AT_ONCE
        self._blocks = np.zeros((-(-capacity // BLOCK), self._words, BLOCK), dtype=np.uint64)
        for start in range(0, len(rows), 64 * BLOCK):
            codes = self._encode(rows[start : start + 64 * BLOCK])
            blocks = -(-len(codes) // BLOCK)
            whole = np.zeros((blocks * BLOCK, self._words), dtype=np.uint64)
            whole[: len(codes)] = codes
            first = start // BLOCK
            self._blocks[first : first + blocks] = whole.reshape(blocks, BLOCK, self._words).transpose(0, 2, 1)
        self.built_for = len(rows)
        _kernels()

    @property
    def capacity(self) -> int:
        """Rows that it has room for."""
        return len(self._blocks) * BLOCK

    @property
    def nbytes(self) -> int:
        """Memory."""
        return self._blocks.nbytes

    def set(self, row: int, vector: NDArray[np.float32] | None) -> None:
        """Code a row anew; None wipes it."""
        code = 0 if vector is None else self._encode(vector[None])[0]
        self._blocks[row // BLOCK, :, row % BLOCK] = code

    def nearest(
        self, queries: NDArray[np.float32], rows: NDArray[np.float32]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """For each query [Q, D]: some rows that are likely nearest, best first, with their exact cosines."""
        scan, compare = _kernels()
        codes, count = self._encode(queries), len(rows)
        blocks = -(-count // BLOCK)
        least = np.empty((len(queries), blocks), dtype=np.uint16)
        found = np.empty((len(queries), 2 * BREADTH), dtype=np.int64)
        scores = np.full((len(queries), 2 * BREADTH), -np.inf, dtype=np.float32)
        share = -(-blocks // (THREADS * 4))

        def scan_share(first: int) -> None:
            scan(self._blocks, codes, least, first, min(first + share, blocks))

        def compare_one(query: int) -> None:
            compare(self._blocks, count, codes, least, rows, queries, query, found, scores)

        list(_pool().map(scan_share, range(0, blocks, share)))
        list(_pool().map(compare_one, range(len(queries))))
        order = np.argsort(-scores, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        found = np.take_along_axis(found, order, axis=1)
        ends = (scores > -np.inf).sum(axis=1)
        return [(found[q, :end], scores[q, :end]) for q, end in enumerate(ends)]

    def _encode(self, rows: NDArray[np.float32]) -> NDArray[np.uint64]:
        """uint64 [N, words]."""
        bits = np.zeros((len(rows), self._words * BLOCK), dtype=bool)
        np.greater(rows, self._centre, out=bits[:, : rows.shape[1]])
        return np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="codes")


@cache
def _kernels() -> tuple[Any, Any]:
    """Compile the loops: some seconds, once a process."""
    import numba
    from numba import types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def popcount(_context: Any, _word: Any) -> Any:
        return types.uint64(types.uint64), lambda _ctx, builder, _signature, args: builder.ctpop(args[0])

    @numba.njit(inline="always")  # type: ignore[untyped-decorator]
    def distances(block: Any, code: Any, out: Any) -> Any:
        """In how many bits each row of a block differs; returns the least. Loops of fixed length become vectors."""
        for lane in range(BLOCK):
            out[lane] = 0
        for word in range(0, block.shape[0], WORDS_AT_ONCE):  # written out: the sums stay in registers
            a, b, c, d = code[word], code[word + 1], code[word + 2], code[word + 3]
            for lane in range(BLOCK):
                out[lane] += (
                    popcount(block[word, lane] ^ a)
                    + popcount(block[word + 1, lane] ^ b)
                    + popcount(block[word + 2, lane] ^ c)
                    + popcount(block[word + 3, lane] ^ d)
                )
        near = out[0]
        for lane in range(1, BLOCK):
            near = min(near, out[lane])
        return near

    blocks_t, codes_t = types.uint64[:, :, ::1], types.uint64[:, ::1]
    least_t, floats_t = types.uint16[:, ::1], types.float32[:, ::1]

    @numba.njit(types.void(blocks_t, codes_t, least_t, types.int64, types.int64), nogil=True)  # type: ignore[untyped-decorator]
    def scan(blocks: Any, codes: Any, least: Any, first: Any, last: Any) -> None:
        """The least distance in each block, for each query."""
        apart = np.empty(BLOCK, np.uint64)
        for b in range(first, last):
            for q in range(codes.shape[0]):
                least[q, b] = distances(blocks[b], codes[q], apart)

    @numba.njit(  # type: ignore[untyped-decorator]
        types.void(
            blocks_t, types.int64, codes_t, least_t, floats_t, floats_t, types.int64, types.int64[:, ::1], floats_t
        ),
        nogil=True,
        fastmath={"reassoc", "contract", "nsz"},
    )
    def compare(
        blocks: Any, count: Any, codes: Any, least: Any, rows: Any, queries: Any, q: Any, found: Any, scores: Any
    ) -> None:
        """The rows as near as the nearest blocks' nearest, by their floats."""
        bits = BLOCK * codes.shape[1]
        counts = np.zeros(bits + 1, np.int64)
        for near in least[q]:
            counts[near] += 1
        wanted = min(BREADTH, -(-least.shape[1] // 2))
        limit, so_far = 0, counts[0]
        while so_far < wanted:
            limit += 1
            so_far += counts[limit]
        near = np.flatnonzero(least[q] <= limit)
        apart = np.empty(BLOCK, np.uint64)
        room, used = found.shape[1], 0
        for at_limit in (False, True):  # the nearer ones first, so that a tie at the limit cannot crowd them out
            for b in near:
                distances(blocks[b], codes[q], apart)
                for lane in range(min(BLOCK, count - b * BLOCK)):
                    taken = apart[lane] == limit if at_limit else apart[lane] < limit
                    if taken and used < room:
                        row = b * BLOCK + lane
                        score = np.float32(0)
                        for d in range(rows.shape[1]):
                            score += rows[row, d] * queries[q, d]
                        found[q, used], scores[q, used] = row, score
                        used += 1

    return scan, compare
