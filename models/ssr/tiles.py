"""Frames that are larger than an engine takes: overlapping tiles, whose results fade into each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.engine import ShapeProfile

__all__ = ["Runs", "largest_hw", "run_in_tiles", "spans"]

STEP = 16
"""Tiles begin and end where the coarsest level of the network has a pixel's edge."""
OVERLAP = 128
"""How far neighbours see into each other: two coarse filters' reach."""
UNLIMITED = 1 << 30


class Runs(Protocol):
    """What is needed of `models.engine.Engine`."""

    @property
    def profile(self) -> ShapeProfile: ...

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]: ...


def largest_hw(engine: Runs) -> tuple[int, int]:
    """Rows and columns of the largest frame that an engine takes at once."""
    rows, columns = engine.profile.ranges["frame"][2:4]
    return (rows[2] if rows else UNLIMITED, columns[2] if columns else UNLIMITED)


def run_in_tiles(
    engine: Runs, inputs: Mapping[str, NDArray[np.float32]], limit_hw: tuple[int, int]
) -> Mapping[str, NDArray[Any]]:
    """As `engine.run` for [N, C, H, W] of any H and W that are multiples of 16."""
    rows, columns = next(iter(inputs.values())).shape[2:]
    down, across = spans(rows, limit_hw[0]), spans(columns, limit_hw[1])
    if len(down) == len(across) == 1:
        return engine.run(inputs)
    down_weights, across_weights = _weights(rows, down), _weights(columns, across)
    joined: dict[str, NDArray[Any]] = {}
    for vertical, top_weights in zip(down, down_weights, strict=True):
        for level, left_weights in zip(across, across_weights, strict=True):
            window = np.s_[..., vertical, level]
            weights = top_weights[:, None] * left_weights
            for name, values in engine.run({name: layers[window] for name, layers in inputs.items()}).items():
                if name not in joined:
                    joined[name] = np.zeros((*values.shape[:2], rows, columns), np.float32)
                joined[name][window] += values * weights
    return joined


def spans(length: int, limit: int) -> list[slice]:
    """Equal spans of at most `limit` that cover `length` and overlap."""
    if length <= limit:
        return [slice(0, length)]
    size = limit // STEP * STEP
    overlap = min(OVERLAP, size // 2)
    count = -(-(length - overlap) // (size - overlap))
    starts = [round(index * (length - size) / (count - 1) / STEP) * STEP for index in range(count)]
    return [slice(start, start + size) for start in starts]


def _weights(length: int, parts: list[slice]) -> list[NDArray[np.float32]]:
    """For each span the share of its result: rising from its ends, and in all 1 at each place."""
    raw = []
    for part in parts:
        inside = np.arange(part.start, part.stop) + 0.5
        before = inside - part.start if part.start else np.full(inside.shape, np.inf)
        after = part.stop - inside if part.stop < length else np.full(inside.shape, np.inf)
        raw.append(np.minimum(np.minimum(before, after), OVERLAP))
    total = np.zeros(length)
    for part, weights in zip(parts, raw, strict=True):
        total[part] += weights
    return [(weights / total[part]).astype(np.float32) for part, weights in zip(parts, raw, strict=True)]
