"""Video in, people and expressions out, through Ray Serve; and a replica that is killed while it works."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
import urllib.request

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
