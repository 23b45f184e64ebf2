"""Uncertainty-aware label distributions from neighbours in valence-arousal space.

Le et al., WACV 2023, section 3. Our first version differs in one point: neighbours' features and distributions come
from a memory of their last visits (within an epoch old) instead of a forward pass for each of the K neighbours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LARGEST_LAMBDA", "LabelDistributions", "discriminative_loss"]

LARGEST_LAMBDA = 0.35
"""Left free, the factors rise until the network mostly learns its own opinion, and rare classes are lost."""


class LabelDistributions(nn.Module):
    """The memory, the uncertainty factor of every training face, and the learned contribution of neighbours.

    `affect` float [N, 2] and `labels` int64 [N] of all training faces; `bandwidth` is delta.
    """

    memory_features: Tensor
    memory_probabilities: Tensor
    factor: Tensor

    def __init__(self, affect: Tensor, labels: Tensor, classes: int, width: int, bandwidth: float = 0.2) -> None:
        super().__init__()
        self._affect, self._labels, self._bandwidth, self._classes = affect, labels, bandwidth, classes
        self.calibration = nn.Sequential(nn.Linear(2 * width, 64), nn.ReLU(inplace=True), nn.Linear(64, 1))
        self.register_buffer("memory_features", torch.zeros(len(labels), width))
        self.register_buffer("memory_probabilities", F.one_hot(labels, classes).float())
        self.register_buffer("factor", torch.full((len(labels),), 0.2))

    def targets(self, indices: Tensor, neighbours: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """The distribution to learn [B, 7], and the factors [B] as a leaf that takes a gradient.

        Shapes: indices int64 [B], neighbours int64 [B, K] indices of training faces, features [B, V].
        """
        local = (self._affect[indices][:, None] - self._affect[neighbours]).square().sum(dim=2)
        local = torch.exp(-local / self._bandwidth**2)
        own = features.detach()[:, None].expand(-1, neighbours.shape[1], -1)
        pairs = torch.cat((own, self.memory_features[neighbours]), dim=2)
        contribution = local * torch.sigmoid(self.calibration(pairs)[..., 0]) + 1e-6
        around = (contribution[..., None] * self.memory_probabilities[neighbours]).sum(dim=1)
        around = around / contribution.sum(dim=1, keepdim=True)
        factor = self.factor[indices].clone().requires_grad_(True)
        label = F.one_hot(self._labels[indices], self._classes).float()
        return (1 - factor[:, None]) * label + factor[:, None] * around, factor

    @torch.no_grad()
    def remember(self, indices: Tensor, features: Tensor, probabilities: Tensor) -> None:
        """Keep what the network said of these faces now."""
        self.memory_features[indices] = features
        self.memory_probabilities[indices] = probabilities

    @torch.no_grad()
    def update_factors(self, indices: Tensor, gradient: Tensor, rate: float) -> None:
        """One clipped step of gradient descent on the factors of these faces; `gradient` [B] is of the mean loss."""
        step = (rate * len(indices) * gradient).clamp(-0.05, 0.05)
        self.factor[indices] = (self.factor[indices] - step).clamp(0, LARGEST_LAMBDA)


def discriminative_loss(features: Tensor, labels: Tensor, factors: Tensor, centres: Tensor) -> Tensor:
    """Compact classes, apart from each other: L_D of section 3, its first sum taken as a mean over the batch.

    Shapes: features [B, V], labels int64 [B], factors [B], centres [7, V].
    """
    inside = ((1 - factors) * (features - centres[labels]).square().sum(dim=1)).mean() / 2
    apart = (centres[:, None] - centres[None]).square().sum(dim=2) / centres.shape[1] ** 0.5
    between = torch.exp(-apart)
    return inside + between.sum() - between.diagonal().sum()
