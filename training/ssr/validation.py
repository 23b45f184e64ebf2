"""How good a network is on sequences that are not trained on, to choose by: the test scenes are for the last figure.

Held out are two whole scenes, and the procedural rooms whose number ends in 1. Figures by the protocol of `evaluate`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.engine import ShapeProfile
from models.ssr.history import History
from models.ssr.metrics import protocol_exposure, psnr_db
from models.ssr.reconstructor import Reconstructor
from models.ssr.spec import SSR
from training.ssr.sequences import PLANES, load_planes

__all__ = ["TorchEngine", "held_out", "validate"]

HELD_OUT = re.compile(r"living-room-2-|coffee-|room-\d*1-")


class TorchEngine:
    """A network in training behind the interface of engines, float32."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval()
        self.profile = ShapeProfile.of(SSR)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """As `models.engine.Engine.run`."""
        with torch.inference_mode():
            came = self._network(*(torch.from_numpy(inputs[name]) for name in ("frame", "history")))
        return {name: tensor.numpy() for name, tensor in zip(("radiance", "history_out"), came, strict=True)}


def held_out(stem: str) -> bool:
    """Whether a sequence is for validation."""
    return HELD_OUT.match(stem) is not None


def validate(network: nn.Module, folder: Path) -> dict[str, float]:
    """PSNR in dB by sequence, mean over its referenced frames."""
    reconstructor = Reconstructor(TorchEngine(network))
    found: dict[str, float] = {}
    for file in sorted(folder.glob("*.npz")):
        if not held_out(file.stem):
            continue
        stored = load_planes(file)
        references = dict(zip(stored["referenced"].tolist(), stored["reference"].astype(np.float32), strict=True))
        scale = np.float32(protocol_exposure(list(references.values())))
        history: History | None = None
        decibels = []
        for index in range(max(references) + 1):
            planes = {name: stored[name][index] for name in PLANES}
            [(picture, history)] = reconstructor.reconstruct([planes], [history])
            if index in references:
                decibels.append(psnr_db(picture * scale, references[index] * scale))
        found[file.stem] = round(float(np.mean(decibels)), 3)
    return found
