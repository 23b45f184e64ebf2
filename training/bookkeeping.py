"""What every training keeps: a log of JSON lines, checkpoints in one move, an average of the weights that follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openvino as ov
import torch
from torch import nn

__all__ = ["follow", "say", "trains_in_half", "write_checkpoint"]


def trains_in_half() -> bool:
    """The processor computes in bfloat16; elsewhere it would be slower than float32."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the average to `network` by 1 - `keep`; what does not float, such as counters, is copied."""
    for mine, its in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mine.dtype.is_floating_point:
            mine.lerp_(its, 1 - keep)
        else:
            mine.copy_(its)


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """In one move: whoever is stopped meanwhile still has the last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    torch.save(state, beside)
    beside.replace(path)


def say(log: Path, **row: object) -> None:
    """A line into the log and onto the terminal."""
    line = json.dumps(row)
    with log.open("a", encoding="utf-8") as file:
        print(line, file=file)
    print(line, flush=True)
