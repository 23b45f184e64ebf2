"""The paper's losses (its equations 2 and 3) on a tone curve, with a squared term whose minimum is the mean.

References are prefiltered, so that L1-like terms do not learn the median of noise. The squared term is the root for
each crop: figures are means of decibels, so that an easy crop counts as much as a hard one. The paper's albedo loss
has no place: albedo comes noise-free and is not accumulated.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.ssr.carry import warp

__all__ = ["sequence_loss", "tone"]

SPATIAL, TEMPORAL, EDGE, WARPED, SQUARED = 0.7, 0.1, 0.2, 0.6, 4.0
FRAME_WEIGHTS = (0.5, 0.75, 1.0)
CURVE = 12.0
ABOVE_WHITE = 0.2
"""What is brighter than white counts so much: it is clamped where it is shown."""


def tone(radiance: Tensor) -> Tensor:
    """A curve near sRGB's encoding between 0 and 1 that goes on above white, but flatter."""
    encoded = torch.log1p(CURVE * torch.clamp(radiance, min=0)) / math.log1p(CURVE)
    return torch.clamp(encoded, max=1) + ABOVE_WHITE * F.relu(encoded - 1)


def sequence_loss(results: list[Tensor], references: list[Tensor], motions: list[Tensor]) -> tuple[Tensor, float]:
    """The loss over consecutive frames, and the last frame's mean squared error on the tone curve (for the log)."""
    shown = [tone(result) for result in results]
    wanted = [tone(reference) for reference in references]
    total = results[0].new_zeros(())
    for index, weight in enumerate(FRAME_WEIGHTS[-len(shown) :]):
        total = total + weight * _frame_loss(shown[index], wanted[index])
        if index:
            change, truth = shown[index] - shown[index - 1], wanted[index] - wanted[index - 1]
            total = total + weight * TEMPORAL * 4 * (change - truth).abs().mean()
    if len(shown) > 1:
        inside = warp(torch.ones_like(shown[-2][:, :1]), motions[-1]) > 0.99
        drift = shown[-1] - warp(shown[-2], motions[-1])
        truth = wanted[-1] - warp(wanted[-2], motions[-1])
        total = total + WARPED * 4 * ((drift - truth).abs() * inside).mean()
    return total, float(((torch.clamp(shown[-1], max=1) - torch.clamp(wanted[-1], max=1)) ** 2).mean().detach())


def _frame_loss(shown: Tensor, wanted: Tensor) -> Tensor:
    smape = ((shown - wanted).abs() / (shown.abs() + wanted.abs() + 0.05)).mean()
    squared = torch.sqrt(((shown - wanted) ** 2).mean((1, 2, 3)) + 1e-5).mean()
    edges = (_edges(shown) - _edges(wanted)).abs().mean() / (wanted.mean() + 0.05)
    return SPATIAL * smape + SQUARED * (squared - math.sqrt(1e-5)) + EDGE * edges


def _edges(picture: Tensor) -> Tensor:
    """High frequency error norm: a Laplacian of a Gaussian, 5x5 (Ravishankar and Bresler 2011)."""
    side = torch.arange(-2.0, 3.0)
    square = (side[:, None] ** 2 + side[None] ** 2) / (2 * 1.0**2)
    kernel = (square - 1) * torch.exp(-square)
    kernel = (kernel - kernel.mean()).expand(3, 1, 5, 5)
    return F.conv2d(picture, kernel, groups=3)
