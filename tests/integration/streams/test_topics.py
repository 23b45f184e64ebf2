"""Topics on a real broker: made once, widened, never narrowed, what differs is said."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from streams.client import open_admin, open_producer, open_reader, tail
from streams.config import ROLES, StreamsConfig
from streams.topics import ensure_topics

pytestmark = pytest.mark.services


def _with(config: StreamsConfig, **people: int) -> StreamsConfig:
    topics = config.topics.model_copy(update={"people": config.topics.people.model_copy(update=people)})
    return config.model_copy(update={"topics": topics})


def test_they_are_made_once(bare_config: StreamsConfig) -> None:
    first = ensure_topics(bare_config)
    assert set(first.created) == {bare_config.topics.of(role).name for role in ROLES}
    again = ensure_topics(bare_config)
    assert (again.created, again.widened, again.differences) == ((), (), ())


def test_several_processes_may_make_them_at_once(bare_config: StreamsConfig) -> None:
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(ensure_topics, [bare_config] * 3))
    created = [name for report in reports for name in report.created]
    assert sorted(created) == sorted(bare_config.topics.of(role).name for role in ROLES)


def test_partitions_are_added_and_never_taken(config: StreamsConfig) -> None:
    name = config.topics.people.name
    assert ensure_topics(_with(config, partitions=5), ["people"]).widened == (name,)
    fewer = ensure_topics(_with(config, partitions=1), ["people"])
    assert fewer.widened == ()
    assert any("has 5 partitions, the settings say 1" in text for text in fewer.differences)
    admin = open_admin(config)
    assert len(admin.describe_topics([name])[0]["partitions"]) == 5
    admin.close()


def test_another_retention_is_said_and_left(config: StreamsConfig) -> None:
    (said,) = ensure_topics(_with(config, retention_ms=60_000), ["people"]).differences
    assert "retention.ms" in said
    assert "kafka-configs --alter" in said


def test_the_broker_stamps_records_and_takes_what_the_settings_promise(config: StreamsConfig) -> None:
    producer = open_producer(config)
    size = config.topics.gbuffers.max_message_bytes - 200
    sent = producer.send(config.topics.gbuffers.name, value=b"\0" * size, timestamp_ms=1).get(30)
    producer.close()
    reader = open_reader(config, [config.topics.gbuffers.name], from_beginning=True)
    (records,) = reader.poll(15_000).values()
    reader.close()
    assert records[0].timestamp > 1_600_000_000_000  # LogAppendTime, not what the sender said
    assert (records[0].offset, len(records[0].value)) == (sent.offset, size)


def test_tail_misses_nothing_that_is_sent_after_it_was_opened(config: StreamsConfig) -> None:
    producer = open_producer(config)
    producer.send(config.topics.people.name, value=b"before").get(10)
    stop = threading.Event()
    records = tail(config, ["people", "renders"], stop=stop)
    producer.send(config.topics.renders.name, key=b"k", value=b"after", headers=[("h", b"1")]).get(10)
    role, record = next(records)
    assert (role, record.key, record.value, record.headers) == ("renders", b"k", b"after", (("h", b"1"),))
    stop.set()
    assert list(records) == []
    everything = tail(config, ["people"], stop=threading.Event(), from_beginning=True)
    assert next(everything)[1].value == b"before"
    everything.close()
    producer.close()
