"""SIGKILL under load: nothing lost, nothing twice for readers of committed records, new results within 10 s."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.audit import audit
from streams.client import open_producer, tail
from streams.config import ROLES, StreamsConfig, TopicsConfig
from streams.topics import ensure_topics

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(600)]

WORKER = Path(__file__).with_name("worker.py")
KILLS = 5
RATE_HZ = 200
FORGOTTEN_AFTER_S = 7.0  # the group's session timeout, and a second
NEW_RESULT_WITHIN_S = 10.0


class _Results:
    """A reader of committed records: what it saw, how often, and when last."""

    def __init__(self, config: StreamsConfig):
        self.seen: Counter[str] = Counter()
        self.newest_at: dict[int, float] = {}  # input partition -> monotonic time
        self._stop = threading.Event()
        self._records = tail(config, ["people"], stop=self._stop)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for _, record in self._records:
            event = dict(record.headers)["ce_id"].decode()
            self.seen[event] += 1
            self.newest_at[int(event.split("/")[-2])] = time.monotonic()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("slot", ["the same", "another"])
def test_killed_under_load(kafka: str, slot: str) -> None:
    """Two workers; one is killed again and again, its successor has its name or one of its own."""
    config = _config(kafka)
    ensure_topics(config)
    results = _Results(config)
    workers = {"a": _worker(config, "a"), "b": _worker(config, "b")}
    victim = "a"
    try:
        with _load(config) as sent:
            _wait_for_all(results, since=0.0)
            for kill in range(KILLS):
                dead = workers.pop(victim)
                dead.kill()
                killed_at = time.monotonic()
                dead.wait()
                time.sleep(0.5)  # what it had committed is read by then, and not taken for new
                since = time.monotonic()
                name = victim if slot == "the same" else f"w{kill}"
                workers[name] = _worker(config, name)
                victim = name if slot == "the same" or kill % 2 else next(iter(workers))
                gap_s = _wait_for_all(results, since=since) - killed_at
                print(f"{slot} slot, kill {kill}: {gap_s:.2f} s until every partition had new results")
                assert gap_s < NEW_RESULT_WITHIN_S, f"kill {kill}: {gap_s:.1f} s until every partition had new results"
                # Who held no partition yet is missed by nobody at once: one death at a time all the same.
                time.sleep(max(0.0, killed_at + FORGOTTEN_AFTER_S - time.monotonic()))
        deadline = time.monotonic() + 60
        while len(results.seen) < sent[0] and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1)
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
        results.close()
    assert len(results.seen) == sent[0]
    assert set(results.seen.values()) == {1}
    report = audit(config, "frames", _group(config))
    assert report.complete, report.totals
    assert report.totals["results"] == sent[0]


def _config(bootstrap_servers: str) -> StreamsConfig:
    prefix = f"c{uuid.uuid4().hex[:8]}"
    topics = {
        role: TopicsConfig().of(role).model_copy(update={"name": f"{prefix}.{role}", "partitions": 4}) for role in ROLES
    }
    return StreamsConfig(bootstrap_servers=(bootstrap_servers,), topics=TopicsConfig(**topics))


def _group(config: StreamsConfig) -> str:
    """Of its own: a name that comes back early in a group gets what it had, be it of another test's topic."""
    return config.topics.frames.name


def _worker(config: StreamsConfig, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(WORKER), config.model_dump_json(), _group(config), name])


@contextmanager
def _load(config: StreamsConfig) -> Iterator[list[int]]:
    """Records on all partitions, steadily, until the block ends; yields their count."""
    sent = [0]
    stop = threading.Event()

    def send() -> None:
        producer = open_producer(config)
        while not stop.wait(1 / RATE_HZ):
            producer.send(config.topics.frames.name, value=b"x" * 1000, key=b"k", partition=sent[0] % 4)
            sent[0] += 1
        producer.flush()
        producer.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def _wait_for_all(results: _Results, since: float) -> float:
    """When every input partition has had a new result after `since`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        newest = dict(results.newest_at)
        if len(newest) == 4 and min(newest.values()) > since:
            return time.monotonic()
        time.sleep(0.05)
    raise AssertionError(f"no new results: {results.newest_at}, since {since}")
