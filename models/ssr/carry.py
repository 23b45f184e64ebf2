"""Bring what was kept of the frame before to where this frame sees it (the paper's operator W), and drop what it hides.

Each of the four pixels of a look-up is tested for itself (as in "Spatiotemporal Variance-Guided Filtering", HPG 2017):
at an edge their mean is neither surface, and what is known of both would be lost.

In float32 and outside the network: half a pixel is lost when film positions are rounded to bf16. One pass over the
pixels in machine code that Numba makes, which takes a quarter of the time of OpenCV's warps and NumPy's tests.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SEEN", "SURFACE", "carry", "prepare"]

SURFACE = (7, 8, 9, 12)
"""The frame's channels that say which surface a pixel shows: normal 3, depth."""
DEPTH_TOLERANCE = 0.1
DEPTH_SLACK = 1e-3
TURNED_SLOPE, MOVED_SLOPE, SURE = 5.0, 2.0, 3.0
"""A pixel agrees by SURE less the differences by these slopes, 0 to 1: of normals squared, of depth by tolerance."""
SEEN = 4.0
"""History counts in full where a quarter of a look-up agrees."""

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
    """Bilinear look-up at pixel + motion among what shows the same surface; 0 outside the frame and where nothing does.

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
    turned_slope, moved_slope, seen = np.float32(TURNED_SLOPE), np.float32(MOVED_SLOPE), np.float32(SEEN)
    least = np.float32(1e-6)
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
        shares, turned = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
        places = np.empty(width, np.uint64)
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
            for tap in range(4):
                step = np.uint64(tap % 2) + np.uint64(tap // 2) * row
                for x in range(width):
                    place = places[x] + step
                    turned[tap, x] = (surface[0, place] - frame[7, y, x]) ** 2
                    turned[tap, x] += (surface[1, place] - frame[8, y, x]) ** 2
            for tap in range(4):
                step = np.uint64(tap % 2) + np.uint64(tap // 2) * row
                for x in range(width):
                    place, far = places[x] + step, frame[12, y, x]
                    away = turned[tap, x] + (surface[2, place] - frame[9, y, x]) ** 2
                    moved = abs(surface[3, place] * depth_rate - far) / (tolerance * far + slack)
                    shares[tap, x] *= ramp(sure - turned_slope * away) * ramp(sure - moved_slope * moved)
            for x in range(width):
                total = shares[0, x] + shares[1, x] + shares[2, x] + shares[3, x]
                agreement = min(total * seen, one)
                raised = agreement / max(total, least)
                out[7, y, x] = agreement
                for tap in range(4):
                    shares[tap, x] *= raised
            for layer in range(0, 7, 2):
                second = min(layer + 1, 6)
                one_plane, other_plane = kept[layer], kept[second]
                one_rate, other_rate = radiance_rate, one if second == 3 else radiance_rate
                for x in range(width):
                    place, a, b, c, d = places[x], shares[0, x], shares[1, x], shares[2, x], shares[3, x]
                    out[layer, y, x] = look_up(one_plane, place, row, a, b, c, d) * one_rate
                    out[second, y, x] = look_up(other_plane, place, row, a, b, c, d) * other_rate

    return run
