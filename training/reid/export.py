"""The averaged weights of a run to what ships, and the ranges of its activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from models.reid.network import EmbedderNet
from models.reid.spec import REID_NANO
from models.spec import WeightsRecord
from training.export import export
from training.ranges import batches_of, record_ranges
from training.reid.data import development_split, read_crops

__all__ = ["export_run", "measure_ranges"]


def export_run(run: Path, data: Path) -> WeightsRecord:
    """Write the weights of the run's last checkpoint into models/reid/weights; `data` is what it was trained on.

    Raises: FileNotFoundError where the run has no checkpoint; TopologyError if the export disagrees with torch.
    """
    kept = torch.load(run / "checkpoint.pt", weights_only=True)
    network = EmbedderNet()
    network.load_state_dict(kept["average"])
    width, height = REID_NANO.input.size_wh
    example = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    config = kept["config"]
    trained: dict[str, Any] = {
        "steps": kept["steps"],
        "crops_seen": kept["steps"] * config["people"] * config["crops_each"],
        "processor_minutes": round(kept["spent_s"] / 60, 1),
    }
    export(network, REID_NANO, [example], metrics={"training": trained}, bits=8)
    return measure_ranges(data)


def measure_ranges(data: Path) -> WeightsRecord:
    """Of the activations of the shipped network, on some of the 480 training identities' crops."""
    crops, _ = development_split(read_crops(data))
    return record_ranges(REID_NANO, batches_of(crops.images))
