"""Replicas by consumer lag in seconds, for Serve's custom autoscaling policy.

Each replica reports two figures by `record_autoscaling_stats()`: how long it would take to work off what waits on its
partitions at its present speed, and how many partitions its topic has. More replicas than partitions would idle, so
that is the ceiling whatever the configuration says. Serve's own delays smooth the decision: scaling down is slow,
because every rebalance costs each stream its state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from actors.config import AutoscalingConfig

__all__ = ["LAG_S", "PARTITIONS", "LagPolicy", "desired_replicas", "serve_options"]

LAG_S = "foveal_lag_s"
PARTITIONS = "foveal_partitions"

# Below this share of the target the load of one replica fewer would still be well under it.
SPARE_SHARE = 0.25


class ScalingContext(Protocol):
    """What this policy reads of Serve's `AutoscalingContext`."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None: ...
    @property
    def current_num_replicas(self) -> int: ...
    @property
    def capacity_adjusted_min_replicas(self) -> int: ...
    @property
    def capacity_adjusted_max_replicas(self) -> int: ...


def desired_replicas(current: int, lags_s: list[float], target_lag_s: float, low: int, high: int) -> int:
    """How many replicas keep the worst lag under its target.

    `lags_s`: seconds behind, one figure a replica. In proportion to the overshoot, but at most doubled at once; one
    fewer where the worst is a quarter of the target or less. Always within [low, high].
    """
    if current <= 0 or not lags_s:
        return max(low, min(high, max(current, low)))
    worst_s = max(lags_s)
    wanted = current
    if worst_s > target_lag_s:
        wanted = min(2 * current, math.ceil(current * worst_s / target_lag_s))
    elif worst_s <= SPARE_SHARE * target_lag_s:
        wanted = current - 1
    return max(low, min(high, wanted))


class LagPolicy:
    """Serve's policy: called with its context, answers (replicas, state). Without figures nothing changes."""

    def __init__(self, target_lag_s: float = 1.0) -> None:
        self._target_lag_s = target_lag_s

    def __call__(self, context: ScalingContext) -> tuple[int, dict[str, Any]]:
        metrics = context.aggregated_metrics or {}
        partitions = [int(count) for count in metrics.get(PARTITIONS, {}).values() if count >= 1]
        high = min([context.capacity_adjusted_max_replicas, *partitions])
        low = min(context.capacity_adjusted_min_replicas, high)
        lags_s = list(metrics.get(LAG_S, {}).values())
        return desired_replicas(context.current_num_replicas, lags_s, self._target_lag_s, low, high), {}


def serve_options(config: AutoscalingConfig) -> dict[str, Any]:
    """The deployment's `autoscaling_config` for Serve."""
    return {
        "min_replicas": config.min_replicas,
        "max_replicas": config.max_replicas,
        "initial_replicas": config.min_replicas,
        "upscale_delay_s": config.upscale_delay_s,
        "downscale_delay_s": config.downscale_delay_s,
        "metrics_interval_s": 1.0,
        "look_back_period_s": 5.0,
        "policy": {
            "policy_function": "actors.autoscaling:LagPolicy",
            "policy_kwargs": {"target_lag_s": config.target_lag_s},
        },
    }
