"""The client API on a real broker: what is sent arrives as the contract says, and failures are raised."""

import threading
import time

import numpy as np
import pytest

from foveal import DeliveryError, FrameProducer, GBufferProducer, Results
from streams.client import tail
from streams.cloudevents import result_record
from streams.codec import decode_image
from streams.config import StreamsConfig, TopicConfig, TopicsConfig
from streams.errors import BrokerUnavailableError
from streams.gbuffer import decode_planes
from streams.headers import FrameLimits
from streams.intake import Intake
from streams.messages import PeopleResult
from streams.records import RawRecord
from streams.topics import ensure_topics

pytestmark = pytest.mark.services

SMALL = 64 * 1024


def settings(kafka: str, name: str) -> StreamsConfig:
    roles = ("frames", "gbuffers", "people", "expressions", "renders", "outcomes", "deadletters")
    topics = TopicsConfig(
        **{role: TopicConfig(name=f"{name}.{role}", partitions=1, max_message_bytes=SMALL) for role in roles}
    )
    config = StreamsConfig(bootstrap_servers=(kafka,), topics=topics)
    ensure_topics(config)
    return config


def first_records(config: StreamsConfig, role: str, count: int) -> list[RawRecord]:
    stop = threading.Event()
    timer = threading.Timer(20, stop.set)
    timer.start()
    found = []
    for _, record in tail(config, (role,), stop=stop, from_beginning=True):  # type: ignore[arg-type]
        found.append(record)
        if len(found) == count:
            stop.set()
    timer.cancel()
    return found


def test_a_frame_larger_than_a_record_travels_in_parts_and_decodes(kafka: str) -> None:
    config = settings(kafka, "client-parts")
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    acknowledged: list[tuple[int, int, int]] = []
    with FrameProducer(
        "door", codec="raw-bgr24", config=config, on_delivery=lambda *at: acknowledged.append(at)
    ) as door:
        assert [door.send(image), door.send(image[::-1].copy())] == [0, 1]
    parts = -(-image.nbytes // (SMALL - 16_384))
    assert parts > 1
    assert [offset for _, _, offset in acknowledged] == list(range(2 * parts))
    frames, dead = Intake.for_frames(FrameLimits()).accept(first_records(config, "frames", 2 * parts))
    assert not dead
    assert [(frame.stream_id, frame.seq) for frame in frames] == [("door", 0), ("door", 1)]
    assert np.array_equal(decode_image(frames[1]), image[::-1])


def test_planes_arrive_as_they_were_sent(kafka: str) -> None:
    config = settings(kafka, "client-planes")
    rng = np.random.default_rng(1)
    planes = {
        "radiance": rng.random((16, 24, 3), dtype=np.float32),
        "mask": (rng.random((16, 24)) < 0.25).astype(np.uint8),
        "albedo": rng.random((16, 24, 3), dtype=np.float32),
        "normal": rng.random((16, 24, 3), dtype=np.float32),
        "depth": rng.random((16, 24), dtype=np.float32),
        "motion": rng.random((16, 24, 2), dtype=np.float32),
    }
    with GBufferProducer("room", config=config) as room:
        room.send(planes, scene="room", fresh=True)
    frames, dead = Intake.for_gbuffers(FrameLimits()).accept(first_records(config, "gbuffers", 1))
    assert not dead
    assert (frames[0].headers.scene, frames[0].keyframe) == ("room", True)
    decoded = decode_planes(frames[0])
    assert all(np.allclose(decoded[name], plane, atol=1e-3) for name, plane in planes.items())


def test_results_are_read_once_and_by_stream(kafka: str) -> None:
    config = settings(kafka, "client-results")
    with FrameProducer("door", config=config) as door, FrameProducer("yard", config=config) as yard:
        door.send(np.zeros((16, 16, 3), np.uint8))
        yard.send(np.zeros((16, 16, 3), np.uint8))
    frames, _ = Intake.for_frames(FrameLimits()).accept(first_records(config, "frames", 2))
    _publish_people(config, [*frames, frames[0]])  # the first one twice, as at-least-once delivery may
    with Results("people", streams="*", from_beginning=True, config=config) as results:
        threading.Timer(5, results.stop).start()
        read = []
        for result in results:
            read.append((result.stream_id, result.origin.offset))
            if len(read) == 2:
                threading.Timer(1, results.stop).start()
    assert sorted(read) == [("door", 0), ("yard", 1)]


def test_an_absent_broker_is_named_within_ten_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:9.*foveal up"):
        FrameProducer("door", config=StreamsConfig(bootstrap_servers=("127.0.0.1:9",), connect_timeout_s=3))
    assert time.monotonic() - started < 10


def test_a_failed_delivery_is_raised_not_swallowed(kafka: str) -> None:
    config = settings(kafka, "client-failed")
    believed = TopicConfig(name="client-failed.frames", max_message_bytes=8 * 2**20)  # the broker takes 64 KiB
    beyond = config.model_copy(update={"topics": config.topics.model_copy(update={"frames": believed})})
    with (
        pytest.raises(DeliveryError, match="frame 0 did not reach the broker"),
        FrameProducer("door", codec="raw-bgr24", config=beyond) as door,
    ):
        door.send(np.zeros((400, 400, 3), np.uint8))


def _publish_people(config: StreamsConfig, frames: list) -> None:  # type: ignore[type-arg]
    from streams.client import open_producer

    producer = open_producer(config)
    for frame in frames:
        message = PeopleResult(
            stream_id=frame.stream_id,
            seq=frame.seq,
            captured_at_ns=frame.captured_at_ns,
            width=16,
            height=16,
            people=(),
        )
        record = result_record(frame, message)
        producer.send(config.topics.people.name, key=record.key, value=record.value, headers=list(record.headers))
    producer.close()
