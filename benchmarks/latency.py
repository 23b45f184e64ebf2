"""Added latency by load: from a record's append to its result's, less the bare loop's time for that very frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.bareloop import RemoteBareLoop
from benchmarks.footage import Footage
from benchmarks.service import Answers, Sender, playing
from streams.config import StreamsConfig

__all__ = ["AIMED_LOAD", "TARGET_P50_MS", "TARGET_P95_MS", "measure_latency"]

TARGET_P50_MS, TARGET_P95_MS = 10.0, 25.0
AIMED_LOAD = 0.5
LOADS = (0.25, 0.4, AIMED_LOAD)  # of the saturated rate
STREAMS = 4
BARE_REPEATS = 3
WARM_FRAMES = 8  # the first frames after a pause, which find caches cold
RESULTS_TIMEOUT_S = 120.0
SETTLE_S = 1.0


def measure_latency(
    config: StreamsConfig,
    bare: RemoteBareLoop,
    footage: Footage,
    *,
    saturated_fps: float,
    frames: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Send `frames` frames of four cameras at shares of `saturated_fps`, evenly in time, from another process."""
    alone_ms = bare.ones(BARE_REPEATS)
    return [
        _measure_at(config, footage, alone_ms, load=load, fps=load * saturated_fps, frames=frames, say=say)
        for load in LOADS
    ]


def _measure_at(
    config: StreamsConfig,
    footage: Footage,
    alone_ms: list[float],
    *,
    load: float,
    fps: float,
    frames: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    say(f"latency: {frames} frames at {fps:.1f} a second")
    with Answers(config) as answers, playing(_play, config, footage, frames, fps):
        found = answers.take(frames, RESULTS_TIMEOUT_S + frames / fps)
    # The n-th record of the topic is the (n // STREAMS)-th of its stream, which is that frame of the footage.
    first = min(answer.offset for answer in found)
    ordered = sorted(found, key=lambda answer: answer.offset)[WARM_FRAMES:]
    whole = np.array([answer.appended_ms - answer.frame_appended_ms for answer in ordered], float)
    own = np.array([alone_ms[((answer.offset - first) // STREAMS) % len(alone_ms)] for answer in ordered])
    added = whole - own
    return {
        "load": load,
        "fps": round(fps, 2),
        "streams": STREAMS,
        "frames": len(added),
        "added_ms": _percentiles(added),
        "append_to_append_ms": _percentiles(whole),
        "bare_ms": _percentiles(own),
        "target_ms": {"p50": TARGET_P50_MS, "p95": TARGET_P95_MS},
        "samples_ms": [round(float(one), 1) for one in np.sort(added)],
    }


def _percentiles(values: Any) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 2) for share in (5, 50, 95, 99)}


def _play(config: StreamsConfig, footage: Footage, frames: int, fps: float) -> None:
    with Sender(config, footage) as sender:
        # The first one waits for the client to learn of the topic: were the clock running, the rest would come at once.
        sender.send("paced-0", footage.jpegs[0])
        sender.flush()
        began = time.monotonic() + SETTLE_S
        for index in range(1, frames):
            time.sleep(max(0.0, began + index / fps - time.monotonic()))
            sender.send(f"paced-{index % STREAMS}", footage.jpegs[index // STREAMS % len(footage.jpegs)])
