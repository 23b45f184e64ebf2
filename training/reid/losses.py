"""Identity loss on each slice of the embedding, the batch-hard triplet, the centre loss, the attributes' loss.

Luo et al., CVPRW 2019, section 3 (label smoothing 0.1, BNNeck, centres); Hermans et al., 2017, section 2 (batch hard).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.reid.graph_network import label_counts

__all__ = ["IdentityHeads", "attribute_loss", "batch_hard_triplet", "centre_loss"]

LABEL_SMOOTHING = 0.1


class IdentityHeads(nn.Module):
    """One bias-free classifier for each slice of the embedding, and one for the whole."""

    def __init__(self, slices: tuple[int, ...], identities: int) -> None:
        super().__init__()
        self._slices = slices
        self.heads = nn.ModuleList(nn.Linear(width, identities, bias=False) for width in (*slices, sum(slices)))
        for head in self.heads:
            nn.init.normal_(head.weight, std=0.01)

    def forward(self, necked: Tensor, labels: Tensor) -> Tensor:
        """Mean label-smoothed cross entropy; necked float [N, D] after the BNNeck, labels int64 [N]."""
        parts = (*necked.split(self._slices, dim=1), necked)
        losses = [
            F.cross_entropy(head(part), labels, label_smoothing=LABEL_SMOOTHING)
            for head, part in zip(self.heads, parts, strict=True)
        ]
        return torch.stack(losses).mean()


def batch_hard_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """Softplus of the farthest positive less the nearest negative, Euclidean; features [N, D], labels [N]."""
    distances = torch.cdist(features, features)
    same = labels[:, None] == labels[None, :]
    farthest = distances.masked_fill(~same, 0).amax(dim=1)
    nearest = distances.masked_fill(same, float("inf")).amin(dim=1)
    return F.softplus(farthest - nearest).mean()


def centre_loss(features: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """Half the squared distance of a feature to its identity's learned centre; centres [identities, D]."""
    return 0.5 * (features - centres[labels]).square().sum(dim=1).mean()


def attribute_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of the groups; logits [N, 41], labels int64 [N, 12], -1 where unknown."""
    groups = zip(logits.split(label_counts(), dim=1), labels.unbind(dim=1), strict=True)
    losses = [F.cross_entropy(group, known, ignore_index=-1, reduction="sum") for group, known in groups]
    return torch.stack(losses).sum() / (labels >= 0).sum().clamp(min=1)
