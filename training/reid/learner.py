"""One step of training and everything that a checkpoint carries."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.reid.attributes import LABELS
from models.reid.network import EMBEDDING_DIM, EmbedderNet
from training.bookkeeping import follow, write_checkpoint
from training.reid.config import TrainConfig
from training.reid.losses import IdentityHeads, attribute_loss, batch_hard_triplet, centre_loss

__all__ = ["Learner"]

LAST_RATE = 0.004  # of the full rate
SHARPNESS = 16.0  # of attributes read off the unit embedding


class Learner:
    """The network, its running average, classifiers and centres. `half` computes the trunk in bfloat16."""

    def __init__(self, config: TrainConfig, identities: int, *, half: bool = False) -> None:
        self.config, self.half = config, half
        self.network = EmbedderNet(parts=config.parts, graph=config.graph).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.network).eval()
        self.heads = IdentityHeads(self.network.slices, identities)
        self.reader = nn.Linear(EMBEDDING_DIM, len(LABELS))  # what words will read off the embedding
        self.centres = nn.Parameter(torch.zeros(identities, EMBEDDING_DIM))
        self.optimizer = torch.optim.AdamW(self._groups(), lr=config.learning_rate)
        self.steps, self.spent_s = 0, 0.0

    def begin_from(self, trunk: dict[str, Tensor]) -> list[str]:
        """Take over an older network's stem and blocks, in order, where their shapes fit; returns what was taken.

        A block without a counterpart stays as it begins, which is the identity.
        """
        taken: dict[str, Tensor] = {}
        own = {name: value for name, value in self.network.state_dict().items() if not name.endswith("batches_tracked")}
        start = 0
        for block in sorted({int(name.split(".")[1]) for name in trunk if name.startswith("backbone.")}):
            given = _of_block(trunk, block)
            for candidate in range(start, len(self.network.backbone)):
                wanted = _of_block(own, candidate)
                if {k: v.shape for k, v in wanted.items()} == {k: v.shape for k, v in given.items()}:
                    taken |= {f"backbone.{candidate}.{name}": value for name, value in given.items()}
                    start = candidate + 1
                    break
        if trunk["global_part.weight"].shape == own["global_part.weight"].shape:
            taken["global_part.weight"] = trunk["global_part.weight"]
        for module in (self.network, self.average):
            module.load_state_dict(taken, strict=False)
        return sorted(taken)

    def know(self, words: NDArray[np.float32], correlations: NDArray[np.float32]) -> None:
        """Give the graph its labels' word embeddings and their correlations."""
        for module in (self.network, self.average):
            if module.graph is not None:
                module.graph.know(torch.from_numpy(words), torch.from_numpy(correlations))

    def step(self, inputs: Tensor, labels: Tensor, attributes: Tensor, progress: float) -> NDArray[np.float64]:
        """Learn from a batch; returns loss, identity, triplet, attributes, and the share of crops named right.

        Shapes: inputs [N, 3, H, W], labels int64 [N], attributes int64 [N, 12]; progress in [0, 1].
        """
        config = self.config
        self._set_rate(progress)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            features, logits = self.network.features(inputs)
        features, logits = features.float(), logits.float()
        necked = self.network.neck(features)
        identity = self.heads(necked, labels)
        triplet = batch_hard_triplet(features, labels)
        loss = identity + config.triplet_weight * triplet
        loss = loss + config.centre_weight * centre_loss(features, labels, self.centres)
        told = attribute_loss(logits, attributes)
        if config.attribute_weight:
            read = attribute_loss(self.reader(SHARPNESS * F.normalize(necked, dim=1)), attributes)
            loss = loss + config.attribute_weight * (told + read)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.steps += 1
        follow(self.average, self.network, min(self.config.ema_decay, (1 + self.steps) / (10 + self.steps)))
        with torch.no_grad():
            right = (self.heads.heads[-1](necked).argmax(dim=1) == labels).float().mean()
        return np.array([loss.item(), identity.item(), triplet.item(), told.item(), right.item()])

    def save(self, path: Path) -> None:
        """Write the checkpoint in one move."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "heads": self.heads.state_dict(),
            "reader": self.reader.state_dict(),
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
        self.heads.load_state_dict(kept["heads"])
        self.reader.load_state_dict(kept["reader"])
        with torch.no_grad():
            self.centres.copy_(kept["centres"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.steps, self.spent_s = kept["steps"], kept["spent_s"]

    def _set_rate(self, progress: float) -> None:
        fallen = max(0.0, progress - self.config.fall_from) / (1 - self.config.fall_from)
        rate = max(0.5 * (1 + math.cos(math.pi * min(1.0, fallen))), LAST_RATE)
        rate *= min(1.0, (self.steps + 1) / self.config.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rate * group["scale"]

    def _groups(self) -> list[dict[str, object]]:
        modules = (self.network, self.heads, self.reader)
        trained = [one for module in modules for one in module.parameters() if one.requires_grad]
        return [
            {
                "params": [one for one in trained if one.ndim > 1],
                "weight_decay": self.config.weight_decay,
                "scale": 1.0,
            },
            {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0, "scale": 1.0},
            {"params": [self.centres], "weight_decay": 0.0, "scale": 10.0},
        ]


def _of_block(state: dict[str, Tensor], block: int) -> dict[str, Tensor]:
    start = f"backbone.{block}."
    return {name[len(start) :]: value for name, value in state.items() if name.startswith(start)}
