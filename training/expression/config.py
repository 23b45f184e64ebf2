"""What a training run is made of, and which parts of the method are on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["METHODS", "Method", "TrainConfig"]

Method = Literal["ldlva", "plain", "smoothing", "relabel"]
"""Ours; cross-entropy on the labels; label smoothing (Szegedy et al., 2016); relabelling as in SCN (Wang et al., CVPR
2020: where the network is surer of another label by a margin, that one is taken)."""
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """`minutes` is the whole training time, of the processor, over all resumptions."""

    minutes: float = 75.0
    method: Method = "ldlva"
    batch: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.03
    neighbours: int = 8
    distributions_from: float = 0.15  # before that the memory knows nothing
    learned_factor: bool = True
    factor_rate: float = 0.1
    discriminative_weight: float = 1e-3
    affect_weight: float = 0.5
    crowd_weight: float = 0.5
    doubt_weight: float = 0.3
    smoothing: float = 0.1
    relabel_margin: float = 0.2
    ema_decay: float = 0.998
    redraw: float = 0.1  # new neighbours after this part of the schedule
    geometry_only: bool = False  # of the augmentation
    seed: int = 6
    threads: int = 1
