"""What each part is worth: the network goes on training without it, and is judged on the held-out sequences.

A part is taken away by what the network is told: no accumulated samples; their mean instead of the previous output;
nothing of the past; no shadow or transparent plane. Every row begins with the same weights and trains for the same
time, the whole network as well.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.ssr.network import SsrNetwork
from training.ssr.train import TrainPlan, train
from training.ssr.validation import validate

__all__ = ["ROWS", "Without", "ablate", "as_markdown"]

FRAME_PARTS = {"shadow": slice(10, 11), "transparent": slice(11, 12)}
ROWS: dict[str, tuple[str, ...]] = {
    "base": ("accumulator", "previous output"),
    "base + accumulator": ("previous output",),
    "base + previous output": ("accumulator",),
    "whole": (),
    "whole, without shadow": ("shadow",),
    "whole, without transparent": ("transparent",),
}


class Without(nn.Module):
    """A network that is not told of some parts."""

    def __init__(self, network: nn.Module, parts: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self._parts = parts

    def forward(self, frame: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """As the network's own."""
        frame = _emptied(frame, [FRAME_PARTS[part] for part in self._parts if part in FRAME_PARTS])
        history = _forgotten(history, self._parts)
        radiance, after = self.network(frame, history)
        return radiance, after


def ablate(data: Path, weights: dict[str, Tensor], minutes: float, *, threads: int = 1) -> dict[str, dict[str, float]]:
    """For each of ROWS: PSNR by sequence. `minutes` of processor time for each; 0 judges the weights as they are."""
    found: dict[str, dict[str, float]] = {}
    for name, parts in ROWS.items():
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "checkpoint.pt"
            plan = TrainPlan(data, checkpoint, minutes=minutes, rate=3e-4, threads=threads)
            network = train(plan, network=Without(_network(weights), parts)) if minutes else None
        network = network or Without(_network(weights), parts)
        found[name] = validate(network, data)
        print(f"{name}: {_mean(found[name]):.2f} dB", flush=True)
    return found


def as_markdown(found: dict[str, dict[str, float]]) -> str:
    """A row for each, the mean over the sequences and the difference from the whole."""
    whole = _mean(found["whole"])
    lines = ["| network | PSNR dB | difference |", "|---|---|---|"]
    lines += [f"| {name} | {_mean(row):.2f} | {_mean(row) - whole:+.2f} |" for name, row in found.items()]
    return "\n".join(lines)


def _network(weights: dict[str, Any]) -> SsrNetwork:
    network = SsrNetwork()
    network.load_state_dict(weights)
    return network


def _mean(row: dict[str, float]) -> float:
    return sum(row.values()) / len(row)


def _forgotten(history: Tensor, parts: tuple[str, ...]) -> Tensor:
    sums, count, output, agreement = history.split((3, 1, 3, 1), 1)
    if {"accumulator", "previous output"} <= set(parts):
        return torch.zeros_like(history)
    if "accumulator" in parts:
        return torch.cat([sums * 0, count * 0, output, agreement], 1)
    if "previous output" in parts:
        return torch.cat([sums, count, sums / (count + 1e-4), agreement], 1)
    return history


def _emptied(layers: Tensor, parts: list[slice]) -> Tensor:
    if not parts:
        return layers
    kept = torch.ones(1, layers.shape[1], 1, 1)
    for part in parts:
        kept[:, part] = 0
    return layers * kept
