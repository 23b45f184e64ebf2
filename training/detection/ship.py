"""From a run's averaged weights to what ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.detection.golden import GOLDEN, drawn_picture, summary
from models.detection.network import DetectorNet
from models.detection.spec import DETECTORS
from training.detection.data import normalize_batch
from training.export import export

__all__ = ["ship"]


def ship(run: Path, size: str) -> None:
    """Write topology, weights and record of the detector of that size; prints their digests."""
    saved = torch.load(run / "checkpoint.pt", weights_only=True)
    network = DetectorNet(size)
    network.load_state_dict(saved["averaged"])
    metrics = {
        "training": {"steps": saved["step"], "minutes": round(saved["spent_s"] / 60, 1)},
        GOLDEN: summary(_points(network)),
    }
    print(export(network, DETECTORS[f"detector-{size}"], (torch.zeros(2, 3, 96, 128),), metrics=metrics, bits=8))


@torch.inference_mode()
def _points(network: DetectorNet) -> np.ndarray:
    return network.eval()(torch.from_numpy(normalize_batch([drawn_picture()]))).numpy()
