"""Video in, people and expressions out, through Ray Serve; and a replica that is killed while it works."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import time
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from foveal import FrameProducer, Results
from foveal.session import LocalSession
from streams.audit import AuditReport, audit
from streams.messages import ExpressionsResult

pytestmark = [
    pytest.mark.services,
    pytest.mark.xdist_group("ray"),
    pytest.mark.timeout(300),
    # Ray's own: fields of its pydantic models, and processes that it leaves to end by themselves.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
OF_RENDERS = {"foveal_stream_resets_total"}  # only the reconstruction counts it


def send(session: LocalSession, stream: str, frames: list[NDArray[np.uint8]]) -> None:
    with FrameProducer(stream, config=session.config.streams) as producer:
        for frame in frames:
            producer.send(frame)


def settled(session: LocalSession, timeout_s: float = 60.0) -> AuditReport:
    deadline = time.monotonic() + timeout_s
    while True:
        report = audit(session.config.streams, "frames")
        if report.complete or time.monotonic() > deadline:
            return report
        time.sleep(0.2)


def test_a_talking_face_is_found_and_read(session: LocalSession, talking_face: list[NDArray[np.uint8]]) -> None:
    before = settled(session).totals["results"]  # the session is shared, and the order of tests is random
    send(session, "carphone", talking_face)
    report = settled(session)
    assert report.complete, str(report.to_dict())
    assert report.totals["results"] - before == len(talking_face)
    with Results("expressions", streams="carphone", from_beginning=True, config=session.config.streams) as results:
        messages = [result.message for result in itertools.islice(results, len(talking_face))]
    assert [message.seq for message in messages] == list(range(len(talking_face)))
    assert all(isinstance(message, ExpressionsResult) for message in messages)
    faces = [message.faces for message in messages if isinstance(message, ExpressionsResult)]
    assert sum(any(face.expression is not None for face in seen) for seen in faces) >= len(talking_face) // 2


def test_the_gateway_tells_how_the_replica_is(session: LocalSession) -> None:
    assert session.info.gateway_url is not None
    with urllib.request.urlopen(f"{session.info.gateway_url}/v1/status", timeout=10) as answer:
        status = json.load(answer)
    perception = status["deployments"]["perception"]
    assert perception["topic"] == session.config.streams.topics.frames.name
    assert perception["waiting_for"] is None


def test_prometheus_gets_what_the_replica_counts(session: LocalSession, talking_face: list[NDArray[np.uint8]]) -> None:
    send(session, "counted", talking_face)
    with FrameProducer("torn", config=session.config.streams) as producer:
        producer.send_encoded(b"\xff\xd8 torn", width=64, height=64)
    assert settled(session).complete
    replica = session.snapshot("PerceptionActor")
    counted = {"result": float(replica["results"]), "deadletter": float(replica["deadletters"])}
    assert counted["result"] >= len(talking_face)
    assert counted["deadletter"] >= 1

    deadline = time.monotonic() + 30
    while not (ours := [seen for seen in scrape(session) if seen.outcomes() == counted]):
        assert time.monotonic() < deadline, [seen.outcomes() for seen in scrape(session)]
        time.sleep(0.5)
    seen = ours[0]
    labels = {"topic": session.config.streams.topics.frames.name, "deployment": "PerceptionActor"}
    assert seen.value("foveal_frame_latency_seconds_count", **labels) == counted["result"]
    assert 0 < seen.value("foveal_frame_latency_seconds_sum", **labels) < 60 * counted["result"]
    assert seen.value("foveal_consumer_lag_records", **labels) == 0
    assert seen.value("foveal_waiting", service="kafka", **labels) == 0
    assert seen.value("foveal_waiting", service="redis", **labels) == 0
    assert seen.value("foveal_stage_seconds_total", stage="detect", **labels) > 0
    documented = set(re.findall(r"`(foveal_[a-z_]+)", OPERATIONS.read_text().partition("## Metrics")[2]))
    assert len(documented) >= 11
    assert not documented - seen.names - OF_RENDERS, "documented, and not scraped"


class Scrape:
    """What one process exports: samples by name and labels, without Ray's prefix."""

    def __init__(self, samples: list[tuple[str, dict[str, str], float]]) -> None:
        self._samples = samples

    @property
    def names(self) -> set[str]:
        return {re.sub("_(bucket|count|sum)$", "", name) for name, _, _ in self._samples}

    def value(self, name: str, **labels: str) -> float:
        """The one sample with these labels."""
        return next(value for found, has, value in self._samples if found == name and labels.items() <= has.items())

    def outcomes(self) -> dict[str, float]:
        totals: Counter[str] = Counter()
        for name, labels, value in self._samples:
            if name == "foveal_frames_total":
                totals[labels["outcome"]] += value
        return dict(totals)


def scrape(session: LocalSession) -> list[Scrape]:
    """Of each process; one that was killed by the other test is still among them for a while."""
    with urllib.request.urlopen(session.info.metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    by_process: dict[str, list[tuple[str, dict[str, str], float]]] = {}
    for name, inside, value in re.findall(r"^ray_(foveal_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', inside))
        by_process.setdefault(labels["WorkerId"], []).append((name, labels, float(value)))
    return [Scrape(samples) for samples in by_process.values()]


def test_a_killed_replica_is_replaced_and_nothing_is_lost(
    session: LocalSession, talking_face: list[NDArray[np.uint8]]
) -> None:
    before = session.snapshot("PerceptionActor")
    send(session, "kill", talking_face)
    os.kill(before["pid"], signal.SIGKILL)
    send(session, "kill-2", talking_face)
    report = settled(session, 90)
    assert report.complete, str(report.to_dict())
    after = session.snapshot("PerceptionActor")
    assert after["pid"] != before["pid"]
    assert after["member_id"] == before["member_id"]
