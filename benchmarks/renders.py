"""A renderer's frames through Kafka and back: `python -m benchmarks.renders`; JSON on the last line.

The project's room, repeated to 480x270 (a render farm is not needed to make frames of a size), is sent at several
rates to one reconstruction replica, nothing else beside it. A rate is held when every frame has its render and the
last one is not later than the first ones were; latency is from a frame's append to its render's, by the broker's clock.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray

from actors.config import AppConfig, parse_config
from benchmarks.machine import describe_machine
from benchmarks.service import Answer, Answers, playing, running_service, running_stack
from foveal.demo.sequence import EXPOSURE, GBufferSequence
from foveal.settings import home_folder
from streams.config import StreamsConfig
from streams.gbuffer import encode_planes
from streams.headers import GBufferCodec, OutputFormat, PlaneCodec, SentGBufferHeaders, encode
from streams.librdkafka import native_options

__all__ = ["AIM_P95_MS", "main", "repeated"]

log = logging.getLogger(__name__)

AIM_P95_MS = 100.0
STREAM = "renderer"
WARM_FRAMES = 24
RESULTS_TIMEOUT_S = 60.0
FLUSH_S = 30.0
SETTLE_S = 1.0


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.renders", description=__doc__)
    parser.add_argument("--fps", type=float, nargs="+", default=[8.0, 16.0, 24.0], help="rates, one after the other")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate")
    parser.add_argument("--size", type=_size, default=(480, 270), metavar="WxH")
    parser.add_argument("--output", choices=[str(one) for one in OutputFormat], default=str(OutputFormat.JPEG))
    parser.add_argument("--out", type=Path, help="also write the JSON there")
    given = parser.parse_args()
    report: dict[str, Any] = {
        "machine": describe_machine(),
        "size_wh": list(given.size),
        "output": given.output,
        "aim_p95_ms": AIM_P95_MS,
        "rates": [],
    }
    with running_stack() as stack:
        config = _config(stack, given.size)
        with running_service(config):
            for fps in (given.fps[0], *given.fps):  # the first one warms
                row = _measure(config.streams, given.size, OutputFormat(given.output), fps, given.seconds)
                print(
                    f"{row['fps']:g} frames/s for {given.seconds:g} s: {row['rendered']} of {row['sent']} rendered, "
                    f"p50 {row['p50_ms']:.0f}, p95 {row['p95_ms']:.0f}, last second {row['last_second_ms']:.0f} ms",
                    flush=True,
                )
                report["rates"].append(row)
    report["rates"] = report["rates"][1:]
    if given.out:
        given.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report))


def repeated(plane: NDArray[Any], size_wh: tuple[int, int]) -> NDArray[Any]:
    """A plane [H, W] or [H, W, C] cut to a size, repeated where it is smaller; 2x2 tiles stay whole on even sizes."""
    width, height = size_wh
    more = [(0, max(0, height - plane.shape[0])), (0, max(0, width - plane.shape[1])), *[(0, 0)] * (plane.ndim - 2)]
    return np.ascontiguousarray(np.pad(plane, more, mode="wrap")[:height, :width])


def _config(stack: AppConfig, size_wh: tuple[int, int]) -> AppConfig:
    """One reconstruction replica on the given stack, and nothing else."""
    return parse_config(
        {
            "streams": {"bootstrap_servers": list(stack.streams.bootstrap_servers)},
            "gallery": {"url": stack.gallery.url},
            "engine": {"cache_dir": str(home_folder() / "engines")},
            "perception": {"placement": {"replicas": 0}},
            "reconstruction": {"streams": [{"freshness": "all"}], "warm_sizes_wh": [list(size_wh)]},
            "gateway": {"placement": {"replicas": 0}},
        }
    )


def _measure(
    config: StreamsConfig, size_wh: tuple[int, int], output: OutputFormat, fps: float, seconds: float
) -> dict[str, Any]:
    count = WARM_FRAMES + int(seconds * fps)
    with Answers(config, "renders") as answers, playing(_play, config, size_wh, output, fps, count):
        found = answers.take(count, RESULTS_TIMEOUT_S + count / fps)
    ordered = sorted(found, key=lambda answer: answer.offset)[WARM_FRAMES:]
    late = _latencies_ms(ordered)
    return {
        "fps": fps,
        "sent": count - WARM_FRAMES,
        "rendered": len(ordered),
        "p50_ms": round(float(np.percentile(late, 50)), 1),
        "p95_ms": round(float(np.percentile(late, 95)), 1),
        "p99_ms": round(float(np.percentile(late, 99)), 1),
        "last_second_ms": round(float(np.median(late[-int(fps) :])), 1),
    }


def _latencies_ms(answers: list[Answer]) -> NDArray[np.float64]:
    return np.array([answer.appended_ms - answer.frame_appended_ms for answer in answers], np.float64)


def _play(config: StreamsConfig, size_wh: tuple[int, int], output: OutputFormat, fps: float, count: int) -> None:
    """Send frames evenly in time, packed beforehand: it is the service that is measured."""
    packed = [
        encode_planes({name: repeated(plane, size_wh) for name, plane in planes.items()}, PlaneCodec.LZ4)
        for planes in GBufferSequence.room().planes()
    ]
    topic = config.topics.gbuffers
    options = native_options(config, log) | {"linger.ms": 0, "message.max.bytes": topic.max_message_bytes}
    producer = Producer(options)
    producer.list_topics(topic.name, timeout=FLUSH_S)
    began = time.monotonic() + SETTLE_S
    for seq, (value, described) in enumerate(islice(cycle(packed), count)):
        time.sleep(max(0.0, began + seq / fps - time.monotonic()))
        headers = SentGBufferHeaders(
            codec=GBufferCodec.PLANES,
            planes=described,
            seq=seq,
            captured_at_ns=time.time_ns(),
            width=size_wh[0],
            height=size_wh[1],
            scene="room",
            output=output,
            exposure=EXPOSURE,
        )
        producer.produce(topic.name, key=STREAM.encode(), value=value, headers=list(encode(headers)))
        producer.poll(0)
    if producer.flush(FLUSH_S):
        raise RuntimeError(f"the broker has not taken all frames within {FLUSH_S:g} s")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 480x270, got {text!r}")
    return int(width), int(height)


if __name__ == "__main__":
    main()
