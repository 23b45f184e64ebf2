"""The expression network: a small residual network on a grey face with three heads, calibrated inside the graph.

Source: LDLVA, Le et al., WACV 2023 (distribution over emotions, valence and arousal beside it, uncertainty).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CROWD_COUNT", "EXPRESSION_COUNT", "FEATURE_DIM", "ExpressionNet"]

EXPRESSION_COUNT = 7
CROWD_COUNT = 8  # the seven and contempt
FEATURE_DIM = 256
STEM_CHANNELS = 32
STAGES = ((32, 1, 1), (64, 2, 2), (128, 2, 2), (FEATURE_DIM, 2, 1))  # channels, stride, blocks


class ExpressionNet(nn.Module):
    """Grey faces to expressions.

    Shapes: faces float [N, 1, 48, 48], normalized -> probabilities float [N, 7] that sum to 1, after the temperature;
    valence_arousal float [N, 2] in [-1, 1]; uncertainty float [N] in [0, 1], the calibrated chance that the likeliest
    expression is not the labelled one; crowd float [N, 8], how ten people asked would divide their votes.
    """

    temperature: Tensor
    uncertainty_scale: Tensor
    uncertainty_shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            # At full size 3x3 convolutions on few channels cost more time than all the rest.
            nn.Conv2d(1, STEM_CHANNELS, 6, 2, 2, bias=False),
            nn.BatchNorm2d(STEM_CHANNELS),
            nn.ReLU(inplace=True),
        ]
        channels = STEM_CHANNELS
        for width, stride, blocks in STAGES:
            for block in range(blocks):
                layers.append(ResidualBlock(channels, width, stride if block == 0 else 1))
                channels = width
        self.backbone = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.2)
        self.expression = nn.Linear(FEATURE_DIM, EXPRESSION_COUNT)
        self.affect = nn.Linear(FEATURE_DIM, 2)
        self.crowd = nn.Linear(FEATURE_DIM, CROWD_COUNT)
        self.doubt = nn.Sequential(nn.Linear(FEATURE_DIM, 64), nn.ReLU(inplace=True), nn.Linear(64, 1))
        # Set after training on held-out faces (Guo et al., ICML 2017; Platt, 1999).
        self.register_buffer("temperature", torch.ones(1))
        self.register_buffer("uncertainty_scale", torch.ones(1))
        self.register_buffer("uncertainty_shift", torch.zeros(1))

    def features(self, faces: Tensor) -> Tensor:
        """The [N, 256] features that the centres and the contribution degrees see."""
        return self.backbone(faces).mean(dim=(2, 3))

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits [N, 7], valence and arousal [N, 2], the doubt's logit [N], the crowd's [N, 8], none calibrated."""
        kept = self.dropout(features)
        # The doubt learns from the features but must not bend them towards its own ease.
        doubt = self.doubt(features.detach())[:, 0]
        return self.expression(kept), torch.tanh(self.affect(kept)), doubt, self.crowd(kept)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits, affect, doubt, crowd = self.heads(self.features(faces))
        uncertainty = torch.sigmoid(doubt * self.uncertainty_scale + self.uncertainty_shift)
        return F.softmax(logits / self.temperature, dim=1), affect, uncertainty, F.softmax(crowd, dim=1)


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
