"""Train the expression network by label distributions, on a schedule in seconds so that it ends in time.

Le et al., WACV 2023, section 3. Choices and calibration are made on a tenth of FER2013's training faces, held out by
the hash of their pixels; the public test is only for `evaluate`.
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
import torch.nn.functional as F
from torch import Tensor, nn

from models.expression.network import EXPRESSION_COUNT, FEATURE_DIM, ExpressionNet
from training.expression.affect import affect_of, nearest
from training.expression.augment import augment_faces, normalize_faces
from training.expression.data import FaceSet, read_faces, validation_split
from training.expression.ldlva import LARGEST_LAMBDA, LabelDistributions, discriminative_loss

__all__ = ["TrainConfig", "outputs_of", "train"]

CHECKPOINT_EVERY_S, VALIDATE_EVERY_S = 120.0, 600.0


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What a run is made of; `minutes` is the whole training time, over all resumptions."""

    minutes: float = 75.0
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.03
    warmup: float = 0.04
    neighbours: int = 8
    distributions_from: float = 0.15  # before that the memory knows nothing
    factor_rate: float = 0.1
    discriminative_weight: float = 1e-3
    affect_weight: float = 0.5
    doubt_weight: float = 0.3
    ema_decay: float = 0.998
    redraw: float = 0.1  # new neighbours after this part of the schedule
    seed: int = 6
    threads: int = 1


def train(data: Path, run: Path, config: TrainConfig, *, resume: bool = True) -> Path:
    """Train on nine tenths of the faces; returns the path of the last checkpoint.

    Raises: FileNotFoundError, NoFacesError or ValueError for the data.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    run.mkdir(parents=True, exist_ok=True)
    faces, validation = validation_split(read_faces(data))
    affect, voted = affect_of(faces)
    state = _State(config, faces, affect, voted)
    path = run / "checkpoint.pt"
    if resume and path.exists():
        state.load(path)
    log = run / "log.jsonl"
    images = torch.from_numpy(faces.images)
    # A resumed run draws other batches than the first: the seed moves with the seconds spent.
    generator = torch.Generator().manual_seed(config.seed + int(state.spent_s))
    numbers = np.random.default_rng(config.seed + int(state.spent_s))
    saved, validated, drawn, running = state.spent_s, state.spent_s, -1.0, np.zeros(5)
    neighbours = torch.zeros(len(images), config.neighbours, dtype=torch.int64)
    order = torch.empty(0, dtype=torch.int64)
    while (progress := state.spent_s / (60 * config.minutes)) < 1:
        started = time.monotonic()
        if progress >= config.distributions_from and (drawn < 0 or progress - drawn > config.redraw):
            neighbours, drawn = torch.from_numpy(nearest(affect, config.neighbours, numbers)), progress
        if len(order) < config.batch:
            order = torch.randperm(len(images), generator=generator)
        indices, order = order[: config.batch], order[config.batch :]
        inputs, ruined = augment_faces(images[indices], generator)
        running += state.step(
            inputs.to(memory_format=torch.channels_last), ruined, indices, neighbours[indices], progress
        )
        state.spent_s += time.monotonic() - started
        if state.steps % 50 == 0:
            names = ("loss", "divergence", "affect", "doubt", "accuracy")
            row = dict(zip(names, (running / 50).round(4).tolist(), strict=True))
            factor = round(float(state.distributions.factor.mean()), 4)
            _say(log, step=state.steps, spent_s=round(state.spent_s), progress=round(progress, 4), factor=factor, **row)
            running[:] = 0
        if state.spent_s - saved > CHECKPOINT_EVERY_S:
            state.save(path)
            saved = state.spent_s
        if state.spent_s - validated > VALIDATE_EVERY_S:
            validated = state.spent_s
            _say(log, step=state.steps, validation=_score(state.average, validation))
    state.save(path)
    _say(log, step=state.steps, validation=_score(state.average, validation))
    return path


@torch.no_grad()
def outputs_of(network: ExpressionNet, faces: FaceSet) -> tuple[Tensor, Tensor, Tensor]:
    """Uncalibrated logits [N, 7], valence and arousal [N, 2] and the doubt's logits [N] of all faces."""
    images = torch.from_numpy(faces.images)
    rows = [network.heads(network.features(normalize_faces(images[i : i + 128]))) for i in range(0, len(images), 128)]
    logits, affect, doubt = zip(*rows, strict=True)
    return torch.cat(logits), torch.cat(affect), torch.cat(doubt)


class _State:
    """Everything that a checkpoint carries."""

    def __init__(self, config: TrainConfig, faces: FaceSet, affect: np.ndarray, voted: np.ndarray) -> None:
        self.config = config
        self.labels = torch.from_numpy(faces.labels)
        self.affect = torch.from_numpy(affect)
        self.affect_weights = torch.where(torch.from_numpy(voted), 1.0, 0.3)
        self.network = ExpressionNet().to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.network).eval()
        self.distributions = LabelDistributions(self.affect, self.labels, EXPRESSION_COUNT, FEATURE_DIM)
        self.centres = nn.Parameter(torch.randn(EXPRESSION_COUNT, FEATURE_DIM) * 0.1)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=config.learning_rate)
        self.steps, self.spent_s = 0, 0.0

    def step(self, inputs: Tensor, ruined: Tensor, indices: Tensor, neighbours: Tensor, progress: float) -> np.ndarray:
        config, labels = self.config, self.labels[indices]
        warm = min(1.0, progress / config.warmup + 0.02)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * warm * (0.5 * (1 + math.cos(math.pi * progress)) + 0.002)
        features = self.network.features(inputs)
        logits, affect, doubt = self.network.heads(features)
        weights = torch.where(ruined, 0.3, 1.0)
        if progress >= config.distributions_from:
            targets, factor = self.distributions.targets(indices, neighbours, features)
        else:
            targets, factor = F.one_hot(labels, EXPRESSION_COUNT).float(), torch.zeros(len(labels), requires_grad=True)
        log_probabilities = F.log_softmax(logits, dim=1)
        divergence = (targets * (targets.clamp(min=1e-4).log() - log_probabilities)).sum(dim=1)
        divergence = (weights * divergence).mean()
        compact = discriminative_loss(features, labels, factor, self.centres)
        error = ((affect - self.affect[indices]).square().sum(dim=1) * self.affect_weights[indices] * weights).mean()
        probabilities = log_probabilities.detach().exp()
        # What the true class lacks is the doubt (Corbiere et al., NeurIPS 2019, turned round).
        lacking = 1 - probabilities.gather(1, labels[:, None])[:, 0]
        doubted = F.binary_cross_entropy_with_logits(doubt, lacking)
        loss = divergence + config.discriminative_weight * compact
        loss = loss + config.affect_weight * error + config.doubt_weight * doubted
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        if progress >= config.distributions_from and factor.grad is not None:
            self.distributions.update_factors(indices, factor.grad, config.factor_rate)
        self.distributions.remember(indices[~ruined], features.detach()[~ruined], probabilities[~ruined])
        self.steps += 1
        self._follow()
        right = (logits.argmax(dim=1) == labels).float().mean()
        return np.array([loss.item(), divergence.item(), error.item(), doubted.item(), right.item()])

    def save(self, path: Path) -> None:
        beside = path.with_suffix(".tmp")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "distributions": self.distributions.state_dict(),
                "centres": self.centres.detach(),
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
        self.distributions.load_state_dict(kept["distributions"])
        self.distributions.factor.clamp_(0, LARGEST_LAMBDA)
        with torch.no_grad():
            self.centres.copy_(kept["centres"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.steps, self.spent_s = kept["steps"], kept["spent_s"]

    def _groups(self) -> list[dict[str, object]]:
        trained = [*self.network.parameters(), *self.distributions.parameters()]
        return [
            {"params": [one for one in trained if one.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [*(one for one in trained if one.ndim <= 1), self.centres], "weight_decay": 0.0},
        ]

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.steps) / (10 + self.steps))
        for kept, new in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)


def _score(network: ExpressionNet, faces: FaceSet) -> dict[str, float]:
    logits, _, doubt = outputs_of(network, faces)
    labels = torch.from_numpy(faces.labels)
    right = (logits.argmax(dim=1) == labels).float()
    each = [float(right[labels == label].mean()) for label in range(EXPRESSION_COUNT)]
    sure = right[doubt.argsort()[: int(0.7 * len(right))]]
    return {
        "accuracy": round(100 * float(right.mean()), 2),
        "balanced_accuracy": round(100 * float(np.mean(each)), 2),
        "loss": round(float(F.cross_entropy(logits, labels)), 4),
        "accuracy_of_the_surest_70_percent": round(100 * float(sure.mean()), 2),
    }


def _say(log: Path, **row: object) -> None:
    line = json.dumps(row)
    with log.open("a", encoding="utf-8") as file:
        print(line, file=file)
    print(line, flush=True)
