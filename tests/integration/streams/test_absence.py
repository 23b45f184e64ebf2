"""A broker that is not there, and one that goes away and comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.local import LocalKafka
from deploy.local.process import free_port
from streams.audit import audit
from streams.client import describe_cluster, open_producer, tail
from streams.config import StreamsConfig
from streams.consumer import StreamConsumer
from streams.errors import BrokerUnavailableError
from streams.publisher import Publisher
from streams.topics import ensure_topics

pytestmark = pytest.mark.services

# A transaction is committed before its markers are written. A single broker that is killed in between forgets them
# when it starts again (4.3.1: it looks for the partitions' leader before it is one itself).
MARKERS_S = 0.5


@pytest.mark.parametrize(
    "reach",
    [
        lambda config: StreamConsumer(config, "t", "g").start(),
        lambda config: Publisher(config, StreamConsumer(config, "t", "g")).start(),
        open_producer,
        ensure_topics,
        describe_cluster,
        lambda config: tail(config, ["people"], stop=threading.Event()),
        lambda config: audit(config, "frames"),
    ],
    ids=["consumer", "publisher", "producer", "topics", "doctor", "tail", "audit"],
)
def test_an_absent_broker_is_said_in_time_with_address_and_remedy(reach: Callable[[StreamsConfig], object]) -> None:
    address = f"127.0.0.1:{free_port()}"
    config = StreamsConfig(bootstrap_servers=(address,), connect_timeout_s=1.0)
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError) as raised:
        reach(config)
    assert time.monotonic() - began < 5
    text = str(raised.value)
    assert "streams.bootstrap_servers" in text
    assert address in text
    assert "foveal up" in text


def test_by_default_it_is_said_within_ten_seconds() -> None:
    assert StreamsConfig().connect_timeout_s <= 8


def test_a_broker_that_goes_away_is_waited_for(tmp_path: Path, steps: SimpleNamespace) -> None:
    with LocalKafka(tmp_path, heap_mb=256) as broker:
        config = steps.new_config(broker.bootstrap_servers)
        ensure_topics(config)
        steps.send(config, 4)
        topic = config.topics.frames.name
        with StreamConsumer(config, topic, "g", "m") as consumer, Publisher(config, consumer) as publisher:
            records = steps.take(consumer, 4)
            publisher.publish(steps.answered(records[:2]))
            assert publisher.flush(10)
            time.sleep(MARKERS_S)
            broker.kill()
            publisher.publish(steps.answered(records[2:]))
            _until(lambda: consumer.waiting_for == "kafka", 15)
            assert not publisher.flush(0.5)
            assert publisher.last_commit_age_s > 0
            assert consumer.last_poll_age_s < 5
            broker.start()
            assert publisher.flush(30)
            _until(lambda: consumer.waiting_for is None, 15)
            steps.send(config, 2, first=4)
            # Where the group has expelled the member meanwhile, the two that were under way come again.
            deadline = time.monotonic() + 20
            while publisher.counts.results < 6 and time.monotonic() < deadline:
                publisher.publish(steps.answered(consumer.take(4, 0.2)))
                assert publisher.flush(15)
        assert sorted(steps.results(config).values()) == [1] * 6
        assert audit(config, "frames").complete


def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)
