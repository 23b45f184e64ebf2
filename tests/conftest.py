"""The real services for tests, one embedded Kafka and one Valkey for each pytest-xdist worker; and a frame's way.

The services start on free ports in the worker's own temporary folder when the first test asks for them, and stop
with the session. With REQUIRE_SERVICES=1 (as in CI) a service that can't start fails its tests; else they are skipped.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from actors.endings import Endings
from actors.metrics import LoopStats
from actors.perception import PerceptionStep
from deploy.local import LocalKafka, LocalStackError, LocalValkey
from streams.cloudevents import parse_result
from streams.headers import FrameCodec, SentFrameHeaders, encode, parse_frame_headers
from streams.messages import PeopleResult
from streams.records import FrameRecord, Origin

KAFKA_HEAP_MB = 384


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """A shell that starts the tests in the background lets them, and whatever they start, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real broker. Topics are shared within a worker: name yours after the test."""
    server = LocalKafka(tmp_path_factory.mktemp("kafka"), heap_mb=KAFKA_HEAP_MB)
    _start_or_skip(server)
    yield server.bootstrap_servers
    server.kill()  # its data goes with the temporary folder: nothing to shut down cleanly


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Valkey (redis://...). Keys are shared within a worker: prefix yours."""
    server = LocalValkey(tmp_path_factory.mktemp("valkey"))
    _start_or_skip(server)
    yield server.url
    server.kill()


@pytest.fixture
def play() -> Callable[..., PeopleResult]:
    """`play(step, seq)`: a dark frame of the stream `door` goes through a perception step; what is published of it."""
    return _play


def _play(
    step: PerceptionStep, seq: int, *, captured_at_ns: int | None = None, appended_at_ms: int = 1_000
) -> PeopleResult:
    captured_at_ns = time.time_ns() if captured_at_ns is None else captured_at_ns
    sent = SentFrameHeaders(
        codec=FrameCodec.PNG, seq=seq, captured_at_ns=captured_at_ns, width=64, height=48, keyframe=True
    )
    record = FrameRecord(
        origin=Origin("foveal.frames", 0, seq),
        part_offsets=(seq,),
        stream_id="door",
        payload=cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes(),
        appended_at_ms=appended_at_ms,
        headers=parse_frame_headers(list(encode(sent))),
        raws=(),
    )
    endings = Endings(lambda record: None)
    prepared = step.prepare([record], endings)
    assert prepared is not None
    step.infer(prepared, endings)
    batch = endings.build(LoopStats(), 0)
    assert not batch.deadletters
    (result,) = batch.results
    message = parse_result(result.headers, result.value).result
    assert isinstance(message, PeopleResult)
    return message


def _start_or_skip(server: LocalKafka | LocalValkey) -> None:
    try:
        server.start()
    except LocalStackError as error:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(f"{type(server).__name__} did not start: {error}")
