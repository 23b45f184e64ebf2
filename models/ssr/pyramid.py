"""Filtering on a pyramid by predicted weights: all are weighted means, so that no value leaves the samples' range.

Slices end counted from the end, which leaves no sizes to be computed at run time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["TAPS", "enlarge", "filter_local", "pool", "refine", "upsample"]

TAPS = 16
"""Upsampling: for each of the 4 finer pixels the weights of its 4 nearest coarse ones."""
NEAR, WIDE = 3, 5
BROAD = 9


def enlarge(values: Tensor, factor: int) -> Tensor:
    """Repeat pixels."""
    return functional.interpolate(values, scale_factor=float(factor), mode="nearest")


def pool(values: Tensor, weight: Tensor, plain: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half the size: the weighted mean of `values`, the mean weight, the mean of `plain` (3 channels each)."""
    pooled = functional.avg_pool2d(weight, 2)
    values = functional.avg_pool2d(values * weight, 2) / (pooled + 1e-5)
    return values, pooled, functional.avg_pool2d(plain, 2)


def filter_local(values: Tensor, weight: Tensor, logits: Tensor) -> Tensor:
    """Mean by predicted kernels times the samples' weights: 9 logits for 3x3, 26 for 5x5 and the mean of 9x9."""
    side = NEAR if logits.shape[1] == NEAR**2 else WIDE
    rim = side // 2
    kernels = torch.softmax(logits, 1)
    weighted = torch.cat([values * weight, weight], 1)
    stacked = functional.pad(weighted, (rim, rim, rim, rim))
    terms = [kernels[:, tap : tap + 1] * _window(stacked, *divmod(tap, side), side) for tap in range(side**2)]
    if side == WIDE:
        terms.append(kernels[:, -1:] * functional.avg_pool2d(weighted, BROAD, stride=1, padding=BROAD // 2))
    total = _sum(terms)
    return total[:, :3] / (total[:, 3:4] + 1e-5)


def upsample(coarse: Tensor, logits: Tensor) -> Tensor:
    """Twice the size: each finer pixel is a predicted mean of its four nearest coarse ones."""
    padded = functional.pad(coarse, (1, 1, 1, 1), mode="replicate")
    phases = []
    for phase in range(4):
        down, across = divmod(phase, 2)
        taps = torch.softmax(logits[:, 4 * phase : 4 * phase + 4], 1)
        windows = [_window(padded, down + tap // 2, across + tap % 2, NEAR) for tap in range(4)]
        phases.append(_sum([taps[:, tap : tap + 1] * window for tap, window in enumerate(windows)]))
    return functional.pixel_shuffle(torch.stack(phases, 2).flatten(1, 2), 2)


def refine(coarse: Tensor, values: Tensor, weight: Tensor, kernels: Tensor, blend: Tensor) -> Tensor:
    """The level's own filtered samples against the coarser result, which has been brought to its size."""
    own = filter_local(values, weight, kernels)
    return own + torch.sigmoid(blend) * (coarse - own)


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _window(padded: Tensor, row: int, column: int, side: int) -> Tensor:
    """What lies (row, column) from the top left of a picture padded by side // 2."""
    down, across = row - side + 1, column - side + 1
    return padded[:, :, row : down or None, column : across or None]
