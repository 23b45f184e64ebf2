"""Train the embedder from scratch, on a schedule in seconds so that it ends in time on a busy machine.

Luo et al., CVPRW 2019 (losses, warm-up); weights are averaged exponentially; the first half sees 96x48 crops at half
the cost. Progress, learning rate and size follow the seconds spent, which a checkpoint carries on.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.reid.network import GLOBAL_DIM, HALF_DIM, EmbedderNet
from training.reid.augment import augment_crops, normalize_crops
from training.reid.data import CropSet, development_split, read_crops
from training.reid.losses import IdentityHeads, batch_hard_triplet
from training.reid.protocol import market_metrics, query_indices
from training.reid.sampler import CameraAwareBatches

__all__ = ["TrainConfig", "train"]

CHECKPOINT_EVERY_S, EVALUATE_EVERY_S = 120.0, 900.0


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What a run is made of; `minutes` is the whole training time, over all resumptions."""

    minutes: float = 75.0
    people: int = 16
    crops_each: int = 4
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    warmup: float = 0.04
    small_until: float = 0.5
    triplet_weight: float = 1.0
    ema_decay: float = 0.998
    seed: int = 3
    threads: int = 1


def train(data: Path, run: Path, config: TrainConfig, *, resume: bool = True) -> Path:
    """Train on the development split's 480 identities; returns the path of the last checkpoint.

    Raises: FileNotFoundError or NoCropsError for the data.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    run.mkdir(parents=True, exist_ok=True)
    crops, held_out = development_split(read_crops(data))
    names, labels = np.unique(crops.identities, return_inverse=True)
    state = _State(config, len(names))
    path = run / "checkpoint.pt"
    if resume and path.exists():
        state.load(path)
    log = run / "log.jsonl"
    images, targets = torch.from_numpy(crops.images), torch.from_numpy(labels.astype(np.int64))
    # A resumed run draws other batches than the first: the seed moves with the seconds spent.
    generator = torch.Generator().manual_seed(config.seed + int(state.spent_s))
    batches = CameraAwareBatches(
        crops.identities,
        crops.cameras,
        config.people,
        config.crops_each,
        np.random.default_rng(config.seed + int(state.spent_s)),
    )
    saved, evaluated, running = state.spent_s, state.spent_s, np.zeros(3)
    for indices in batches:
        progress = state.spent_s / (60 * config.minutes)
        if progress >= 1:
            break
        started = time.monotonic()
        size = (96, 48) if progress < config.small_until else (128, 64)
        inputs = augment_crops(images[indices], size, generator).to(memory_format=torch.channels_last)
        running += state.step(inputs, targets[indices], progress)
        state.spent_s += time.monotonic() - started
        if state.steps % 50 == 0:
            row = dict(zip(("loss", "identity", "triplet"), (running / 50).round(4).tolist(), strict=True))
            _say(log, step=state.steps, spent_s=round(state.spent_s), progress=round(progress, 4), **row)
            running[:] = 0
        if state.spent_s - saved > CHECKPOINT_EVERY_S:
            state.save(path)
            saved = state.spent_s
        if state.spent_s - evaluated > EVALUATE_EVERY_S:
            evaluated = state.spent_s
            _say(log, step=state.steps, held_out=_score(state.average, held_out))
    state.save(path)
    _say(log, step=state.steps, held_out=_score(state.average, held_out))
    return path


class _State:
    """Everything that a checkpoint carries: network, average, classifiers, optimizer, steps and seconds spent."""

    def __init__(self, config: TrainConfig, identities: int) -> None:
        self.config = config
        self.network = EmbedderNet().to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.network).eval()
        self.heads = IdentityHeads((GLOBAL_DIM, HALF_DIM, HALF_DIM), identities)
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, self.heads, config.weight_decay), lr=config.learning_rate
        )
        self.steps, self.spent_s = 0, 0.0

    def step(self, inputs: Tensor, labels: Tensor, progress: float) -> np.ndarray:
        warm = min(1.0, progress / self.config.warmup + 0.02)
        rate = self.config.learning_rate * warm * (0.5 * (1 + math.cos(math.pi * progress)) + 0.002)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        features = self.network.features(inputs)
        identity = self.heads(self.network.neck(features), labels)
        triplet = batch_hard_triplet(features, labels)
        loss = identity + self.config.triplet_weight * triplet
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.steps += 1
        self._follow()
        return np.array([loss.item(), identity.item(), triplet.item()])

    def save(self, path: Path) -> None:
        beside = path.with_suffix(".tmp")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "heads": self.heads.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "steps": self.steps,
                "spent_s": self.spent_s,
                "config": asdict(self.config),
            },
            beside,
        )
        beside.replace(path)

    def load(self, path: Path) -> None:
        kept = torch.load(path, weights_only=True)
        self.network.load_state_dict(kept["network"])
        self.average.load_state_dict(kept["average"])
        self.heads.load_state_dict(kept["heads"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.steps, self.spent_s = kept["steps"], kept["spent_s"]

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.steps) / (10 + self.steps))
        for kept, new in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)


def _groups(network: nn.Module, heads: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    trained = [one for module in (network, heads) for one in module.parameters() if one.requires_grad]
    return [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def _score(network: nn.Module, crops: CropSet) -> dict[str, float]:
    images = torch.from_numpy(crops.images)
    embeddings = torch.cat([network(normalize_crops(images[i : i + 64])) for i in range(0, len(images), 64)]).numpy()
    queries = query_indices(crops.names, crops.identities, crops.cameras)
    return {
        key: round(value, 2)
        for key, value in market_metrics(embeddings, crops.identities, crops.cameras, queries).items()
    }


def _say(log: Path, **row: object) -> None:
    line = json.dumps(row)
    with log.open("a", encoding="utf-8") as file:
        print(line, file=file)
    print(line, flush=True)
