"""From a run's averaged weights to what ships."""

from __future__ import annotations

from pathlib import Path

import torch

from models.detection.network import DetectorNet
from models.detection.spec import DETECTION_NANO
from training.export import export

__all__ = ["ship"]


def ship(run: Path) -> None:
    """Write topology, weights and record of the detector; prints their digests."""
    saved = torch.load(run / "checkpoint.pt", weights_only=True)
    network = DetectorNet()
    network.load_state_dict(saved["averaged"])
    trained = {"steps": saved["step"], "minutes": round(saved["spent_s"] / 60, 1)}
    print(export(network, DETECTION_NANO, (torch.zeros(2, 3, 96, 128),), metrics={"training": trained}))
