"""GPS's ablation in short trainings: global feature, + attributes, + parts, + graph, as the paper's table.

The 480 training identities are split again, 400 to learn from and 80 to measure on; the 120 are not read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from models.reid.network import EmbedderNet
from training.reid.augment import normalize_crops
from training.reid.config import TrainConfig
from training.reid.data import CropSet, development_split, read_crops
from training.reid.protocol import market_metrics, query_indices
from training.reid.train import train_on

__all__ = ["STAGES", "ablate"]

VALIDATION_IDENTITIES = 80
STAGES: dict[str, dict[str, float | bool]] = {
    "global": {"attribute_weight": 0.0, "parts": False, "graph": False},
    "+ attributes": {"parts": False, "graph": False},
    "+ parts": {"graph": False},
    "+ graph": {},
}


def ablate(
    data: Path, attributes: Path, run: Path, config: TrainConfig, *, trunk: Path | None = None, seeds: int = 1
) -> dict[str, dict[str, float]]:
    """Train each stage for `config.minutes` with each seed, resumable; returns means of mAP and rank1, and mAP's range.

    Raises: FileNotFoundError or NoCropsError for the data.
    """
    known, _ = development_split(read_crops(data))
    fitted, held_back = development_split(known, VALIDATION_IDENTITIES)
    found: dict[str, dict[str, float]] = {}
    for name, changed in STAGES.items():
        rows = []
        for seed in range(config.seed, config.seed + seeds):
            once = replace(config, seed=seed, **changed)
            folder = run / f"{name.replace('+ ', '')}-{seed}"
            checkpoint = train_on(fitted, attributes, folder, once, trunk=trunk)
            rows.append(_score(checkpoint, once, held_back))
            print(json.dumps({"stage": name, "seed": seed, **rows[-1]}), flush=True)
        precisions = [row["mAP"] for row in rows]
        found[name] = {
            "mAP": round(float(np.mean(precisions)), 2),
            "mAP_range": round(max(precisions) - min(precisions), 2),
            "rank1": round(float(np.mean([row["rank1"] for row in rows])), 2),
        }
    return found


@torch.no_grad()
def _score(checkpoint: Path, config: TrainConfig, crops: CropSet) -> dict[str, float]:
    network = EmbedderNet(parts=config.parts, graph=config.graph).eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    images = torch.from_numpy(crops.images)
    embeddings = torch.cat([network(normalize_crops(images[i : i + 64])) for i in range(0, len(images), 64)]).numpy()
    queries = query_indices(crops.names, crops.identities, crops.cameras)
    scores = market_metrics(embeddings, crops.identities, crops.cameras, queries)
    return {name: round(scores[name], 2) for name in ("mAP", "rank1", "mINP")}
