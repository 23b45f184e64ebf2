"""Adapting the embedder to a site's own pictures, without labels: clusters of all pictures, then learning from them.

aioz-ai, BMVC 2020, figure 1: encoder, embedding, clustering, decoder, three losses. There K clusters of a batch are
found by a classifier that starts anywhere; here it starts at the centres of clusters of the whole site
(`clusters.py`), found again in each round, so that K is the site's own.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.reid.network import EMBEDDING_DIM, EmbedderNet
from training.bookkeeping import follow, trains_in_half
from training.reid.augment import augment_crops, normalize_crops
from training.reid.centres import (
    CentreDecoder,
    centre_softmax,
    centroids,
    clustering_loss,
    reconstruction_loss,
)
from training.reid.clusters import ALONE, centred, find_clusters

__all__ = ["AdaptConfig", "Adapted", "NoClustersError", "adapt", "embed_crops"]

SIZE_HW = (128, 64)
SHARPNESS = 16.0  # of the classifier's logits
EMBED_AT_A_TIME = 64


class NoClustersError(ValueError):
    """Too few pictures are like each other: there is nothing to learn from."""


@dataclass(frozen=True, slots=True)
class AdaptConfig:
    """`minutes` is processor time in all; other names say what they weigh."""

    minutes: float = 10.0
    rounds: int = 8
    people: int = 16
    crops_each: int = 4
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    metric_weight: float = 1.0
    clustering_weight: float = 0.5
    reconstruction_weight: float = 0.1
    heat: float = 0.1
    cut: float = 0.7
    near: int = 20
    ema_decay: float = 0.99
    seed: int = 3
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Adapted:
    """The network with the averaged weights, and how its rounds went."""

    network: EmbedderNet
    steps: int
    rounds: tuple[dict[str, float], ...]


def adapt(
    network: EmbedderNet,
    crops_bgr: NDArray[np.uint8],
    cameras: Sequence[str],
    config: AdaptConfig,
    said: Callable[[float, dict[str, float]], None] = lambda progress, row: None,
) -> Adapted:
    """Learn from crops uint8 [N, 128, 64, 3] BGR alone, and which camera took each.

    `said` hears progress (0 to 1) and the last round.

    Raises: NoClustersError.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    learner = _Adapter(network, torch.tensor(crops_bgr), cameras, config)
    rounds: list[dict[str, float]] = []
    limit_s = 60 * config.minutes
    while learner.spent_s < limit_s:
        learner.find_clusters()
        running, steps = np.zeros(4), 0
        while not steps or learner.spent_s < limit_s * (len(rounds) + 1) / config.rounds:
            running += learner.step(min(1.0, learner.spent_s / limit_s))
            steps += 1
            said(min(1.0, learner.spent_s / limit_s), rounds[-1] if rounds else {})
        kinds = ("loss", "metric", "clustering", "reconstruction")
        row = dict(zip(kinds, (running / steps).round(4).tolist(), strict=True))
        rounds.append({"clusters": len(learner.members), "clustered": round(learner.clustered, 3), **row})
    return Adapted(learner.average, learner.steps, tuple(rounds))


@torch.inference_mode()
def embed_crops(network: EmbedderNet, crops_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeddings [N, 512], unit norm, of crops uint8 [N, 128, 64, 3] BGR, without an engine."""
    network = network.eval()
    images = torch.tensor(crops_bgr)
    starts = range(0, len(images), EMBED_AT_A_TIME)
    batches = (normalize_crops(images[start : start + EMBED_AT_A_TIME]) for start in starts)
    return torch.cat([network(one.to(memory_format=torch.channels_last)) for one in batches]).numpy()


class _Adapter:
    """The network, its running average, the classifier of clusters and the decoder."""

    def __init__(self, network: EmbedderNet, images: Tensor, cameras: Sequence[str], config: AdaptConfig) -> None:
        self.config, self.images, self.cameras = config, images, cameras
        self.network = copy.deepcopy(network).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.network).eval()
        self.classifier = nn.Parameter(torch.zeros(1, EMBEDDING_DIM))
        self.decoder = CentreDecoder(self.network.global_part.in_features)
        self.members: list[NDArray[np.int64]] = []
        self.clustered = 0.0
        self.steps, self.spent_s = 0, 0.0
        self._half = trains_in_half()
        self._generator = torch.Generator().manual_seed(config.seed)
        self._draw = np.random.default_rng(config.seed)
        trained = [one for one in (*self.network.parameters(), *self.decoder.parameters()) if one.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)

    def find_clusters(self) -> None:
        """Look at all pictures with the averaged network; the classifier starts at the clusters' centres."""
        began_s = time.process_time()
        embeddings = torch.from_numpy(embed_crops(self.average, self.images.numpy()))
        looks = centred(embeddings.numpy(), self.cameras)
        labels = find_clusters(looks, self.config.cut, self.config.near)
        self.members = [np.flatnonzero(labels == one) for one in range(int(labels.max(initial=ALONE)) + 1)]
        if len(self.members) < self.config.people:
            raise NoClustersError(
                f"adapting: expected {self.config.people} groups or more of pictures that are alike, found "
                f"{len(self.members)} in {len(labels):,} pictures; wait until the site has seen more people"
            )
        self.clustered = float((labels != ALONE).mean())
        centres = torch.stack([F.normalize(embeddings[some].mean(dim=0), dim=0) for some in self.members])
        self.classifier = nn.Parameter(centres)
        self._of_clusters = torch.optim.AdamW([self.classifier], lr=self.config.learning_rate, weight_decay=0.0)
        self.spent_s += time.process_time() - began_s

    def step(self, progress: float) -> NDArray[np.float64]:
        """Learn from one batch; returns the loss and its three parts."""
        began_s = time.process_time()
        config = self.config
        rate = config.learning_rate * min(1.0, (self.steps + 1) / 20) * (1 - 0.95 * progress)
        for group in (*self._optimizer.param_groups, *self._of_clusters.param_groups):
            group["lr"] = rate
        chosen = self._draw.choice(len(self.members), config.people, replace=False)
        first, second = self._pairs(chosen)
        crops = augment_crops(self.images[np.concatenate((first, second))], SIZE_HW, self._generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            maps = self.network.maps(crops.to(memory_format=torch.channels_last))
            features = self.network.features_of(maps)[0]
        maps = maps.float()
        embeddings = F.normalize(self.network.neck(features.float()), dim=1)
        logits = SHARPNESS * embeddings @ self.classifier[chosen].T
        assigned = logits.detach().argmax(dim=1)
        rows = centroids(maps, assigned, len(chosen))
        neck = self.network.neck
        necked = F.batch_norm(
            self.network.features_of(rows)[0], neck.running_mean, neck.running_var, neck.weight, neck.bias
        )
        centres = F.normalize(necked, dim=1)
        others = embeddings.roll(len(first), dims=0)
        metric = centre_softmax(embeddings, others, centres, assigned, config.heat)
        clustering = clustering_loss(logits, self.classifier[chosen])
        rebuilt = reconstruction_loss(crops, self.decoder(rows), assigned)
        loss = config.metric_weight * metric + config.clustering_weight * clustering
        loss = loss + config.reconstruction_weight * rebuilt
        self._optimizer.zero_grad(set_to_none=True)
        self._of_clusters.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self._optimizer.step()
        self._of_clusters.step()
        self.steps += 1
        follow(self.average, self.network, min(config.ema_decay, (1 + self.steps) / (10 + self.steps)))
        self.spent_s += time.process_time() - began_s
        return np.array([loss.item(), metric.item(), clustering.item(), rebuilt.item()])

    def _pairs(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Some pictures of each of the clusters, and for each another of the same cluster."""
        firsts, seconds = [], []
        for cluster in chosen:
            members = self.members[cluster]
            some = self._draw.choice(members, self.config.crops_each, replace=len(members) < self.config.crops_each)
            firsts.append(some)
            seconds.append(np.roll(some, 1))
        return np.concatenate(firsts), np.concatenate(seconds)
