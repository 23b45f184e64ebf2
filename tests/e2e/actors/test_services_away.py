"""Kafka and Redis go away under a working replica and come back: it waits, says so, and goes on by itself."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.config import parse_config
from deploy.local import LocalKafka, LocalValkey
from foveal import FrameProducer
from foveal.session import LocalSession
from streams.audit import audit
from streams.client import tail
from streams.cloudevents import parse_result
from streams.config import StreamsConfig
from streams.messages import PeopleResult

FPS = 8
AWAY_S = 10.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.services,
    pytest.mark.xdist_group("ray"),
    pytest.mark.timeout(400),
    # Ray's own: fields of its pydantic models, and processes that it leaves to end by themselves.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@dataclass(frozen=True)
class Stand:
    """A session on a broker and a Valkey of its own, which a test may take away."""

    session: LocalSession
    kafka: LocalKafka
    valkey: LocalValkey

    @property
    def streams(self) -> StreamsConfig:
        return self.session.config.streams

    def replica(self) -> dict[str, Any]:
        return self.session.snapshot("PerceptionActor", timeout_s=30)

    def status(self) -> dict[str, Any]:
        """What the gateway says of the replica."""
        with urllib.request.urlopen(f"{self.session.info.gateway_url}/v1/status", timeout=30) as answer:
            said: dict[str, Any] = json.load(answer)["deployments"]["perception"]
        return said


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("away")
    roles = ("frames", "gbuffers", "people", "expressions", "renders", "outcomes", "deadletters")
    with (
        LocalKafka(folder / "kafka", heap_mb=384) as kafka,
        LocalValkey(folder / "valkey", persist=True) as valkey,
    ):
        config = parse_config(
            {
                "streams": {
                    "bootstrap_servers": kafka.bootstrap_servers,
                    "topics": {role: {"name": f"away.{role}", "partitions": 2} for role in roles},
                },
                "gallery": {"url": valkey.url, "stale_after_s": 1.0},
                "engine": {"cache_dir": str(folder / "engines"), "threads": 1},
                "perception": {
                    "group": "away",
                    "streams": [{"match": "*", "compute": ["people", "identities"], "freshness": "all"}],
                },
                "reconstruction": {"placement": {"replicas": 0}},
                "gateway": {"port": 0},
            }
        )
        with LocalSession(config, folder) as session:
            yield Stand(session, kafka, valkey)


class Camera:
    """Sends the frames at FPS on a thread, over and over, and counts them."""

    def __init__(self, stream: str, frames: list[NDArray[np.uint8]], config: StreamsConfig) -> None:
        self.sent = 0
        self._stream, self._frames, self._config = stream, frames, config
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(90)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with FrameProducer(self._stream, config=self._config) as producer:
            for frame in itertools.cycle(self._frames):
                if self._stop.wait(1 / FPS):
                    return
                producer.send(frame)
                self.sent += 1


class Reader:
    """Keeps the identity statuses of every person of a stream as results are committed, and when they were seen."""

    def __init__(self, stream: str, config: StreamsConfig) -> None:
        self.statuses: list[tuple[float, str]] = []
        self.seqs: list[int] = []
        self._stream, self._config = stream, config
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def since(self, when_s: float) -> list[str]:
        return [status for seen_s, status in self.statuses if seen_s >= when_s]

    def _run(self) -> None:
        # Not by foveal.Results, which passes over what it has seen before.
        for _, record in tail(self._config, ("people",), stop=self._stop, from_beginning=True):
            message = parse_result(record.headers, record.value).result
            if message.stream_id != self._stream or not isinstance(message, PeopleResult):
                continue
            self.seqs.append(message.seq)
            self.statuses.extend((time.monotonic(), person.identity.status) for person in message.people)


def test_without_redis_results_go_on_with_matches_unavailable(
    stand: Stand, talking_face: list[NDArray[np.uint8]]
) -> None:
    before = stand.replica()
    already = audit(stand.streams, "frames").totals["results"]
    with Reader("redis", stand.streams) as reader, Camera("redis", talking_face, stand.streams) as camera:
        until(lambda: "unknown" in reader.since(0), 30)  # an empty gallery answers
        stand.valkey.stop()
        until(lambda: stand.replica()["waiting_for"] == "redis", 15)
        assert stand.status()["waiting_for"] == "redis"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{stand.session.info.gateway_url}/v1/galleries", timeout=10)
        gone_s, results = time.monotonic(), len(reader.seqs)
        until(lambda: len(reader.seqs) >= results + 2 * FPS, 15)
        assert set(reader.since(gone_s + 1)) == {"unavailable"}
        stand.valkey.start()
        until(lambda: stand.replica()["waiting_for"] is None, 15)
        back_s = time.monotonic()
        until(lambda: "unknown" in reader.since(back_s), 15)
        until(lambda: "unavailable" not in reader.since(time.monotonic() - 1), 15)
    accounted(stand, already + camera.sent)
    assert stand.replica()["pid"] == before["pid"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_without_kafka_the_replica_waits_and_loses_nothing(
    stand: Stand, talking_face: list[NDArray[np.uint8]], end: str
) -> None:
    before = stand.replica()
    already = audit(stand.streams, "frames").totals["results"]
    with Reader(end, stand.streams) as reader:
        with Camera(end, talking_face, stand.streams) as camera:
            until(lambda: len(reader.seqs) >= FPS, 30)
            getattr(stand.kafka, end)()
            away_s = time.monotonic()
            until(lambda: stand.replica()["waiting_for"] == "kafka", AWAY_S)
            assert stand.status()["waiting_for"] == "kafka"
            time.sleep(max(0.0, away_s + AWAY_S - time.monotonic()))
            stand.kafka.start()
            back_s, results = time.monotonic(), len(reader.seqs)
            until(lambda: stand.replica()["waiting_for"] is None, 30)
            until(lambda: len(reader.seqs) > results, 30)
            print(f"{end}: first result {time.monotonic() - back_s:.1f} s after the broker answered")
            until(lambda: len(reader.seqs) >= results + 2 * FPS, 30)
        accounted(stand, already + camera.sent)
        until(lambda: len(reader.seqs) >= camera.sent, 15)
    assert reader.seqs == list(range(camera.sent))  # in order, none lost, none twice
    after = stand.replica()
    assert (after["pid"], after["member_id"]) == (before["pid"], before["member_id"])
    assert after["waiting_for"] is None


def accounted(stand: Stand, results: int) -> None:
    """Every input offset has exactly one outcome, and each is a result."""
    until(lambda: audit(stand.streams, "frames").totals["results"] >= results, 60)
    report = audit(stand.streams, "frames")
    assert report.complete, str(report.to_dict())
    assert report.totals["results"] == results, str(report.to_dict())


def until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.1)
