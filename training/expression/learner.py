"""One step of training and everything that a checkpoint carries."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.expression.network import EXPRESSION_COUNT, FEATURE_DIM, ExpressionNet
from training.bookkeeping import follow, write_checkpoint
from training.expression.config import TrainConfig
from training.expression.ldlva import LARGEST_LAMBDA, LabelDistributions, discriminative_loss

__all__ = ["Learner"]


class Learner:
    """The network, its running average, the label distributions, and how they learn from a batch.

    Shapes: labels int64 [N]; affect float32 [N, 2], voted bool [N]; crowd float32 [N, 8], a row of 0 where nobody was
    asked. `half` computes in bfloat16.
    """

    def __init__(
        self,
        config: TrainConfig,
        labels: NDArray[np.int64],
        affect: NDArray[np.float32],
        voted: NDArray[np.bool_],
        crowd: NDArray[np.float32],
        *,
        half: bool = False,
    ) -> None:
        self.config, self.half = config, half
        self.labels, self.affect, self.crowd = (torch.from_numpy(one) for one in (labels, affect, crowd))
        self.affect_weights = torch.where(torch.from_numpy(voted), 1.0, 0.3)
        self.network = ExpressionNet().to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.network).eval()
        self.distributions = LabelDistributions(self.affect, self.labels, EXPRESSION_COUNT, FEATURE_DIM)
        self.centres = nn.Parameter(torch.randn(EXPRESSION_COUNT, FEATURE_DIM) * 0.1)
        self.optimizer = torch.optim.SGD(
            self._groups(), lr=config.learning_rate, momentum=config.momentum, nesterov=True
        )
        self.steps, self.spent_s = 0, 0.0

    def begin_from(self, trunk: Path) -> None:
        """Take over the trunk of another run's checkpoint, not its heads."""
        kept = torch.load(trunk, weights_only=True)["average"]
        backbone = {name: value for name, value in kept.items() if name.startswith("backbone.")}
        for module in (self.network, self.average):
            module.load_state_dict(backbone, strict=False)

    def step(
        self, inputs: Tensor, ruined: Tensor, indices: Tensor, neighbours: Tensor, progress: float
    ) -> NDArray[np.float64]:
        """Learn from a batch; returns loss, divergence, error of valence and arousal, doubt's loss, share right.

        Shapes: inputs [B, 1, H, W], ruined bool [B], indices int64 [B], neighbours int64 [B, K]; progress in [0, 1].
        """
        config, labels = self.config, self.labels[indices]
        self._set_rate(progress)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            features = self.network.features(inputs)
        features = features.float()
        logits, affect, doubt, crowd = self.network.heads(features)
        log_probabilities = F.log_softmax(logits, dim=1)
        probabilities = log_probabilities.detach().exp()
        weights = torch.where(ruined, 0.3, 1.0)
        targets, factor = self._targets(indices, neighbours, features, probabilities, progress)
        divergence = (targets * (targets.clamp(min=1e-4).log() - log_probabilities)).sum(dim=1)
        divergence = (weights * divergence).mean()
        # What the true class lacks is the doubt (Corbiere et al., NeurIPS 2019, turned round).
        lacking = 1 - probabilities.gather(1, labels[:, None])[:, 0]
        doubted = F.binary_cross_entropy_with_logits(doubt, lacking)
        error = ((affect - self.affect[indices]).square().sum(dim=1) * self.affect_weights[indices] * weights).mean()
        loss = divergence + config.doubt_weight * doubted
        if config.discriminative_weight and config.method == "ldlva":
            compact = discriminative_loss(features, labels, factor, self.centres)
            loss = loss + config.discriminative_weight * compact
        if config.affect_weight:
            loss = loss + config.affect_weight * error
        if config.crowd_weight:
            surprise = -(self.crowd[indices] * F.log_softmax(crowd, dim=1)).sum(dim=1)
            loss = loss + config.crowd_weight * (weights * surprise).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        if factor.grad is not None and config.learned_factor and config.method == "ldlva":
            self.distributions.update_factors(indices, factor.grad, config.factor_rate)
        self.distributions.remember(indices[~ruined], features.detach()[~ruined], probabilities[~ruined])
        self.steps += 1
        follow(self.average, self.network, min(self.config.ema_decay, (1 + self.steps) / (10 + self.steps)))
        right = (logits.argmax(dim=1) == labels).float().mean()
        return np.array([loss.item(), divergence.item(), error.item(), doubted.item(), right.item()])

    def save(self, path: Path) -> None:
        """Write the checkpoint in one move."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "distributions": self.distributions.state_dict(),
            "centres": self.centres.detach(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "spent_s": self.spent_s,
            "config": asdict(self.config),
        }
        write_checkpoint(path, state)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises: RuntimeError of torch if it is of another network."""
        kept = torch.load(path, weights_only=True)
        self.network.load_state_dict(kept["network"])
        self.average.load_state_dict(kept["average"])
        self.distributions.load_state_dict(kept["distributions"])
        self.distributions.factor.clamp_(0, LARGEST_LAMBDA)
        with torch.no_grad():
            self.centres.copy_(kept["centres"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.steps, self.spent_s = kept["steps"], kept["spent_s"]

    def _targets(
        self, indices: Tensor, neighbours: Tensor, features: Tensor, probabilities: Tensor, progress: float
    ) -> tuple[Tensor, Tensor]:
        """The distribution to learn [B, 7] and the uncertainty factors [B], by the method."""
        config, labels = self.config, self.labels[indices]
        certain = torch.zeros(len(labels), requires_grad=True)
        one_hot = F.one_hot(labels, EXPRESSION_COUNT).float()
        if config.method == "smoothing":
            return one_hot * (1 - config.smoothing) + config.smoothing / EXPRESSION_COUNT, certain
        if progress < config.distributions_from or config.method == "plain":
            return one_hot, certain
        if config.method == "relabel":
            surest, believed = probabilities.max(dim=1)
            own = probabilities.gather(1, labels[:, None])[:, 0]
            taken = torch.where(surest - own > config.relabel_margin, believed, labels)
            return F.one_hot(taken, EXPRESSION_COUNT).float(), certain
        return self.distributions.targets(indices, neighbours, features)

    def _set_rate(self, progress: float) -> None:
        warm = min(1.0, progress / self.config.warmup + 0.02)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * warm * (0.5 * (1 + math.cos(math.pi * progress)) + 0.002)

    def _groups(self) -> list[dict[str, Any]]:
        trained = [*self.network.parameters(), *self.distributions.parameters()]
        return [
            {"params": [one for one in trained if one.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [*(one for one in trained if one.ndim <= 1), self.centres], "weight_decay": 0.0},
        ]
