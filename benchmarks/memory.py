"""Memory of a replica while a thousand streams come and go, in waves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks.service import IDLE_S, PERCEPTION, Answers, Sender
from foveal.session import LocalSession

__all__ = ["TARGET", "measure_memory"]

TARGET = 0.05
FRAMES_A_STREAM = 2
BASE_SHARE = 0.2
"""From here on, 200 of 1,000 streams, memory is to be flat: allocators have grown to their working size by then."""
RESULTS_TIMEOUT_S = 120.0
SETTLE_S = 1.5


def measure_memory(
    session: LocalSession, sender: Sender, *, streams: int, waves: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Resident memory of the perception replica after each wave of streams, each of which sends a few frames and ends.

    A wave begins when the one before has been silent for longer than a stream is remembered.
    """
    config = session.config.streams
    process = psutil.Process(int(session.snapshot(PERCEPTION)["pid"]))
    each = streams // waves
    samples = []
    with Answers(config) as answers:
        for wave in range(waves):
            sender.fill([f"guest-{wave}-{index}" for index in range(each)], each * FRAMES_A_STREAM)
            answers.take(each * FRAMES_A_STREAM, RESULTS_TIMEOUT_S)
            remembered = int(session.snapshot(PERCEPTION)["streams"])
            samples.append({"streams": (wave + 1) * each, "rss_mib": _rss_mib(process), "remembered": remembered})
            time.sleep(IDLE_S)
            say(f"memory: {samples[-1]['streams']} streams, {samples[-1]['rss_mib']:.1f} MiB, {remembered} remembered")
    time.sleep(SETTLE_S)
    base = next(one for one in samples if one["streams"] >= BASE_SHARE * streams)
    growth = samples[-1]["rss_mib"] / base["rss_mib"] - 1
    return {
        "streams": streams,
        "frames_a_stream": FRAMES_A_STREAM,
        "growth": round(growth, 4),
        "from_streams": base["streams"],
        "most_remembered": max(one["remembered"] for one in samples),
        "remembered_at_end": int(session.snapshot(PERCEPTION)["streams"]),
        "target": TARGET,
        "samples": samples,
    }


def _rss_mib(process: psutil.Process) -> float:
    return round(process.memory_info().rss / 2**20, 1)
