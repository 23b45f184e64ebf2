"""A stream loop in this process on the real broker, with topics of its own; the networks are a few lines of NumPy.

Finding bright rectangles is a deterministic network: what the loop does around it is what these tests are about. The
trained networks are met in tests/e2e/actors.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from actors.config import HealthConfig, LoopConfig, PerceptionConfig, StreamRule
from actors.loop import StreamLoop
from actors.metrics import LoopStats
from actors.perception import PerceptionNetworks, PerceptionStep
from gallery.config import GalleryConfig
from gallery.index import GalleryIndex
from models.detection import Detections
from models.expression.postprocess import unreadable_reading
from streams.audit import audit
from streams.client import open_producer, open_reader, raw_record
from streams.codec import encode_image
from streams.config import ROLES, StreamsConfig, TopicsConfig
from streams.headers import FrameCodec, SentFrameHeaders, encode
from streams.intake import Intake, PartLimits
from streams.topics import ensure_topics

BEGAN_NS = time.time_ns()
FRAME_NS = 33_333_333
POISON = 250  # a picture that is this bright in its first pixel makes the detector fail


class BrightRectangles:
    """Every bright patch is a person."""

    long_side = 64

    def detect(self, images_bgr: Sequence[Any], frame_sizes_wh: Sequence[tuple[int, int]]) -> list[Detections]:
        if any(image[0, 0, 0] >= POISON for image in images_bgr):
            raise ValueError("poisoned")
        return [self._one(image, size) for image, size in zip(images_bgr, frame_sizes_wh, strict=True)]

    @staticmethod
    def _one(image: Any, size_wh: tuple[int, int]) -> Detections:
        mask = (image[..., 1] > 150).astype(np.uint8)
        count, _, found, _ = cv2.connectedComponentsWithStats(mask)
        scale = size_wh[0] / image.shape[1]
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in found[1:count]], np.float32).reshape(-1, 4) * scale
        number = len(boxes)
        return Detections(
            boxes,
            np.full(number, 0.9, np.float32),
            np.zeros(number, np.int64),
            np.full((number, 5, 2), np.nan, np.float32),
        )


class MeanColour:
    """An embedding of the mean colour."""

    def embed(self, frames_bgr: Sequence[Any], boxes_xyxy: Sequence[Any]) -> Any:
        rows = []
        for image, boxes in zip(frames_bgr, boxes_xyxy, strict=True):
            for x0, y0, x1, y1 in boxes.astype(int):
                row = image[y0:y1, x0:x1].reshape(-1, 3).mean(axis=0)
                rows.append(row / np.linalg.norm(row))
        return np.array(rows, np.float32)


class NoFaces:
    """Reads nothing, as there are no faces."""

    def read(self, frames_bgr: Any, boxes_xyxy: Sequence[Any], landmarks_xy: Any) -> list[Any]:
        return [unreadable_reading("too small") for boxes in boxes_xyxy for _ in boxes]


def picture(seq: int = 0, *, first: int = 10, size_wh: tuple[int, int] = (64, 48)) -> Any:
    """A dark picture with one bright patch that walks to the right."""
    image = np.full((size_wh[1], size_wh[0], 3), first, np.uint8)
    left = 4 + seq % 20
    image[10:40, left : left + 12] = (40, 220, 90)
    return image


def headers(seq: int, /, **changes: Any) -> list[tuple[str, bytes]]:
    """Sound headers of a frame of a camera's 30 a second, however fast it is sent, with changes; None takes one out."""
    captured_at_ns = BEGAN_NS + seq * FRAME_NS
    sent = SentFrameHeaders(
        codec=FrameCodec.JPEG, seq=seq, captured_at_ns=captured_at_ns, width=64, height=48, keyframe=True
    )
    found = dict(encode(sent))
    for name, value in changes.items():
        name = name.replace("_", "-")
        found.pop(name, None)
        if value is not None:
            found[name] = value
    return list(found.items())


@pytest.fixture
def streams_config(kafka: str) -> StreamsConfig:
    """Topics that nobody else uses, on the worker's broker."""
    prefix = f"a{uuid.uuid4().hex[:8]}"
    topics = {
        role: TopicsConfig().of(role).model_copy(update={"name": f"{prefix}.{role}", "partitions": 2}) for role in ROLES
    }
    config = StreamsConfig(bootstrap_servers=(kafka,), topics=TopicsConfig(**topics))
    ensure_topics(config)
    return config


@pytest.fixture
def world(streams_config: StreamsConfig, valkey: str) -> Iterator[SimpleNamespace]:
    """send, wait, results, deadletters, audit and loops on one set of topics."""
    index = GalleryIndex(GalleryConfig(url=valkey))
    index.start()
    producer = open_producer(streams_config)
    loops: list[StreamLoop[Any, Any]] = []

    def start(
        member: str = "perception-0",
        rules: tuple[StreamRule, ...] = (StreamRule(freshness="all"),),
        join_s: float = 15.0,
        **loop: Any,
    ) -> StreamLoop[Any, Any]:
        stats = LoopStats()
        config = PerceptionConfig(streams=rules, loop=LoopConfig(**loop))
        networks: Any = PerceptionNetworks(BrightRectangles(), MeanColour(), NoFaces(), "test-1")  # type: ignore[arg-type]
        made: StreamLoop[Any, Any] = StreamLoop(
            streams_config,
            topic=streams_config.topics.frames.name,
            group="perception",
            member_id=member,
            intake=Intake.for_frames(parts=PartLimits(timeout_s=0.5)),
            step=PerceptionStep(config, networks, index, stats),
            stats=stats,
            config=config.loop,
            health=HealthConfig(stalled_after_s=5.0),
        )
        loops.append(made)
        assert made.start(join_s) or join_s == 0
        return made

    def send(stream: str, seq: int, value: bytes | None = None, head: list[tuple[str, bytes]] | None = None) -> None:
        value = encode_image(picture(seq), FrameCodec.JPEG) if value is None else value
        topic = streams_config.topics.frames.name
        producer.send(topic, key=stream.encode(), value=value, headers=head if head is not None else headers(seq))

    def wait(timeout_s: float = 20.0) -> Any:
        """The audit once it is complete, or as it is after the timeout."""
        producer.flush()
        deadline = time.monotonic() + timeout_s
        while True:
            report = audit(streams_config, streams_config.topics.frames.name, "perception")
            if report.complete or time.monotonic() > deadline:
                return report
            time.sleep(0.1)

    def records(role: str) -> list[Any]:
        reader = open_reader(streams_config, from_beginning=True)
        topic = streams_config.topics.of(role).name  # type: ignore[arg-type]
        with contextlib.closing(reader):
            from kafka import TopicPartition

            places = [TopicPartition(topic, partition) for partition in reader.partitions_for_topic(topic) or ()]
            reader.assign(places)
            reader.seek_to_beginning(*places)
            ends = reader.end_offsets(places)
            found: list[Any] = []
            deadline = time.monotonic() + 10
            while any(reader.position(place) < ends[place] for place in places) and time.monotonic() < deadline:
                for batch in reader.poll(200).values():
                    found += [raw_record(one) for one in batch]
        return found

    yield SimpleNamespace(
        config=streams_config, start=start, send=send, wait=wait, records=records, producer=producer,
        headers=headers, picture=picture,
    )  # fmt: skip
    for loop in loops:
        loop.stop()
    producer.close()
    index.stop()
