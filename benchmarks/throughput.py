"""End to end at saturation: frames a second of the service over those of the bare loop, interleaved in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.bareloop import RemoteBareLoop
from benchmarks.service import Answer, Answers, Sender
from streams.config import StreamsConfig

__all__ = ["TARGET", "measure_throughput", "saturated_rate"]

TARGET = 0.9
RESULTS_TIMEOUT_S = 180.0
BURST_GAP_MS = 30
"""Results of one batch are appended within it, partition after partition; a full batch takes five times as long."""


def measure_throughput(
    config: StreamsConfig,
    bare: RemoteBareLoop,
    sender: Sender,
    *,
    streams: Sequence[int],
    frames: int,
    repeats: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """For each number of streams: rates of both, `repeats` times in turns, and the ratio of each turn."""
    rows = []
    for count in streams:
        names = [f"bench-{count}-{index}" for index in range(count)]
        with Answers(config) as answers:  # not counted: the broker's and the engines' own warming
            sender.fill(names, frames // 2)
            answers.take(frames // 2, RESULTS_TIMEOUT_S)
        service_fps: list[float] = []
        bare_fps: list[dict[str, float]] = []
        for turn in range(repeats):
            bare_fps.append(bare.rate(count, frames))
            with Answers(config) as answers:
                filled_ms = sender.fill(names, frames)
                service_fps.append(saturated_rate(answers.take(frames, RESULTS_TIMEOUT_S), filled_ms))
            say(
                f"throughput, {count} streams, turn {turn + 1} of {repeats}: service {service_fps[-1]:.1f}/s, "
                f"bare {max(bare_fps[-1].values()):.1f}/s"
            )
        ways = {way: statistics.median(turn[way] for turn in bare_fps) for way in bare_fps[0]}
        best = max(ways, key=lambda way: ways[way])
        ratios = [fps / turn[best] for fps, turn in zip(service_fps, bare_fps, strict=True)]
        rows.append(
            {
                "streams": count,
                "ratio": round(statistics.median(ratios), 3),
                "ratio_least": round(min(ratios), 3),
                "ratio_most": round(max(ratios), 3),
                "service_fps": [round(fps, 2) for fps in service_fps],
                "bare_fps": [{way: round(fps, 2) for way, fps in turn.items()} for turn in bare_fps],
                "bare_best": best,
                "target": TARGET,
                "frames": frames,
            }
        )
    return rows


def saturated_rate(answers: Sequence[Answer], filled_ms: int) -> float:
    """Frames a second from the first burst of results after `filled_ms` to the last; that first burst is not counted.

    While the topic was being filled the producer had its share of the processor; those results are left out.
    Raises: ValueError if nothing is left to measure.
    """
    later = [answer.appended_ms for answer in answers if answer.appended_ms > filled_ms]
    if not later or later[-1] - later[0] <= BURST_GAP_MS:
        raise ValueError(
            f"{len(later)} results came after the topic was filled: too few to measure; raise the number of frames"
        )
    burst_end = later[0]
    for at in later:
        if at - burst_end > BURST_GAP_MS:
            break
        burst_end = at
    counted = [at for at in later if at > burst_end]
    return len(counted) * 1e3 / (counted[-1] - burst_end)
