"""Binary codes of many vectors: a first pass over 512 bits each finds a few rows, which are then compared exactly.

The bit is the sign of a number less the mean of all rows, so that the share of bits in which two codes differ grows
with the angle between the vectors (Charikar, STOC 2002). 512 floats become 64 bytes. Rows lie in blocks of 64, word by
word, so that one instruction works on several rows. The loops are compiled by Numba when the first large gallery is
loaded, in the background; they hold no lock of Python.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CodeBook", "compiled"]

BLOCK = 64
WORDS = 8
BITS = 64 * WORDS
LINE_BYTES = 64
BLOCK_BYTES = BLOCK * WORDS * 8
ROWS_AHEAD = 3
LINES_EACH = 8  # times 8 queries: the 64 lines of the next block, while this one is looked at
BREADTH = 64
"""Blocks a query whose nearest rows are compared exactly."""
CENTRE_ROWS = 20_000
LARGE_BLOCKS = 1_024
PROCESSORS = sorted(os.sched_getaffinity(0))[:4] if hasattr(os, "sched_getaffinity") else [0]


def compiled(*, wait: bool) -> bool:
    """Whether the loops are there; begins to compile them, some seconds' work, and waits for it if asked to."""
    compiling = _compiling()
    if wait or compiling.done():
        compiling.result()  # raises what compiling raised
    return compiling.done()


class CodeBook:
    """The codes of rows float32 [N, D]; the caller keeps the rows and tells of each that changed."""

    def __init__(self, rows: NDArray[np.float32], capacity: int) -> None:
        step = max(1, len(rows) // CENTRE_ROWS)
        self._centre = rows[::step].mean(axis=0)
        # Fewer numbers leave bits unused, of more numbers some evenly spaced ones are used.
        self._used = np.unique(np.linspace(0, rows.shape[1] - 1, BITS).astype(np.int64))
        self._blocks = np.zeros((-(-capacity // BLOCK), WORDS, BLOCK), dtype=np.uint64)
        for start in range(0, len(rows), 64 * BLOCK):
            codes = self._encode(rows[start : start + 64 * BLOCK])
            blocks = -(-len(codes) // BLOCK)
            whole = np.zeros((blocks * BLOCK, WORDS), dtype=np.uint64)
            whole[: len(codes)] = codes
            first = start // BLOCK
            self._blocks[first : first + blocks] = whole.reshape(blocks, BLOCK, WORDS).transpose(0, 2, 1)
        self.built_for = len(rows)

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
        scan, compare = _compiling().result()
        codes, count = self._encode(queries), len(rows)
        blocks = -(-count // BLOCK)
        least = np.empty((len(queries), blocks), dtype=np.uint16)
        found = np.zeros((len(queries), 2 * BREADTH), dtype=np.int64)
        scores = np.full((len(queries), 2 * BREADTH), -np.inf, dtype=np.float32)

        def scan_part(part: range) -> None:
            scan(self._blocks, codes, least, part.start, part.stop)

        def compare_part(part: range) -> None:
            compare(self._blocks, count, codes, least, rows, queries, part.start, part.stop, found, scores)

        _in_parts(scan_part, blocks, large=blocks >= LARGE_BLOCKS)
        _in_parts(compare_part, len(queries), large=blocks >= LARGE_BLOCKS)
        order = np.argsort(-scores, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        found = np.take_along_axis(found, order, axis=1)
        ends = (scores > -np.inf).sum(axis=1)
        return [(found[q, :end], scores[q, :end]) for q, end in enumerate(ends)]

    def _encode(self, rows: NDArray[np.float32]) -> NDArray[np.uint64]:
        """uint64 [N, words]."""
        bits = np.zeros((len(rows), BITS), dtype=bool)
        np.greater(rows[:, self._used], self._centre[self._used], out=bits[:, : len(self._used)])
        return np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def _in_parts(work: Callable[[range], None], count: int, *, large: bool) -> None:
    """Share out 0 to `count` among threads where it is worth waking them."""
    if not large or len(PROCESSORS) == 1:
        work(range(count))
        return
    edges = [count * part // len(PROCESSORS) for part in range(len(PROCESSORS) + 1)]
    list(_pool().map(work, (range(a, b) for a, b in pairwise(edges))))


@cache
def _pool() -> ThreadPoolExecutor:
    """One thread a processor, kept there: woken for milliseconds only, they would all be put on the one that wakes."""
    places = iter(PROCESSORS)
    return ThreadPoolExecutor(
        len(PROCESSORS), "codes", initializer=lambda: os.sched_setaffinity(threading.get_native_id(), {next(places)})
    )


@cache
def _compiling() -> Future[tuple[Any, Any]]:
    return ThreadPoolExecutor(1, thread_name_prefix="codes-compile").submit(_kernels)


def _kernels() -> tuple[Any, Any]:
    import numba
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def popcount(_context: Any, _word: Any) -> Any:
        return types.uint64(types.uint64), lambda _ctx, builder, _signature, args: builder.ctpop(args[0])

    @intrinsic  # type: ignore[untyped-decorator]
    def fetch_ahead(_context: Any, _address: Any) -> Any:
        """Ask the memory for the line at an address."""

        def build(_ctx: Any, builder: Any, _signature: Any, args: Any) -> Any:
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            place = builder.inttoptr(args[0], cgutils.voidptr_t)
            builder.call(function, [place, number(0), number(3), number(1)])  # to read, to keep, data
            return cgutils.get_null_value(ir.IntType(8).as_pointer())

        return types.voidptr(types.uintp), build

    @numba.njit(inline="always")  # type: ignore[untyped-decorator]
    def apart(block: Any, lane: Any, code: Any) -> Any:
        """In how many bits a row differs; written out, so that the sum stays in a register."""
        a, b, c, d, e, f, g, h = code
        return (
            popcount(block[0, lane] ^ a)
            + popcount(block[1, lane] ^ b)
            + popcount(block[2, lane] ^ c)
            + popcount(block[3, lane] ^ d)
            + popcount(block[4, lane] ^ e)
            + popcount(block[5, lane] ^ f)
            + popcount(block[6, lane] ^ g)
            + popcount(block[7, lane] ^ h)
        )

    @numba.njit(inline="always")  # type: ignore[untyped-decorator]
    def words_of(codes: Any, q: Any) -> Any:
        c = codes[q]
        return c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]

    blocks_t, codes_t = types.uint64[:, :, ::1], types.uint64[:, ::1]
    least_t, floats_t = types.uint16[:, ::1], types.float32[:, ::1]

    @numba.njit(types.void(blocks_t, codes_t, least_t, types.int64, types.int64), nogil=True)  # type: ignore[untyped-decorator]
    def scan(blocks: Any, codes: Any, least: Any, first: Any, last: Any) -> None:
        """The least distance in each block, for each query."""
        for b in range(first, last):
            block = blocks[b]
            ahead = blocks.ctypes.data + (b + 1) * BLOCK_BYTES  # past the end too: that asks for nothing
            for q in range(codes.shape[0]):
                if q < LINES_EACH:
                    for line in range(LINES_EACH):
                        fetch_ahead(np.uintp(ahead + (q * LINES_EACH + line) * LINE_BYTES))
                code = words_of(codes, q)
                near = np.uint64(BITS + 1)
                for lane in range(BLOCK):  # beyond the last row are zeros, which `compare` leaves out
                    near = min(near, apart(block, lane, code))
                least[q, b] = near

    @numba.njit(  # type: ignore[untyped-decorator]
        types.void(
            *(blocks_t, types.int64, codes_t, least_t, floats_t, floats_t),
            *(types.int64, types.int64, types.int64[:, ::1], floats_t),
        ),
        nogil=True,
        fastmath={"reassoc", "contract", "nsz"},
    )
    def compare(
        blocks: Any,
        count: Any,
        codes: Any,
        least: Any,
        rows: Any,
        queries: Any,
        first: Any,
        last: Any,
        found: Any,
        scores: Any,
    ) -> None:
        """The rows as near as the nearest blocks' nearest, by their floats."""
        room, row_bytes = found.shape[1], 4 * rows.shape[1]
        far = np.empty(BLOCK, np.uint64)
        ties = np.empty(room, np.int64)
        for q in range(first, last):
            counts = np.zeros(BITS + 2, np.int64)
            for b in range(least.shape[1]):
                counts[least[q, b]] += 1
            wanted = min(BREADTH, -(-least.shape[1] // 2))
            limit, so_far = 0, counts[0]
            while so_far < wanted:
                limit += 1
                so_far += counts[limit]
            code = words_of(codes, q)
            used, tied = 0, 0
            for b in range(least.shape[1]):
                if least[q, b] > limit:
                    continue
                block = blocks[b]
                for lane in range(BLOCK):
                    far[lane] = apart(block, lane, code)
                for lane in range(min(BLOCK, count - b * BLOCK)):
                    if far[lane] < limit and used < room:
                        found[q, used] = b * BLOCK + lane
                        used += 1
                    elif far[lane] == limit and tied < room:
                        ties[tied] = b * BLOCK + lane
                        tied += 1
            for i in range(min(tied, room - used)):  # the nearer ones first: a tie cannot crowd them out
                found[q, used] = ties[i]
                used += 1
            for i in range(used):
                if i + ROWS_AHEAD < used:
                    ahead = rows.ctypes.data + found[q, i + ROWS_AHEAD] * row_bytes
                    for line in range(0, row_bytes, LINE_BYTES):
                        fetch_ahead(np.uintp(ahead + line))
                score = np.float32(0)
                for d in range(rows.shape[1]):
                    score += rows[found[q, i], d] * queries[q, d]
                scores[q, i] = score

    return scan, compare
