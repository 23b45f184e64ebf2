"""Export a checkpoint to what is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from models.spec import WeightsRecord
from models.ssr.network import FRAME_CHANNELS, HISTORY_CHANNELS, SsrNetwork
from models.ssr.spec import SSR
from training.export import export, load_network
from training.ssr.golden import write_golden

__all__ = ["load_checkpoint", "ship"]


def load_checkpoint(checkpoint: Path) -> tuple[SsrNetwork, int, float]:
    """The averaged network, the steps and the seconds that it was trained for."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = SsrNetwork()
    network.load_state_dict(saved["average"])
    return network.eval(), int(saved["step"]), float(saved["seconds"])


def ship(checkpoint: Path, metrics: Mapping[str, Any] | None = None) -> WeightsRecord:
    """Write the files of `models/ssr/weights` and the golden tensors. Raises: the errors of `export`."""
    network, step, seconds = load_checkpoint(checkpoint)
    generator = torch.Generator().manual_seed(1)
    frame = torch.rand(2, FRAME_CHANNELS, 64, 96, generator=generator)
    history = torch.rand(2, HISTORY_CHANNELS, 64, 96, generator=generator)
    training = {"training": {"steps": step, "minutes": round(seconds / 60, 1)}}
    record = export(network, SSR, (frame, history), metrics={**training, **(metrics or {})})
    write_golden(cast("SsrNetwork", load_network(network, SSR)))
    return record
