"""The detector: three levels of cells, each saying how surely a person and a face is here, and where it reaches.

Sources: one cell, one prediction, no anchors, as YOLOX (Ge et al., 2021, section 2.1); two-way pyramid of PANet (Liu
et al., CVPR 2018); pooling pyramid (He et al., 2014) as one 5x5 pool repeated. Dense 3x3 convolutions behind narrow
1x1 ones are used on purpose: on CPUs they run at four times the arithmetic rate of depthwise ones.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.detection.spec import GEOMETRY

__all__ = ["DetectorNet"]

STEM, WIDTHS, BLOCKS, NECK = 32, (48, 96, 160), (2, 3, 2), 48
PRIOR = 0.01  # first score of every cell, so that the many empty ones do not drown the rest (Lin et al., 2017)


class DetectorNet(nn.Module):
    """Pictures to scores and geometry of cells.

    Shapes: images float [N, 3, H, W] BGR 0-1, H and W multiples of 32 -> scores [N, L, 2] in [0, 1], geometry
    [N, L, 18], where L = H*W/64 + H*W/256 + H*W/1024, levels one after the other, rows first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(12, STEM, 3, 2)
        stages: list[nn.Module] = []
        channels = STEM
        for width, blocks in zip(WIDTHS, BLOCKS, strict=True):
            stages.append(nn.Sequential(ConvNorm(channels, width, 3, 2), *(Residual(width) for _ in range(blocks))))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.pool = PoolingPyramid(WIDTHS[-1], NECK)
        self.laterals = nn.ModuleList(ConvNorm(width, NECK, 1) for width in WIDTHS[:2])
        self.down_blocks = nn.ModuleList(Residual(NECK) for _ in range(2))
        self.up_convs = nn.ModuleList(ConvNorm(NECK, NECK, 3, 2) for _ in range(2))
        self.towers = nn.ModuleList(nn.Sequential(Residual(NECK), ConvNorm(NECK, 64, 1)) for _ in WIDTHS)
        self.heads = nn.ModuleList(nn.Conv2d(64, 2 + GEOMETRY, 1) for _ in WIDTHS)
        for head in self.heads:
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
            nn.init.constant_(head.bias[:2], -math.log((1 - PRIOR) / PRIOR))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits, geometry = self.cells(images)
        return logits.sigmoid(), geometry

    def cells(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same with logits instead of scores, for the loss."""
        maps = self.stem(F.pixel_unshuffle(images, 2))
        levels = []
        for stage in self.stages:
            maps = stage(maps)
            levels.append(maps)
        eighth, sixteenth, last = levels
        deep = self.pool(last)
        middle = self.down_blocks[0](self.laterals[1](sixteenth) + F.interpolate(deep, scale_factor=2.0))
        fine = self.down_blocks[1](self.laterals[0](eighth) + F.interpolate(middle, scale_factor=2.0))
        middle = middle + self.up_convs[0](fine)
        deep = deep + self.up_convs[1](middle)
        found = [
            head(tower(level)).flatten(2)
            for head, tower, level in zip(self.heads, self.towers, (fine, middle, deep), strict=True)
        ]
        cells = torch.cat(found, dim=2).transpose(1, 2)
        return cells[..., :2], cells[..., 2:]


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(maps)))


class Residual(nn.Module):
    """1x1 to half the channels, 3x3 back, added to what came in (Redmon and Farhadi, 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = ConvNorm(channels, channels // 2, 1)
        self.widen = ConvNorm(channels // 2, channels, 3)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.widen(self.narrow(maps))


class PoolingPyramid(nn.Module):
    """Maxima over 5, 9 and 13 cells beside the maps themselves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = inputs // 2
        self.narrow = ConvNorm(inputs, half, 1)
        self.mix = ConvNorm(half * 4, outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        first = self.narrow(maps)
        second = F.max_pool2d(first, 5, 1, 2)
        third = F.max_pool2d(second, 5, 1, 2)
        return self.mix(torch.cat((first, second, third, F.max_pool2d(third, 5, 1, 2)), dim=1))
