"""What `models.ssr.carry` does, in torch: with gradients, for batches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.ssr.carry import DEPTH_SLACK, DEPTH_TOLERANCE, MOVED_SLOPE, SEEN, SURE, SURFACE, TURNED_SLOPE

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
    height, width = kept.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = (columns + motion[:, 0]).clamp(-2, width + 1), (rows + motion[:, 1]).clamp(-2, height + 1)
    now, layers = frame[:, list(SURFACE)], torch.cat([kept, before[:, list(SURFACE)]], 1)
    total, summed = kept.new_zeros(x.shape), torch.zeros_like(kept)
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = y.floor() + down, x.floor() + across
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        place = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
        tap = layers.flatten(2).gather(2, place.flatten(1)[:, None].expand(-1, layers.shape[1], -1)).view_as(layers)
        past, then = tap[:, :7], tap[:, 7:]
        turned = ((then[:, :3] - now[:, :3]) ** 2).sum(1)
        moved = (then[:, 3] - now[:, 3]).abs() / (DEPTH_TOLERANCE * now[:, 3] + DEPTH_SLACK)
        same = torch.clamp(SURE - TURNED_SLOPE * turned, 0, 1) * torch.clamp(SURE - MOVED_SLOPE * moved, 0, 1)
        share = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside * same
        total, summed = total + share, summed + past * share[:, None]
    agreement = torch.clamp(total * SEEN, max=1)
    raised = agreement / torch.clamp(total, min=1e-6)
    return torch.cat([summed * raised[:, None], agreement[:, None]], 1)
