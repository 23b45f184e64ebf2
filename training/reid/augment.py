"""Batched augmentation of crops: flip, shift and zoom in one resampling, light, colour, low resolution, random erasing.

Random erasing: Zhong et al., AAAI 2020 (filled with the mean colour, which is 0 once normalized).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["augment_crops", "normalize_crops"]

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
SHIFT, ZOOM = 0.08, 0.12  # parts of the crop: what another detector's boxes are off by
LIGHT, CONTRAST, TINT = 0.25, 0.2, 0.08
P_LIGHT, P_GREY, P_SMALL, P_ERASE = 0.5, 0.05, 0.1, 0.5


def normalize_crops(crops_bgr: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] BGR to normalized float [N, 3, H, W] RGB."""
    return (crops_bgr.flip(-1).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def augment_crops(crops_bgr: Tensor, size_hw: tuple[int, int], generator: torch.Generator) -> Tensor:
    """uint8 [N, H, W, 3] BGR to an augmented, normalized float [N, 3, *size_hw] RGB."""
    crops = normalize_crops(crops_bgr)
    count = len(crops)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    def chance(probability: float) -> Tensor:
        return torch.rand(count, generator=generator) < probability

    zoom = 1 + uniform(-ZOOM, ZOOM)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = torch.where(chance(0.5), -1.0, 1.0) * zoom
    theta[:, 1, 1] = zoom * (1 + uniform(-ZOOM / 2, ZOOM / 2))
    theta[:, 0, 2], theta[:, 1, 2] = uniform(-2 * SHIFT, 2 * SHIFT), uniform(-2 * SHIFT, 2 * SHIFT)
    grid = F.affine_grid(theta, [count, 3, *size_hw], align_corners=False)
    out = F.grid_sample(crops, grid, align_corners=False, padding_mode="zeros")

    small = chance(P_SMALL)
    if small.any():
        reduced = F.interpolate(out[small], scale_factor=0.5, mode="area")
        out[small] = F.interpolate(reduced, size=size_hw, mode="bilinear")
    light = chance(P_LIGHT).float().view(-1, 1, 1, 1)
    gain = 1 + light * uniform(-CONTRAST, CONTRAST).view(-1, 1, 1, 1)
    out = out * gain + light * (uniform(-LIGHT, LIGHT).view(-1, 1, 1, 1) / STD.mean())
    # The white balance of another camera; small, since colours name people's clothes.
    tint = 1 + (torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1) * TINT * light
    out = out * tint
    grey = chance(P_GREY)
    if grey.any():
        out[grey] = out[grey].mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    return _erase(out, chance(P_ERASE), generator)


def _erase(crops: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    height, width = crops.shape[2:]
    for index in chosen.nonzero().flatten().tolist():
        area, ratio, top, left = torch.rand(4, generator=generator).tolist()
        size = (0.02 + 0.31 * area) * height * width
        aspect = 0.3 * (1 / 0.09) ** ratio
        box_h, box_w = int((size * aspect) ** 0.5), int((size / aspect) ** 0.5)
        if 0 < box_h < height and 0 < box_w < width:
            y, x = int(top * (height - box_h)), int(left * (width - box_w))
            crops[index, :, y : y + box_h, x : x + box_w] = 0
    return crops
