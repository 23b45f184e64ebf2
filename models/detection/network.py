"""The detector: anchor-free, people and faces with five landmarks in one pass over three scales.

Dense 3x3 convolutions of few channels, since those, and not depthwise ones, run fast on a CPU. After YOLOX (Ge et
al., 2021: decoupled reading of class and place, no anchors) and YOLOv8's cross-stage blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["OUTPUTS_PER_POINT", "SIZES", "STRIDES", "DetectorNet"]

STRIDES = (8, 16, 32)
CLASSES = 2  # person, face
OUTPUTS_PER_POINT = CLASSES + 4 + 10  # class logits, distances left, top, right, bottom; five landmarks (dx, dy)
SIZES = {"nano": ((16, 32, 64, 96, 128), 48), "small": ((24, 48, 96, 144, 192), 64)}
"""Channels of the stem and of strides 4 to 32, and of the neck."""


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class CrossStage(nn.Module):
    """Half of the channels pass through `depth` residual pairs; everything is joined again."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        half = channels // 2
        self.enter = ConvBlock(channels, channels, 1)
        self.pairs = nn.ModuleList(nn.Sequential(ConvBlock(half, half), ConvBlock(half, half)) for _ in range(depth))
        self.leave = ConvBlock(half * (2 + depth), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept, y = self.enter(x).chunk(2, 1)
        stages = [kept, y]
        for pair in self.pairs:
            y = y + pair(y)
            stages.append(y)
        return self.leave(torch.cat(stages, 1))


class DetectorNet(nn.Module):
    """uint8-range normalized images [N, 3, H, W], sides multiples of 32 -> points [N, H*W/64 + H*W/256 + H*W/1024, 16].

    The points come scale by scale (stride 8, 16, 32), row by row. Columns: logits of person and face; distances to
    left, top, right, bottom in strides (not negative); five landmarks as (dx, dy) from the point's centre in strides.
    """

    def __init__(self, size: str = "nano") -> None:
        super().__init__()
        (w0, w1, w2, w3, w4), neck = SIZES[size]
        self.neck_channels = neck
        self.stem = nn.Sequential(ConvBlock(3, w0, 3, 2), ConvBlock(w0, w1, 3, 2), CrossStage(w1, 1))
        self.stage8 = nn.Sequential(ConvBlock(w1, w2, 3, 2), CrossStage(w2, 2))
        self.stage16 = nn.Sequential(ConvBlock(w2, w3, 3, 2), CrossStage(w3, 2))
        self.stage32 = nn.Sequential(ConvBlock(w3, w4, 3, 2), CrossStage(w4, 1))
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.context = ConvBlock(w4 * 3, neck, 1)
        self.lateral16 = ConvBlock(w3, neck, 1)
        self.lateral8 = ConvBlock(w2, neck, 1)
        self.up16 = CrossStage(neck, 1)
        self.up8 = CrossStage(neck, 1)
        self.down16 = ConvBlock(neck, neck, 3, 2)
        self.down32 = ConvBlock(neck, neck, 3, 2)
        self.out16 = CrossStage(neck, 1)
        self.out32 = CrossStage(neck, 1)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.heads = nn.ModuleList(
            nn.Sequential(ConvBlock(neck, neck), nn.Conv2d(neck, OUTPUTS_PER_POINT, 1)) for _ in STRIDES
        )
        for head in self.heads:
            last = head[-1]
            nn.init.constant_(last.bias, 0.0)
            nn.init.constant_(last.bias[:CLASSES], -4.6)  # a prior of 1 %: most points are background
            nn.init.constant_(last.bias[CLASSES : CLASSES + 4], 1.0)

    def forward(self, images: Tensor) -> Tensor:
        return self.read(self.see(images))

    def see(self, images: Tensor) -> list[Tensor]:
        """The neck's maps of strides 8, 16, 32, as many channels each: what training compares with a teacher's."""
        c8 = self.stage8(self.stem(images))
        c16 = self.stage16(c8)
        c32 = self.stage32(c16)
        pooled = self.pool(c32)
        p32 = self.context(torch.cat((c32, pooled, self.pool(pooled)), 1))
        p16 = self.up16(self.lateral16(c16) + self.upsample(p32))
        p8 = self.up8(self.lateral8(c8) + self.upsample(p16))
        n16 = self.out16(p16 + self.down16(p8))
        n32 = self.out32(p32 + self.down32(n16))
        return [p8, n16, n32]

    def read(self, neck: list[Tensor]) -> Tensor:
        """Those maps -> points."""
        read = [head(x).flatten(2) for head, x in zip(self.heads, neck, strict=True)]
        points = torch.cat(read, 2).transpose(1, 2)
        logits, distances, landmarks = points.split((CLASSES, 4, 10), 2)
        return torch.cat((logits, torch.relu(distances), landmarks), 2)
