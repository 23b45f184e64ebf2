"""The losses of deep clustering for metric learning: centre-based softmax with reconstruction (CBSwR).

"Deep Metric Learning Meets Deep Clustering", BMVC 2020: sections "Discriminative Clustering" (losses 1 and 2), "Metric
loss" (3) and "Final Loss" (4). Where the text leaves l(.,.) open it is the softmax of its predecessor, Ye et al., CVPR
2019, section 3.1, with centres in the place of all other pictures.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CentreDecoder", "centre_softmax", "centroids", "clustering_loss", "reconstruction_loss"]

DECODED_HW = (32, 16)


def clustering_loss(logits: Tensor, classifier: Tensor, *, balance: float = 1.0, ridge: float = 1e-4) -> Tensor:
    """L_rim (1): R(theta) - lambda [H(Y) - H(Y|X)] on the batch's logits [N, K], of the classifier's weights [K, D].

    Surely one cluster for each picture, and all clusters equally many. `balance` weighs H(Y), `ridge` is R's.
    """
    each = logits.softmax(dim=1)
    of_each = -(each * each.clamp(min=1e-8).log()).sum(dim=1).mean()
    mean = each.mean(dim=0)
    of_all = -(mean * mean.clamp(min=1e-8).log()).sum()
    return ridge * classifier.square().sum() - (balance * of_all - of_each)


def centroids(values: Tensor, assigned: Tensor, count: int) -> Tensor:
    """The mean of each cluster's values [N, ...] -> [count, ...]; zeros where a cluster has none."""
    weights = F.one_hot(assigned, count).to(values.dtype)
    weights = weights / weights.sum(dim=0).clamp(min=1)
    return torch.einsum("nk,n...->k...", weights, values)


def centre_softmax(embeddings: Tensor, positives: Tensor, centres: Tensor, assigned: Tensor, heat: float) -> Tensor:
    """L_m (3), a mean over pictures: near one's other picture, far from the centres of all other clusters.

    Shapes: embeddings and positives [N, D] unit norm, centres [K, D] unit norm, assigned int64 [N].
    """
    to_centres = embeddings @ centres.T / heat
    to_positive = (embeddings * positives).sum(dim=1) / heat
    own = F.one_hot(assigned, len(centres)).bool()
    others = to_centres.masked_fill(own, -torch.inf)
    near = torch.cat((to_positive[:, None], others), dim=1).log_softmax(dim=1)[:, 0]
    far = torch.log1p(-to_centres.softmax(dim=1).clamp(max=1 - 1e-6)).masked_fill(own, 0).sum(dim=1)
    return -(near + far).mean()


def reconstruction_loss(crops: Tensor, decoded: Tensor, assigned: Tensor) -> Tensor:
    """L_rec (2): mean square between pictures [N, 3, H, W] at the decoder's size and their centres' [K, 3, 32, 16]."""
    return F.mse_loss(decoded[assigned], F.adaptive_avg_pool2d(crops, DECODED_HW))


class CentreDecoder(nn.Module):
    """D: a centre's representation, feature maps [K, C, 8, 4], to a picture [K, 3, 32, 16]. Used in training only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(32, 3, 3, padding=1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(F.adaptive_avg_pool2d(maps, (8, 4)))
