"""The whole service under a benchmark: its own Kafka, Valkey and Ray, filled topics, results read by their append times."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.config import AppConfig, parse_config
from benchmarks.footage import Footage
from deploy.local import LocalStack
from foveal.producers import FrameProducer
from foveal.results import Results
from foveal.session import LocalSession
from streams.topics import ensure_topics

__all__ = ["Appends", "append_times", "benchmark_config", "fill", "running_service", "running_stack"]

# origin offset -> (partition, seq, append of the result in milliseconds since 1970)
Appends = dict[tuple[int, int], int]
PARTITIONS = 1
POLL_S = 0.05


def benchmark_config(bootstrap_servers: str, redis_url: str, *, threads: int = 0) -> AppConfig:
    """One perception replica that computes everything and drops nothing; no reconstruction, no gateway."""
    return parse_config(
        {
            "streams": {
                "bootstrap_servers": [bootstrap_servers],
                "topics": {
                    "frames": {"name": "foveal.frames", "partitions": PARTITIONS, "max_message_bytes": 8 * 2**20}
                },
            },
            "gallery": {"url": redis_url},
            "engine": {"threads": threads} if threads else {},
            "perception": {"streams": [{"freshness": "all"}]},
            "reconstruction": {"placement": {"replicas": 0}},
            "gateway": {"placement": {"replicas": 0}},
        }
    )


@contextmanager
def running_stack() -> Iterator[AppConfig]:
    """A broker and a Valkey of this benchmark's own, with the topics made."""
    with tempfile.TemporaryDirectory(prefix="foveal-bench-") as folder:
        stack = LocalStack(Path(folder), outlive_parent=False, kafka_port=None, valkey_port=None)
        state = stack.start()
        try:
            config = benchmark_config(str(state.bootstrap_servers), str(state.redis_url))
            ensure_topics(config.streams)
            yield config
        finally:
            stack.stop()


@contextmanager
def running_service(config: AppConfig) -> Iterator[LocalSession]:
    """Ray and the application on the stack of `config`."""
    with tempfile.TemporaryDirectory(prefix="foveal-bench-") as folder, LocalSession(config, Path(folder)) as session:
        yield session


def fill(config: AppConfig, footage: Footage, streams: int, frames: int) -> None:
    """Put `frames` frames into the input topic, round robin over `streams` streams."""
    producers = [FrameProducer(f"bench-{index}", config=config.streams) for index in range(streams)]
    for index in range(frames):
        producers[index % streams].send_encoded(
            footage.jpegs[(index // streams) % len(footage.jpegs)], width=footage.width, height=footage.height
        )
    for producer in producers:
        producer.close()


def append_times(config: AppConfig, expected: int, timeout_s: float) -> list[tuple[tuple[int, int], int]]:
    """Read people results until `expected` are there: ((partition, offset) of the input, append in ms), in order.

    Raises: TimeoutError with how many came.
    """
    found: dict[tuple[int, int], int] = {}
    deadline = time.monotonic() + timeout_s
    results = Results("people", from_beginning=True, config=config.streams)
    with results:
        for result in results:
            found[result.origin.partition, result.origin.offset] = result.appended_at_ms
            if len(found) >= expected:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} of {expected} results after {timeout_s:g} s")
    return sorted(found.items(), key=lambda item: item[1])
