"""The whole service under a benchmark: its own Kafka, Valkey and Ray, and the frames that go in and come out."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from actors.config import AppConfig, parse_config
from benchmarks.footage import FRAME_NS, Footage
from deploy.local import LocalStack
from foveal.session import LocalSession
from foveal.settings import home_folder
from gallery.store import GalleryStore
from models.reid import REID_NANO
from streams.client import tail
from streams.cloudevents import parse_event
from streams.config import Role, StreamsConfig
from streams.headers import FrameCodec, SentFrameHeaders, encode
from streams.librdkafka import native_options
from streams.records import Origin
from streams.topics import ensure_topics

__all__ = ["Answer", "Answers", "Sender", "benchmark_config", "playing", "running_service", "running_stack"]

log = logging.getLogger(__name__)

PERCEPTION = "PerceptionActor"
FLUSH_S = 60.0
PLAYER_ENDS_S = 10.0
GALLERY, PEOPLE = "default", 200
IDLE_S = 2.0
"""A silent stream's state goes after it; short, so that streams can come and go by the hundred."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One result: of which input offset, and when both were appended, milliseconds since 1970 by the broker's clock."""

    offset: int
    frame_appended_ms: int
    appended_ms: int


def benchmark_config(bootstrap_servers: str, redis_url: str) -> AppConfig:
    """One perception replica that computes everything and drops nothing; no reconstruction, no gateway."""
    return parse_config(
        {
            "streams": {
                "bootstrap_servers": [bootstrap_servers],
                "topics": {"frames": {"name": "foveal.frames", "partitions": 1, "max_message_bytes": 8 * 2**20}},
            },
            "gallery": {"url": redis_url},
            "engine": {"cache_dir": str(home_folder() / "engines")},
            "perception": {"streams": [{"freshness": "all"}], "loop": {"stream_idle_s": IDLE_S}},
            "reconstruction": {"placement": {"replicas": 0}},
            "gateway": {"placement": {"replicas": 0}},
        }
    )


@contextmanager
def running_stack() -> Iterator[AppConfig]:
    """A broker and a Valkey of this benchmark's own, with the topics made and people in the gallery."""
    with tempfile.TemporaryDirectory(prefix="foveal-bench-") as folder:
        stack = LocalStack(Path(folder), outlive_parent=False, kafka_port=None, valkey_port=None)
        state = stack.start()
        try:
            config = benchmark_config(str(state.bootstrap_servers), str(state.redis_url))
            ensure_topics(config.streams)
            _fill_gallery(config)
            yield config
        finally:
            stack.stop()


def _fill_gallery(config: AppConfig) -> None:
    """A gallery of people who are never seen, so that matching is a part of what is measured."""
    dimension = REID_NANO.outputs[0].length
    assert dimension is not None
    vectors = np.random.default_rng(0).standard_normal((PEOPLE, dimension)).astype(np.float32)
    with GalleryStore(config.gallery, who="benchmark") as store:
        store.create(GALLERY, dimension=dimension, epoch=REID_NANO.stem)
        for vector in vectors / np.linalg.norm(vectors, axis=1, keepdims=True):
            store.enrol(GALLERY, vector)


@contextmanager
def running_service(config: AppConfig) -> Iterator[LocalSession]:
    """Ray and the application on the stack of `config`."""
    with tempfile.TemporaryDirectory(prefix="foveal-bench-") as folder, LocalSession(config, Path(folder)) as session:
        yield session


@contextmanager
def playing(play: Callable[..., None], *arguments: object) -> Iterator[None]:
    """`play` in a process of its own, so that sending takes no time from whoever reads the answers."""
    player = multiprocessing.get_context("spawn").Process(target=play, args=arguments, daemon=True)
    player.start()
    try:
        yield
    finally:
        player.join(PLAYER_ENDS_S)
        if player.is_alive():
            player.kill()


class Sender:
    """One producer for any number of streams; each stream has its own numbers, and the capture times of a camera.

    On librdkafka, which takes least of the processor from what is measured.
    """

    def __init__(self, config: StreamsConfig, footage: Footage) -> None:
        self._footage = footage
        self._topic = config.topics.frames.name
        self._seqs: dict[str, int] = {}
        self._appended_ms = 0
        largest = config.topics.frames.max_message_bytes
        self._producer = Producer(
            native_options(config, log) | {"linger.ms": 0, "acks": "all", "message.max.bytes": largest}
        )

    def send(self, stream_id: str, payload: bytes) -> None:
        """Send the stream's next frame, a picture of the footage."""
        seq = self._seqs.get(stream_id, 0)
        self._seqs[stream_id] = seq + 1
        headers = SentFrameHeaders(
            codec=FrameCodec.JPEG,
            seq=seq,
            captured_at_ns=seq * FRAME_NS,
            width=self._footage.width,
            height=self._footage.height,
        )
        self._producer.produce(
            self._topic,
            key=stream_id.encode(),
            value=payload,
            headers=list(encode(headers)),
            on_delivery=self._delivered,
        )
        self._producer.poll(0)

    def fill(self, stream_ids: Sequence[str], frames: int) -> int:
        """Send `frames` frames, round robin, as fast as the broker takes them; returns when it had the last, ms."""
        for index in range(frames):
            self.send(stream_ids[index % len(stream_ids)], self._footage.picture(index, len(stream_ids)))
        self.flush()
        return self._appended_ms

    def flush(self) -> None:
        """Wait until the broker has everything. Raises: RuntimeError."""
        if self._producer.flush(FLUSH_S):
            raise RuntimeError(f"the broker has not taken all frames within {FLUSH_S:g} s")

    def close(self) -> None:
        """Leave."""
        self.flush()

    def _delivered(self, error: KafkaError | None, record: Message) -> None:
        if error is not None:
            raise RuntimeError(f"the broker refuses a frame: {error}")
        self._appended_ms = max(self._appended_ms, record.timestamp()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Answers:
    """The results of one topic from the moment that this is made."""

    def __init__(self, config: StreamsConfig, role: Role = "people") -> None:
        self._stop = threading.Event()
        self._records = tail(config, (role,), stop=self._stop)

    def take(self, count: int, timeout_s: float) -> list[Answer]:
        """Wait for `count` results; in the order of their append. Raises: TimeoutError with how many came."""
        found: list[Answer] = []
        alarm = threading.Timer(timeout_s, self._stop.set)
        alarm.start()
        try:
            while len(found) < count:
                record = next(self._records, None)
                if record is None:
                    raise TimeoutError(f"{len(found)} of {count} results after {timeout_s:g} s")
                event = parse_event(record[1].headers)
                found.append(
                    Answer(Origin.parse(event.id).offset, int(event.appended_at_ms or 0), record[1].appended_at_ms)
                )
        finally:
            alarm.cancel()
        return sorted(found, key=lambda answer: (answer.appended_ms, answer.offset))

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        next(self._records, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
