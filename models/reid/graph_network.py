"""The graph of a person: attribute nodes that carry label word embeddings, body parts that carry the picture.

GPS, CVPR Workshops 2021 (aioz-ai): parts and attributes are nodes, a correlation matrix counted from the training
identities their edges, a GCN passes messages, and the signature that comes out joins the global feature. Its parts
come from a pretrained human parser; here masks over the feature map are learned, beginning as horizontal stripes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.reid.attributes import GROUPS, LABELS

__all__ = ["PARTS", "PartMasks", "PersonGraph"]

PARTS = ("head", "torso", "legs", "feet")
STRIPES = (1, 3, 3, 1)  # rows of the 8x4 map where each part's mask begins
SHOWN_BY = {"whole": PARTS, "head": ("head",), "torso": ("torso",), "legs": ("legs", "feet")}
NODE_DIM, HIDDEN_DIM = 64, 128
FROM_PARTS = 0.5  # the share that an attribute node takes from the parts which show it


class PartMasks(nn.Module):
    """Soft masks of the parts: where a place belongs by its looks, with the stripes as the belief beforehand."""

    def __init__(self, channels: int, map_hw: tuple[int, int] = (8, 4)) -> None:
        super().__init__()
        self.looks = nn.Conv2d(channels, len(PARTS), 1)
        nn.init.zeros_(self.looks.weight)
        prior = torch.zeros(1, len(PARTS), *map_hw)
        top = 0
        for part, rows in enumerate(STRIPES):
            prior[0, part, top : top + rows] = 3.0
            top += rows
        self.prior = nn.Parameter(prior)

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps [N, C, H, W] -> the parts' features [N, 4, C]."""
        prior = self.prior
        if prior.shape[2:] != maps.shape[2:]:
            prior = functional.interpolate(prior, size=maps.shape[2:], mode="bilinear")
        masks = (self.looks(maps) + prior).softmax(dim=1).flatten(2)
        masks = masks / masks.sum(dim=2, keepdim=True)
        return masks @ maps.flatten(2).transpose(1, 2)


class PersonGraph(nn.Module):
    """Parts [N, 4, C] and the whole [N, C] to a signature [N, 128] and the attributes' logits [N, 41]."""

    def __init__(self, channels: int, text_dim: int, signature_dim: int) -> None:
        super().__init__()
        self.register_buffer("words", torch.zeros(len(LABELS), text_dim))
        self.register_buffer("edges", _edges(torch.eye(len(LABELS))))
        self.from_words = nn.Linear(text_dim, NODE_DIM)
        self.from_parts = nn.Linear(channels, NODE_DIM)
        self.first = nn.Linear(NODE_DIM, HIDDEN_DIM)
        self.second = nn.Linear(HIDDEN_DIM, NODE_DIM)
        self.whole_says = nn.Linear(channels, len(LABELS))
        self.node_says = nn.Parameter(torch.randn(len(LABELS), NODE_DIM) * NODE_DIM**-0.5)
        self.signature = nn.Linear(NODE_DIM * (len(PARTS) + 1), signature_dim, bias=False)

    def know(self, words: Tensor, correlations: Tensor) -> None:
        """The labels' word embeddings [41, text_dim] and their correlations [41, 41], before training."""
        self.words.copy_(words)
        self.edges.copy_(_edges(correlations))

    def forward(self, parts: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        labels, bodies = self.from_words(self.words), self.from_parts(parts)
        # What labels say is the same for every picture: only parts pass messages of their own.
        told = self.edges[:, : len(LABELS)] @ self.first(labels)
        hidden = functional.relu(told + self.edges[:, len(LABELS) :] @ self.first(bodies))
        passed = self.edges @ self.second(hidden)
        attributes = functional.relu(labels + passed[:, : len(LABELS)])
        bodies = functional.relu(bodies + passed[:, len(LABELS) :])
        logits = (attributes * self.node_says).sum(dim=2) + self.whole_says(whole)
        held = torch.cat([one.softmax(dim=1) for one in logits.split(label_counts(), dim=1)], dim=1)
        believed = (held[:, None] @ attributes)[:, 0] / len(GROUPS)
        return self.signature(torch.cat((believed, bodies.flatten(1)), dim=1)), logits


def label_counts() -> list[int]:
    """How many labels each group has."""
    return [len(group.labels) for group in GROUPS]


def _edges(correlations: Tensor) -> Tensor:
    """Rows of sum 1 over labels and parts: a label hears the parts that show it, a part the labels it shows."""
    count = len(LABELS)
    edges = torch.zeros(count + len(PARTS), count + len(PARTS))
    edges[:count, :count] = correlations * (1 - FROM_PARTS)
    shown = [set(SHOWN_BY[group.part]) for group in GROUPS for _ in group.labels]
    for label, names in enumerate(shown):
        for part, name in enumerate(PARTS):
            if name in names:
                edges[label, count + part] = FROM_PARTS / len(names)
                edges[count + part, label] = 1.0
    edges[count:, :count] *= FROM_PARTS / edges[count:, :count].sum(dim=1, keepdim=True)
    edges[count:, count:] = torch.eye(len(PARTS)) * (1 - FROM_PARTS)
    return edges
