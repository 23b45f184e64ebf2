"""The page on a real broker and a real Valkey: what is committed is on it within seconds, and absence is said."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
import typer
import uvicorn
from typer.testing import CliRunner

from dashboard.__main__ import main
from dashboard.readers import Readers
from dashboard.server import build_page
from gallery.config import GalleryConfig
from gallery.store import GalleryStore
from streams.client import open_producer
from streams.cloudevents import result_record
from streams.config import ROLES, StreamsConfig, TopicsConfig
from streams.headers import FrameHeaders
from streams.messages import (
    EXPRESSIONS,
    DropReason,
    Expression,
    ExpressionsResult,
    Face,
    Identity,
    PeopleResult,
    Person,
)
from streams.outcomes import Drop, EndedBatch, ResultRecord, bury_record, deadletter_headers
from streams.records import FrameRecord, Origin, RawRecord
from streams.topics import ensure_topics

pytestmark = pytest.mark.services


@pytest.fixture
def streams(kafka: str) -> StreamsConfig:
    prefix = f"page{uuid.uuid4().hex[:8]}"
    topics = {r: TopicsConfig().of(r).model_copy(update={"name": f"{prefix}.{r}", "partitions": 1}) for r in ROLES}
    config = StreamsConfig(bootstrap_servers=(kafka,), topics=TopicsConfig(**topics))
    ensure_topics(config)
    return config


@pytest.fixture
def page(streams: StreamsConfig, valkey: str) -> Iterator[str]:
    with Readers(streams, GalleryConfig(url=valkey)) as readers:
        server = uvicorn.Server(
            uvicorn.Config(build_page(readers.snapshot), port=0, log_level="warning", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_results_outcomes_and_galleries_are_on_the_page(page: str, streams: StreamsConfig, valkey: str) -> None:
    gallery = f"lobby-{uuid.uuid4().hex}"
    with GalleryStore(GalleryConfig(url=valkey)) as store:
        store.create(gallery, dimension=8, epoch="net-1")
        store.enrol(gallery, np.eye(8)[0])
    until(page, lambda now: now["kafka"]["state"] == "ok" and gallery in [g["name"] for g in now["galleries"]])
    topic = streams.topics.frames.name
    frames = [frame(topic, n) for n in range(5)]
    results = [result for f in frames[:3] for result in results_of(f, gallery)]
    dead = bury_record(frames[4].raws[0], ValueError("expected a JPEG <script>alert(1)</script>"))
    batch = EndedBatch(results, [Drop(frames[3].origin, DropReason.STALE, 1204)], [dead])
    producer = open_producer(streams)
    for record in results:
        name = streams.topics.of(record.topic_role).name
        producer.send(name, key=record.key, value=record.value, headers=list(record.headers))
    for outcome in batch.outcomes("test", time.time_ns()):
        producer.send(streams.topics.outcomes.name, value=outcome.model_dump_json().encode())
    producer.send(streams.topics.deadletters.name, key=b"street", value=b"", headers=list(deadletter_headers(dead)))
    producer.send(streams.topics.people.name, key=b"street", value=b"not a result")
    producer.close()
    now = until(page, lambda now: now["unreadable"] == 1 and now["deadletters"] and now["partitions"])
    (street,) = now["streams"]
    assert (street["stream"], street["kind"], street["results"]) == ("street", "people", 3)
    assert (street["people"], street["identities"], street["deadletters"]) == (2, ["Ada"], 1)
    assert street["expressions"] == ["happy 70%"]
    assert 0 <= street["p50_ms"] <= street["p95_ms"] < 60_000
    (partition,) = now["partitions"]
    assert (partition["partition"], partition["results"]) == (f"{topic}/0", 3)
    assert (partition["drops"], partition["oldest_drop_ms"], partition["deadletters"]) == ({"stale": 1}, 1204, 1)
    assert now["deadletters"][0]["error"] == "ValueError"
    with urlopen(page) as response:
        assert "\\u003cscript>alert(1)" in response.read().decode(), "a message from outside ends no element"
    assert next(g for g in now["galleries"] if g["name"] == gallery)["identities"] == 1


def test_the_page_loads_nothing_from_elsewhere_and_streams_snapshots(page: str) -> None:
    with urlopen(page) as response:
        html = response.read().decode()
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "http://" not in html
    assert "https://" not in html
    assert "innerHTML" not in html
    with urlopen(f"{page}/events", timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        line = response.readline().decode()
    assert json.loads(line.removeprefix("data: "))["redis"]["state"] in {"ok", "connecting"}


def test_absent_services_are_named_with_their_remedy() -> None:
    with Readers(
        StreamsConfig(bootstrap_servers=("127.0.0.1:1",), connect_timeout_s=1),
        GalleryConfig(url="redis://127.0.0.1:1/0"),
    ) as readers:
        deadline = time.monotonic() + 10
        while not (
            "foveal up" in (now := readers.snapshot())["kafka"]["state"] and "foveal up" in now["redis"]["state"]
        ):
            assert time.monotonic() < deadline, now
            time.sleep(0.05)


def test_the_command_says_what_it_is_for_and_refuses_a_wrong_address() -> None:
    app = typer.Typer()
    app.command()(main)
    assert "--port" in CliRunner().invoke(app, ["--help"]).output
    refused = CliRunner().invoke(app, ["--redis", "http://x"])
    assert refused.exit_code == 2
    assert "expected redis://host:port/db" in " ".join(refused.output.replace("│", " ").split())


def until(page: str, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        with urlopen(f"{page}/snapshot") as response:
            now = json.loads(response.read())
        if wanted(now):
            return now
        assert time.monotonic() < deadline, now
        time.sleep(0.05)


def frame(topic: str, number: int) -> FrameRecord:
    at_ms = time.time_ns() // 1_000_000
    origin = Origin(topic, 0, number)
    headers = FrameHeaders.model_validate(
        {"seq": str(number), "captured-at": str(at_ms * 1_000_000), "width": "640", "height": "480", "codec": "jpeg"}
    )
    raw = RawRecord(origin, b"street", (), b"x", at_ms)
    return FrameRecord(
        origin=origin, part_offsets=(number,), stream_id="street", payload=b"x", appended_at_ms=at_ms, raws=(raw,),
        headers=headers,
    )  # fmt: skip


def results_of(record: FrameRecord, gallery: str) -> list[ResultRecord]:
    shared = {
        "stream_id": "street",
        "seq": record.seq,
        "captured_at_ns": record.captured_at_ns,
        "width": 640,
        "height": 480,
    }
    ada = Identity(status="known", gallery=gallery, identity_id="ada", name="Ada", score=0.8, margin=0.3)
    people = (
        Person(box_xyxy=(1, 2, 30, 80), score=0.9, track_id=1, identity=ada),
        Person(box_xyxy=(50, 2, 80, 80), score=0.8, identity=Identity(status="unknown", gallery=gallery)),
    )
    probabilities = dict.fromkeys(EXPRESSIONS, 0.05) | {"happy": 0.7}
    happy = Expression(probabilities=probabilities, label="happy", valence=0.7, arousal=0.2, uncertainty=0.1)
    faces = (Face(box_xyxy=(5, 5, 20, 20), score=0.9, expression=happy),)
    return [
        result_record(record, PeopleResult(**shared, people=people)),
        result_record(record, ExpressionsResult(**shared, faces=faces)),
    ]
