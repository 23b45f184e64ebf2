"""What each part is worth, by the held-out sequences: taken away from given weights, or trained without it.

A part is taken away by what the network is told: no accumulated samples; their mean instead of the previous output;
nothing of the past; no shadow or transparent plane.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from models.ssr.network import SsrNetwork
from training.ssr.dataset import SequenceStore
from training.ssr.train import TrainPlan, train
from training.ssr.validation import validate

__all__ = ["ROWS", "Without", "ablate", "as_markdown", "retrain"]

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


def ablate(data: Path, weights: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """For each of ROWS: PSNR by sequence of these weights without it, not trained again."""
    network = SsrNetwork()
    network.load_state_dict(weights)
    found: dict[str, dict[str, float]] = {}
    for name, parts in ROWS.items():
        found[name] = validate(Without(network, parts), data)
        print(f"{name}: {_mean(found[name]):.2f} dB", flush=True)
    return found


def retrain(data: Path, work: Path, minutes: float, *, threads: int = 1) -> dict[str, dict[str, float]]:
    """For each of ROWS: PSNR by sequence of a network trained from nothing without it.

    Every row has the same seed, the same first weights and `minutes` of processor time; a stopped run goes on with the
    checkpoints in `work`.
    """
    found: dict[str, dict[str, float]] = {}
    store = SequenceStore(data)  # once: several gigabytes
    for name, parts in ROWS.items():
        checkpoint = work / f"{minutes:g}-minutes" / f"{re.sub('[^a-z]+', '-', name)}.pt"
        plan = TrainPlan(data, checkpoint, minutes=minutes, threads=threads)
        torch.manual_seed(plan.seed)
        network = train(plan, network=Without(SsrNetwork(), parts), store=store)
        found[name] = validate(network, data)
        print(f"{name}: {_mean(found[name]):.2f} dB", flush=True)
    return found


def as_markdown(found: dict[str, dict[str, float]]) -> str:
    """A row for each, the mean over the sequences and the difference from the whole."""
    whole = _mean(found["whole"])
    lines = ["| network | PSNR dB | difference |", "|---|---|---|"]
    lines += [f"| {name} | {_mean(row):.2f} | {_mean(row) - whole:+.2f} |" for name, row in found.items()]
    return "\n".join(lines)


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
