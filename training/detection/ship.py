"""From a run's averaged weights to what ships, and the ranges of its activations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.detection.golden import GOLDEN, drawn_picture, summary
from models.detection.network import DetectorNet
from models.detection.preprocess import fit_of, letterbox
from models.detection.spec import DETECTORS, LONG_SIDES
from training.detection.data import load_samples, normalize_batch
from training.export import export
from training.ranges import record_ranges

__all__ = ["measure_ranges", "ship"]

PICTURES_EACH = 60


def ship(run: Path, size: str, data: Path) -> None:
    """Write topology, weights and record of the detector of that size; prints their digests."""
    saved = torch.load(run / "checkpoint.pt", weights_only=True)
    network = DetectorNet(size)
    network.load_state_dict(saved["averaged"])
    metrics = {
        "training": {"steps": saved["step"], "minutes": round(saved["spent_s"] / 60, 1)},
        GOLDEN: summary(_points(network)),
    }
    print(export(network, DETECTORS[f"detector-{size}"], (torch.zeros(2, 3, 96, 128),), metrics=metrics, bits=8))
    measure_ranges(size, data)


def measure_ranges(size: str, data: Path) -> None:
    """Of the activations of the shipped detector of that size, on some of the training photographs."""
    spec = DETECTORS[f"detector-{size}"]
    record_ranges(spec, _photographs(data, LONG_SIDES[spec.name]))


def _photographs(data: Path, long_side: int) -> Iterator[NDArray[np.uint8]]:
    for name in ("person_train.csv", "face_train.csv"):
        samples = load_samples(data / name, kind=0)
        for index in np.random.default_rng(0).permutation(len(samples))[:PICTURES_EACH]:
            image = samples[index].image
            fit = fit_of((image.shape[1], image.shape[0]), long_side)
            batch = np.empty((1, *fit.padded_wh[::-1], 3), np.uint8)
            letterbox(image, fit, batch[0])
            yield batch


@torch.inference_mode()
def _points(network: DetectorNet) -> np.ndarray:
    return network.eval()(torch.from_numpy(normalize_batch([drawn_picture()]))).numpy()
