"""Frames through the loop on a real broker: order, bad input, and that every offset ends exactly once."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from actors.config import StreamRule
from streams.cloudevents import parse_result
from streams.codec import encode_image
from streams.headers import FrameCodec
from streams.messages import PeopleResult
from streams.outcomes import parse_deadletter

pytestmark = pytest.mark.services


def people(world: SimpleNamespace) -> dict[str, list[PeopleResult]]:
    found: dict[str, list[PeopleResult]] = defaultdict(list)
    for record in world.records("people"):
        result = parse_result(record.headers, record.value).result
        assert isinstance(result, PeopleResult)
        found[result.stream_id].append(result)
    return found


def test_frames_of_many_streams_are_answered_in_order(world: SimpleNamespace) -> None:
    world.start()
    for seq in range(20):
        for stream in ("door", "yard", "gate"):
            world.send(stream, seq)
    report = world.wait()
    assert report.complete
    assert report.totals["results"] == 60
    found = people(world)
    assert {stream: [one.seq for one in results] for stream, results in found.items()} == {
        stream: list(range(20)) for stream in ("door", "yard", "gate")
    }
    last = found["door"][-1].people
    assert len(last) == 1
    assert last[0].track_id is not None
    assert abs(last[0].box_xyxy[0] - (4 + 19)) <= 2


def bad_inputs(world: SimpleNamespace) -> dict[str, tuple[bytes, list[tuple[str, bytes]]]]:
    """name -> (value, headers), each of which must become one dead letter."""
    sound = encode_image(world.picture(5), FrameCodec.JPEG)
    head = world.headers
    return {
        "PayloadError:truncated": (sound[: len(sound) // 2], head(100)),
        "HeaderError:type": (sound, head(101, seq=b"seven")),
        "PayloadError:empty": (b"", head(102)),
        "FrameTooLargeError:huge": (sound, head(103, width=b"20000", height=b"20000")),
        "UnknownVersionError:version": (sound, head(104, foveal_version=b"99")),
        "PayloadError:lies": (sound, head(105, codec=b"png")),
        "HeaderError:codec": (sound, head(106, codec=b"gif")),
        "PartsError:parts": (sound, head(107, part=b"0", parts=b"2")),
        "PayloadError:size": (sound, head(108, width=b"640", height=b"480")),
        "ValueError:poison": (encode_image(world.picture(5, first=255), FrameCodec.PNG), head(109, codec=b"png")),
    }


def test_bad_input_becomes_one_dead_letter_each_and_its_neighbours_go_on(world: SimpleNamespace) -> None:
    bad = bad_inputs(world)
    for seq, (value, head) in enumerate(bad.values()):
        world.send("door", 2 * seq)
        world.send("door", 0, value, head)
        world.send("door", 2 * seq + 1)
        world.send("yard", seq)
    world.producer.flush()
    world.start()  # all of it is there already: neighbours share batches
    report = world.wait()
    assert report.complete
    assert report.totals["deadletters"] == len(bad)
    assert report.totals["results"] == 3 * len(bad)
    letters = [parse_deadletter(record.headers) for record in world.records("deadletters")]
    assert sorted(letter.error for letter in letters) == sorted(name.partition(":")[0] for name in bad)
    assert all(letter.origin.startswith(world.config.topics.frames.name) for letter in letters)
    found = people(world)
    assert [one.seq for one in found["door"]] == list(range(2 * len(bad)))
    assert [one.seq for one in found["yard"]] == list(range(len(bad)))


def test_a_stream_gets_what_its_rule_names_and_nothing_else(world: SimpleNamespace) -> None:
    rules = (
        StreamRule(match="only-people", compute=("people",), freshness="all"),
        StreamRule(match="only-faces", compute=("expressions",), freshness="all"),
    )
    world.start(rules=rules)
    for stream in ("only-people", "only-faces", "nobody-knows"):
        world.send(stream, 0)
    report = world.wait()
    assert report.complete
    assert set(people(world)) == {"only-people"}
    assert [record.key for record in world.records("expressions")] == [b"only-faces"]
    (letter,) = (parse_deadletter(record.headers) for record in world.records("deadletters"))
    assert letter.error == "UnconfiguredStreamError"


def test_old_frames_are_dropped_with_their_age_and_fresh_ones_are_not(world: SimpleNamespace) -> None:
    for seq in range(5):
        world.send("door", seq)
    world.producer.flush()
    time.sleep(1.2)
    world.start(rules=(StreamRule(freshness="latest", max_age_ms=1000),))
    assert world.wait().totals["drops"] == 5
    world.send("door", 5)
    report = world.wait()
    assert report.complete
    assert report.totals["results"] == 1


def test_a_missing_gallery_is_off_and_not_unknown(world: SimpleNamespace) -> None:
    world.start(rules=(StreamRule(gallery="not-there", freshness="all"),))
    for seq in range(3):
        world.send("door", seq)
    assert world.wait().complete
    (person,) = people(world)["door"][-1].people
    assert person.identity.status in ("off", "unavailable")
    assert person.identity.gallery == "not-there"


def test_a_second_member_takes_partitions_over_without_loss_or_repeat(world: SimpleNamespace) -> None:
    first = world.start("perception-0", max_batch_frames=4)
    stop = threading.Event()
    sent = 0

    def produce() -> None:
        nonlocal sent
        while not stop.is_set():
            for stream in ("a", "b", "c", "d", "e", "f"):
                world.send(stream, sent)
            sent += 1
            time.sleep(0.01)

    thread = threading.Thread(target=produce)
    thread.start()
    time.sleep(1.0)
    second = world.start("perception-1", max_batch_frames=4)
    deadline = time.monotonic() + 15
    while not second.snapshot().partitions and time.monotonic() < deadline:
        time.sleep(0.05)
    assert second.snapshot().partitions
    time.sleep(0.5)
    first.stop()
    time.sleep(1.0)
    stop.set()
    thread.join()
    report = world.wait()
    assert report.complete, str(report.to_dict())
    assert report.totals["results"] == 6 * sent
    second.check()


def test_a_stop_drains_what_was_taken_within_its_time(world: SimpleNamespace) -> None:
    loop = world.start()
    for seq in range(50):
        world.send("door", seq)
    world.producer.flush()
    time.sleep(0.3)
    began_s = time.monotonic()
    loop.stop()
    assert time.monotonic() - began_s < 15
    assert world.wait(timeout_s=0).sound
    world.start("perception-1")
    report = world.wait()
    assert report.complete
    assert report.totals["results"] == 50


def test_video_goes_on_from_a_key_frame_after_a_gap(world: SimpleNamespace) -> None:
    from streams.video import VideoEncoder

    encoder = VideoEncoder(FrameCodec.H264, 64, 48, keyframe_interval=5)
    units = [encoder.encode(np.ascontiguousarray(world.picture(seq))) for seq in range(15)]
    world.start()
    for seq, (unit, key) in enumerate(units):
        if seq != 7:  # lost on its way
            flag = b"true" if key else b"false"
            world.send("cam", seq, unit, world.headers(seq, codec=b"h264", keyframe=flag))
    report = world.wait()
    assert report.complete
    assert report.totals["drops"] == 2  # 8 and 9 rest on 7; 10 is the next key frame
    assert [one.seq for one in people(world)["cam"]] == [0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14]
