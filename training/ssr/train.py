"""Train the reconstruction network on what `render` wrote; resumable, with a running average of the weights.

The schedule follows the processor's time, so a run that is stopped or shares its cores anneals all the same.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.ssr.network import HISTORY_CHANNELS, SsrNetwork
from models.ssr.spec import SSR
from training.bookkeeping import trains_in_half, write_checkpoint
from training.export import load_network
from training.ssr.carry import carry
from training.ssr.dataset import Batch, SequenceStore
from training.ssr.losses import sequence_loss

__all__ = ["RATE", "WARM_RATE", "TrainPlan", "train"]

AVERAGE = 0.995
REFRESH_STEPS = 10
RATE, WARM_RATE = 1.5e-3, 1e-3


@dataclass(frozen=True)
class TrainPlan:
    """For how many minutes of processor time, on what. The rate falls with a cosine over all runs together."""

    data: Path
    checkpoint: Path
    minutes: float = 60.0
    batch: int = 4
    crop: int = 96
    rate: float = RATE
    threads: int = 1
    warm: bool = False
    """Begin with the shipped weights where there is no checkpoint yet."""
    seed: int = 0
    steps: int | None = None
    """Stop earlier, after so many steps in all."""


def train(plan: TrainPlan, network: nn.Module | None = None, store: SequenceStore | None = None) -> nn.Module:
    """Train until the minutes are over; the checkpoint is written every 10 steps and at the end.

    `network`: another one than a new SsrNetwork, with its inputs and outputs. `store`: the plan's data where it is in
    memory. Returns the network with the averaged weights.
    """
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    network = network or SsrNetwork()
    if plan.warm:
        load_network(network, SSR)
    network = network.to(memory_format=torch.channels_last)  # a fifth faster
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.Adam(network.parameters(), lr=plan.rate, betas=(0.9, 0.99))
    step, spent = 0, 0.0
    if plan.checkpoint.is_file():
        saved = torch.load(plan.checkpoint, map_location="cpu", weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        average, step, spent = saved["average"], saved["step"], saved["seconds"]
    store = store or SequenceStore(plan.data)
    store.begin(plan.seed + step)
    half = trains_in_half()
    started, seen = time.process_time() - spent, []
    while (elapsed := time.process_time() - started) < plan.minutes * 60 and step != plan.steps:
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * _pace(step, elapsed / (plan.minutes * 60))
        loss, error = _losses(network, store.batch(plan.batch, plan.crop), half)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        step += 1
        decay = min(AVERAGE, step / (step + 20))
        for name, value in network.state_dict().items():
            average[name].lerp_(value, 1 - decay)
        seen.append((float(loss.detach()), error))
        if step % REFRESH_STEPS == 0:
            _save(plan.checkpoint, network, optimizer, average, step, elapsed)
            losses, errors = (sum(part) / len(seen) for part in zip(*seen, strict=True))
            count = store.refresh()
            print(
                f"step {step} {elapsed / 60:.1f} min loss {losses:.4f} psnr {-10 * math.log10(errors):.2f} of {count}",
                flush=True,
            )
            seen.clear()
    _save(plan.checkpoint, network, optimizer, average, step, time.process_time() - started)
    network.load_state_dict(average)
    return network


def _losses(network: nn.Module, batch: Batch, half: bool) -> tuple[Tensor, float]:
    """Run up to the first referenced frame without gradients, then learn through the referenced ones."""
    kept: Tensor | None = None
    results, references, motions = [], [], []
    for index in range(batch.frames.shape[0]):
        frame = batch.frames[index]
        if kept is None:
            history = frame.new_zeros(frame.shape[0], HISTORY_CHANNELS, *frame.shape[2:])
        else:
            history = carry(kept, batch.frames[index - 1], frame, batch.motion[index])
        if index not in batch.referenced:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
                kept = network(frame, history)[1].float()
            continue
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            result, kept = (layers.float() for layers in network(frame, history))
        results.append(result * batch.radiance_scale)
        references.append(batch.reference[batch.referenced.index(index)])
        motions.append(batch.motion[index])
    return sequence_loss(results, references, motions)


def _pace(step: int, part: float) -> float:
    """Warm up over 100 steps, then a cosine down to 2 %."""
    return min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(part, 1.0))))


def _save(
    target: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    step: int,
    seconds: float,
) -> None:
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average,
        "step": step,
        "seconds": seconds,
    }
    write_checkpoint(target, state)
