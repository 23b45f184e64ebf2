"""The ReID embedder: a small residual network with one global and two half-body branches and a BNNeck.

Sources: strong baseline and BNNeck, Luo et al., CVPRW 2019, section 3 (last stride 1 is what stage 3 -> 4 keeps here);
horizontal parts, Sun et al., ECCV 2018 (PCB), with two stripes instead of six.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EMBEDDING_DIM", "EmbedderNet"]

EMBEDDING_DIM = 512
STEM_CHANNELS = 24
STAGES = ((48, 2, 1), (96, 2, 1), (192, 2, 1), (192, 1, 1))  # channels, stride, blocks
GLOBAL_DIM, HALF_DIM = 256, 128


class EmbedderNet(nn.Module):
    """Person crops to embeddings.

    Shapes: crops float [N, 3, H, W] RGB, normalized, H a multiple of 32 and W of 16 (served at 128x64)
    -> embedding float [N, 512], unit norm.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, STEM_CHANNELS, 3, 2, 1, bias=False),
            nn.BatchNorm2d(STEM_CHANNELS),
            nn.ReLU(inplace=True),
        ]
        channels = STEM_CHANNELS
        for width, stride, blocks in STAGES:
            for block in range(blocks):
                layers.append(ResidualBlock(channels, width, stride if block == 0 else 1))
                channels = width
        self.backbone = nn.Sequential(*layers)
        self.global_part = nn.Linear(channels, GLOBAL_DIM, bias=False)
        self.upper_part = nn.Linear(channels, HALF_DIM, bias=False)
        self.lower_part = nn.Linear(channels, HALF_DIM, bias=False)
        self.neck = nn.BatchNorm1d(EMBEDDING_DIM)
        self.neck.bias.requires_grad_(False)  # BNNeck: the classifier's hyperplanes pass the origin

    def features(self, crops: Tensor) -> Tensor:
        """The [N, 512] features before the neck, which the metric loss sees: global 256, upper 128, lower 128."""
        maps = self.backbone(crops)
        upper, lower = maps.chunk(2, dim=2)
        whole = maps.mean(dim=(2, 3)) + maps.amax(dim=(2, 3))
        return torch.cat(
            (
                self.global_part(whole),
                self.upper_part(upper.mean(dim=(2, 3)) + upper.amax(dim=(2, 3))),
                self.lower_part(lower.mean(dim=(2, 3)) + lower.amax(dim=(2, 3))),
            ),
            dim=1,
        )

    def forward(self, crops: Tensor) -> Tensor:
        return F.normalize(self.neck(self.features(crops)), dim=1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with an average-pooled shortcut (He et al., 2019, ResNet-D)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.norm2.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            pool = [nn.AvgPool2d(stride)] if stride > 1 else []
            self.shortcut = nn.Sequential(*pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(maps)))
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(maps))
