"""The loop's small parts, each alone: deadline, stream state, isolation, lag scaling, tone curve, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.autoscaling import LAG_S, PARTITIONS, LagPolicy, desired_replicas
from actors.config import StreamRule
from actors.deadline import Deadline
from actors.decoding import reduce_for
from actors.endings import isolate
from actors.streamstate import StreamStates
from actors.tonecurve import AutoExposure, to_display
from models.ssr import to_bgr8


@dataclass(frozen=True)
class Stamped:
    stream_id: str
    appended_at_ms: int


@given(st.lists(st.tuples(st.sampled_from(["live", "kept"]), st.integers(0, 3000)), max_size=30))
def test_only_what_is_too_old_and_may_be_dropped_is_stale(ages: list[tuple[str, int]]) -> None:
    rules = {"live": StreamRule(max_age_ms=1000), "kept": StreamRule(freshness="all", max_age_ms=1)}
    frames = [Stamped(stream, 10_000 - age) for stream, age in ages]
    split = Deadline(rules.__getitem__, clock_ms=lambda: 10_000).split(frames)
    assert all(frame.stream_id == "live" and frame.appended_at_ms < 9_000 for frame in split.stale)
    assert all(frame.stream_id == "kept" or frame.appended_at_ms >= 9_000 for frame in split.fresh)
    assert len(split.fresh) + len(split.stale) == len(frames)


class Thing:
    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_state_lives_with_its_partition_and_goes_with_it() -> None:
    now_s = 0.0
    states = StreamStates(Thing, idle_s=10, clock_s=lambda: now_s)
    first = states.of("door", ("frames", 0))
    assert states.of("door", ("frames", 0)) is first
    moved = states.of("door", ("frames", 1))
    assert moved is not first
    assert first.closed
    assert states.drop_partitions([("frames", 0)]) == 0
    assert states.drop_partitions([("frames", 1)]) == 1
    assert moved.closed
    for number in range(1000):
        states.of(f"cam-{number}", ("frames", 0))
    now_s = 11.0
    fresh = states.of("cam-3", ("frames", 0))
    assert states.expire() == 999
    assert len(states) == 1
    assert not fresh.closed


@given(st.lists(st.integers(0, 99), max_size=40), st.sets(st.integers(0, 99), max_size=10))
def test_isolation_finds_the_culprits_and_only_them(items: list[int], poison: set[int]) -> None:
    def run(some: Sequence[int]) -> list[int]:
        if poison & set(some):
            raise ValueError("poisoned")
        return [item * 2 for item in some]

    found = isolate(run, items)
    assert len(found) == len(items)
    for item, output in zip(items, found, strict=True):
        assert isinstance(output, ValueError) if item in poison else output == item * 2


@pytest.mark.parametrize(
    ("current", "lags", "expected"),
    [
        (1, [0.1], 1),
        (1, [1.5], 2),
        (2, [9.0, 0.1], 4),
        (3, [0.1, 0.2, 0.1], 2),
        (3, [0.6], 3),
        (2, [], 2),
        (8, [99.0], 8),
    ],
)
def test_replicas_follow_the_worst_lag_within_bounds(current: int, lags: list[float], expected: int) -> None:
    assert desired_replicas(current, lags, 1.0, 1, 8) == expected


def test_never_more_replicas_than_partitions() -> None:
    context = SimpleNamespace(
        aggregated_metrics={LAG_S: {"a": 60.0, "b": 80.0}, PARTITIONS: {"a": 3.0, "b": 3.0}},
        current_num_replicas=2, capacity_adjusted_min_replicas=1, capacity_adjusted_max_replicas=16,
    )  # fmt: skip
    assert LagPolicy(1.0)(context)[0] == 3
    context.aggregated_metrics = None
    assert LagPolicy(1.0)(context)[0] == 2


@pytest.mark.parametrize(
    ("size", "compute", "expected"),
    [
        ((1280, 720), ("people",), 2),
        ((3840, 2160), ("people",), 4),
        ((640, 480), ("people",), 1),
        ((1280, 720), ("people", "identities"), 1),
        ((3840, 2160), ("people", "expressions"), 2),
    ],
)
def test_a_frame_is_decoded_no_larger_than_it_is_needed(size: Any, compute: Any, expected: int) -> None:
    assert reduce_for(size, StreamRule(compute=compute), 416) == expected


def test_the_tone_curve_is_that_of_the_networks_evaluation() -> None:
    linear = np.random.default_rng(5).gamma(1.0, 0.3, (32, 32, 3)).astype(np.float32)
    difference = to_display(linear, 0.7).astype(int) - to_bgr8(linear, 0.7)
    assert np.abs(difference).max() <= 1


def test_exposure_makes_mid_grey_of_the_average_and_does_not_flicker() -> None:
    rng = np.random.default_rng(3)
    scene = rng.gamma(2.0, 5.0, (64, 64, 3)).astype(np.float32)
    exposure = AutoExposure()
    first = exposure.follow(scene)
    assert to_display(scene, first).mean() == pytest.approx(128, abs=30)
    assert exposure.follow(scene * 10) / first > 0.75
    exposure.reset()
    assert exposure.follow(scene * 10) == pytest.approx(first / 10, rel=1e-3)
    shown = to_display(np.array([[[0, 0, 0], [1e9, 0, 0]]], np.float32), 1.0)
    assert shown.tolist() == [[[0, 0, 0], [0, 0, 255]]]
