"""Bring what was kept of the frame before to where this frame sees it (the paper's operator W), and drop what it hides.

In float32 and outside the network: half a pixel is lost when film positions are rounded to bf16. One pass over the
pixels in machine code that Numba makes, which takes a quarter of the time of OpenCV's warps and NumPy's tests.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SURFACE", "carry", "prepare"]

SURFACE = (7, 8, 9, 12)
"""The frame's channels that say which surface a pixel shows: normal 3, depth."""
DEPTH_TOLERANCE = 0.1
DEPTH_SLACK = 1e-3
TURNED_SLOPE, MOVED_SLOPE, SURE = 5.0, 2.0, 3.0
"""Agreement is SURE less the differences by these slopes, within 0 and 1: of normals squared, of depth by tolerance."""

Layers = NDArray[np.float32]


def prepare() -> None:
    """Begin to compile, in the background: `carry` would wait for seconds the first time."""
    _compiling()


def carry(
    kept: Layers,
    surface: Layers,
    motion: Layers,
    frame: Layers,
    rates: tuple[float, float],
    out: Layers,
    rows: range | None = None,
) -> Layers:
    """Bilinear look-up at pixel + motion, 0 outside the frame and where another surface was.

    Shapes: kept [7, H', W'] and surface [4, H', W'] of the frame before, motion [H, W, 2] in pixels (dx, dy) of at
    least 2x2, frame [15, H', W']; all contiguous, H' and W' are H and W or more. `rates` bring the kept radiance and
    the depth of the surface to the frame's scales. `rows`: only these, so that threads can share the work.
    Writes sums 3, count, output 3, agreement to [:, :H, :W] of `out` [8, H', W'] and returns it.
    """
    (height, width), chosen = motion.shape[:2], rows or range(len(motion))
    run = _compiling().result()
    layers = (kept.reshape(7, -1), surface.reshape(4, -1), motion, frame, *map(np.float32, rates), out)
    run(*layers, height, width, chosen.start, chosen.stop)
    return out


@cache
def _compiling() -> Future[Any]:
    return ThreadPoolExecutor(1, thread_name_prefix="carry-compile").submit(_kernel)


def _kernel() -> Any:
    import numba
    from numba import types

    one, sure, tolerance, slack = (np.float32(value) for value in (1, SURE, DEPTH_TOLERANCE, DEPTH_SLACK))
    turned_slope, moved_slope = np.float32(TURNED_SLOPE), np.float32(MOVED_SLOPE)
    one_on = np.uint64(1)
    flat, layers = types.float32[:, ::1], types.float32[:, :, ::1]

    @numba.njit(inline="always")  # type: ignore[untyped-decorator]
    def ramp(value: Any) -> Any:
        return min(max(value, np.float32(0)), one)

    @numba.njit(inline="always")  # type: ignore[untyped-decorator]
    def between(position: Any, size: Any) -> Any:
        """The first of two neighbours inside, and the shares of both; shares of what is outside are 0."""
        first = np.int32(np.floor(position))
        part = position - np.float32(first)
        if first < 0:
            return np.int32(0), part, np.float32(0)
        if first > size - 2:
            return np.int32(max(size - 2, 0)), np.float32(0), one - part
        return first, one - part, part

    @numba.njit(inline="always")  # type: ignore[untyped-decorator]
    def look_up(plane: Any, place: Any, row: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        return a * plane[place] + b * plane[place + one_on] + c * plane[place + row] + d * plane[place + row + one_on]

    @numba.njit(  # type: ignore[untyped-decorator]
        types.void(
            *(flat, flat, layers, layers, types.float32, types.float32, layers),
            *(types.int64, types.int64, types.int64, types.int64),
        ),
        nogil=True,
        fastmath={"reassoc", "contract", "nsz"},
    )
    def run(
        kept: Any,
        surface: Any,
        motion: Any,
        frame: Any,
        radiance_rate: Any,
        depth_rate: Any,
        out: Any,
        height: Any,
        width: Any,
        first: Any,
        last: Any,
    ) -> None:
        """Rows `first` to `last`, two layers at a time: a large picture's would push each other out of the cache."""
        row = np.uint64(out.shape[2])
        shares, places = np.empty((4, width), np.float32), np.empty(width, np.uint64)
        surely = np.empty(width, np.float32)
        for y in range(first, last):
            for x in range(width):
                at_x, at_y = np.float32(x) + motion[y, x, 0], np.float32(y) + motion[y, x, 1]
                inside = -1 < at_x < width and -1 < at_y < height
                left, west, east = between(at_x if inside else np.float32(0), width)
                top, north, south = between(at_y if inside else np.float32(0), height)
                weight = np.float32(inside)
                shares[0, x], shares[1, x] = north * west * weight, north * east * weight
                shares[2, x], shares[3, x] = south * west * weight, south * east * weight
                places[x] = np.uint64(top) * row + np.uint64(left)
            for pair in range(2):
                one_plane, other_plane = surface[2 * pair], surface[2 * pair + 1]
                one_now, other_now = frame[7 + 2 * pair, y], frame[8 if pair == 0 else 12, y]
                for x in range(width):
                    place, a, b, c, d = places[x], shares[0, x], shares[1, x], shares[2, x], shares[3, x]
                    turned = (look_up(one_plane, place, row, a, b, c, d) - one_now[x]) ** 2
                    other = look_up(other_plane, place, row, a, b, c, d)
                    if pair == 0:
                        surely[x] = turned + (other - other_now[x]) ** 2
                    else:
                        turned += surely[x]
                        moved = abs(other * depth_rate - other_now[x]) / (tolerance * other_now[x] + slack)
                        surely[x] = ramp(sure - turned_slope * turned) * ramp(sure - moved_slope * moved)
                        out[7, y, x] = surely[x]
            for layer in range(0, 7, 2):
                second = min(layer + 1, 6)
                one_plane, other_plane = kept[layer], kept[second]
                one_rate, other_rate = radiance_rate, one if second == 3 else radiance_rate
                for x in range(width):
                    place, a, b, c, d = places[x], shares[0, x], shares[1, x], shares[2, x], shares[3, x]
                    out[layer, y, x] = look_up(one_plane, place, row, a, b, c, d) * surely[x] * one_rate
                    out[second, y, x] = look_up(other_plane, place, row, a, b, c, d) * surely[x] * other_rate

    return run
