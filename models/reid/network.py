"""The ReID embedder: a small residual trunk, its global feature, learned parts, and the graph's signature.

Sources: strong baseline and BNNeck, Luo et al., CVPRW 2019, section 3 (last stride 1 is what stage 3 -> 4 keeps here);
GPS, CVPRW 2021 (`graph_network.py`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.reid.attributes import LABELS
from models.reid.graph_network import PARTS, PartMasks, PersonGraph
from models.reid.text import TEXT_DIM

__all__ = ["EMBEDDING_DIM", "EmbedderNet"]

EMBEDDING_DIM = 512
STEM_CHANNELS = 24
STAGES = ((48, 2, 1), (96, 2, 2), (192, 2, 2), (192, 1, 1))  # channels, stride, blocks
GLOBAL_DIM, PART_DIM, SIGNATURE_DIM = 256, 32, 128
ENLARGED, STEP = 1.25, 16
"""Crops are looked at a quarter larger, so that the last maps have 10x5 places for 8x4; sizes are multiples of STEP."""


class EmbedderNet(nn.Module):
    """Person crops to embeddings.

    Shapes: crops float [N, 3, H, W] RGB, normalized (served at 128x64) -> embedding float [N, 512], unit norm.
    Without `graph` or `parts`, for the ablation, the global feature takes their room.
    """

    def __init__(self, *, parts: bool = True, graph: bool = True) -> None:
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
        rest = (len(PARTS) * PART_DIM if parts else 0, SIGNATURE_DIM if graph else 0)
        self.slices = tuple(size for size in (EMBEDDING_DIM - sum(rest), *rest) if size)
        self.global_part = nn.Linear(channels, self.slices[0], bias=False)
        self.masks = PartMasks(channels) if parts or graph else None
        self.part_says = nn.Linear(channels, PART_DIM * len(PARTS), bias=False) if parts else None
        self.graph = PersonGraph(channels, TEXT_DIM, SIGNATURE_DIM) if graph else None
        self.attributes = None if graph else nn.Linear(channels, len(LABELS))
        self.neck = nn.BatchNorm1d(EMBEDDING_DIM)
        self.neck.bias.requires_grad_(False)  # BNNeck: the classifier's hyperplanes pass the origin

    def features(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The [N, 512] features before the neck, which the metric loss sees, and the attributes' logits [N, 41]."""
        return self.features_of(self.maps(crops))

    def maps(self, crops: Tensor) -> Tensor:
        """The trunk's feature maps [N, 192, h, w]; of 128x64 it sees 160x80."""
        size = [STEP * round(ENLARGED * int(side) / STEP) for side in crops.shape[2:]]
        larger = F.interpolate(crops, size=size, mode="bilinear", align_corners=False)
        return self.backbone(larger)

    def features_of(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The same from the trunk's feature maps [N, 192, h, w]."""
        whole = maps.mean(dim=(2, 3)) + maps.amax(dim=(2, 3))
        found = [self.global_part(whole)]
        bodies = None if self.masks is None else self.masks(maps)
        if self.part_says is not None and bodies is not None:
            each = self.part_says.weight.view(len(PARTS), PART_DIM, -1)
            found.append(torch.einsum("npc,pdc->npd", bodies, each).flatten(1))
        if self.graph is not None and bodies is not None:
            signature, logits = self.graph(bodies, whole)
            found.append(signature)
        elif self.attributes is not None:
            logits = self.attributes(whole)
        return torch.cat(found, dim=1), logits

    def forward(self, crops: Tensor) -> Tensor:
        return F.normalize(self.neck(self.features(crops)[0]), dim=1)


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
