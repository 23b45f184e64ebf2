"""What `models.ssr.carry` does, in torch: with gradients, for batches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.ssr.carry import DEPTH_SLACK, DEPTH_TOLERANCE, MOVED_SLOPE, SURE, SURFACE, TURNED_SLOPE

__all__ = ["carry", "warp"]


def warp(previous: Tensor, motion: Tensor) -> Tensor:
    """Bilinear look-up of [N, C, H, W] at pixel + motion [N, 2, H, W], 0 outside; as `models.ssr.warp` does it."""
    height, width = previous.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = (columns + 0.5 + motion[:, 0]) * (2 / width) - 1
    y = (rows + 0.5 + motion[:, 1]) * (2 / height) - 1
    grid = torch.stack([x, y], -1).clamp(-4, 4)
    return F.grid_sample(previous, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def carry(kept: Tensor, before: Tensor, frame: Tensor, motion: Tensor) -> Tensor:
    """What was kept [N, 7, H, W] of the frame `before` [N, 15, H, W], where `frame` sees it: [N, 8, H, W]."""
    surface = list(SURFACE)
    moved = warp(torch.cat([kept, before[:, surface]], 1), motion)
    past, then, now = moved[:, :7], moved[:, 7:], frame[:, surface]
    turned = ((then[:, :3] - now[:, :3]) ** 2).sum(1, keepdim=True)
    away = (then[:, 3:] - now[:, 3:]).abs() / (DEPTH_TOLERANCE * now[:, 3:] + DEPTH_SLACK)
    agreement = torch.clamp(SURE - TURNED_SLOPE * turned, 0, 1) * torch.clamp(SURE - MOVED_SLOPE * away, 0, 1)
    return torch.cat([past * agreement, agreement], 1)
