"""What a training run is made of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrainConfig"]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """`minutes` is the whole training in processor time, over all resumptions; other names say what they weigh.

    A run may be taken up with other `minutes`: the rate is full until `fall_from` of them and then falls, so that a
    shorter plan only moves the fall forward.
    """

    minutes: float = 80.0
    people: int = 16
    crops_each: int = 4
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 300
    fall_from: float = 0.4
    small_until: float = 0.3
    triplet_weight: float = 1.0
    centre_weight: float = 5e-4
    attribute_weight: float = 1.0
    ema_decay: float = 0.998
    parts: bool = True
    graph: bool = True
    seed: int = 3
    threads: int = 1
