"""Calibrate the averaged weights of a run on the validation faces and write what ships.

Temperature: Guo et al., ICML 2017, section 4.2. Uncertainty: Platt, 1999, on the event that the likeliest is wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.expression.network import ExpressionNet
from models.expression.spec import EXPRESSION_NANO
from models.spec import WeightsRecord
from training.export import export
from training.expression.data import FaceSet, read_faces, validation_split
from training.expression.train import outputs_of
from training.ranges import batches_of, record_ranges

__all__ = ["calibrate", "export_run", "measure_ranges"]


def export_run(run: Path, data: Path) -> WeightsRecord:
    """Write the calibrated weights of the run's last checkpoint into models/expression/weights.

    `data` is what the run was trained on; its validation tenth is found again by the hash of the pixels.
    Raises: FileNotFoundError where the run has no checkpoint; TopologyError if the export disagrees with torch.
    """
    kept = torch.load(run / "checkpoint.pt", weights_only=True)
    network = ExpressionNet()
    network.load_state_dict(kept["average"])
    network.eval()
    faces, validation = validation_split(read_faces(data))
    logits, _, doubt, _ = outputs_of(network, validation)
    temperature, scale, shift = calibrate(logits, doubt, torch.from_numpy(validation.labels))
    network.temperature.fill_(temperature)
    network.uncertainty_scale.fill_(scale)
    network.uncertainty_shift.fill_(shift)
    width, height = EXPRESSION_NANO.input.size_wh
    example = torch.randn(4, 1, height, width, generator=torch.Generator().manual_seed(0))
    trained: dict[str, Any] = {
        "steps": kept["steps"],
        "faces_seen": kept["steps"] * kept["config"]["batch"],
        "minutes": round(kept["spent_s"] / 60, 1),
        "of_minutes": kept["config"]["minutes"],
        "temperature": round(temperature, 4),
    }
    calibration = ("temperature", "uncertainty_scale", "uncertainty_shift")
    export(network, EXPRESSION_NANO, [example], metrics={"training": trained}, keep_float32=calibration, bits=8)
    return measure_ranges(faces)


def measure_ranges(faces: FaceSet) -> WeightsRecord:
    """Of the activations of the shipped network, on some of its training faces."""
    return record_ranges(EXPRESSION_NANO, batches_of(faces.images[..., None]))


def calibrate(logits: Tensor, doubt: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Temperature of the logits [N, 7], and scale and shift of the doubt [N], by likelihood on labels int64 [N]."""
    wrong = (logits.argmax(dim=1) != labels).float()
    log_temperature = torch.zeros(1, requires_grad=True)
    line = torch.tensor((1.0, 0.0), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature, line], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / log_temperature.exp(), labels)
        loss = loss + F.binary_cross_entropy_with_logits(doubt * line[0] + line[1], wrong)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(log_temperature.detach().exp()), float(line[0].detach()), float(line[1].detach())
