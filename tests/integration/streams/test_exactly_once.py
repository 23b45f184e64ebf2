"""Consumer, ledger and publisher together on a real broker: once, whatever is aborted, killed or moved."""

from __future__ import annotations

import struct
import threading
import time
from types import SimpleNamespace

import pytest
from kafka.errors import CommitFailedError

from streams.audit import audit
from streams.broker_errors import MemberFencedError, PublisherFailedError
from streams.client import open_producer
from streams.config import StreamsConfig
from streams.consumer import StreamConsumer
from streams.errors import RecordTooLargeError
from streams.outcomes import Dead, EndedBatch, ResultRecord
from streams.publisher import Publisher
from streams.records import RawRecord
from streams.transactions import TransactionalProducer

pytestmark = pytest.mark.services


def test_each_record_is_answered_once_and_the_next_member_begins_behind_it(
    config: StreamsConfig, steps: SimpleNamespace
) -> None:
    steps.send(config, 20)
    topic = config.topics.frames.name
    with StreamConsumer(config, topic, "g", "m-0") as consumer, Publisher(config, consumer) as publisher:
        for _ in range(4):
            publisher.publish(steps.answered(steps.take(consumer, 5)))
        assert publisher.flush(10)
        assert publisher.last_commit_age_s == 0
        assert consumer.lag_records == 0
    assert set(steps.results(config).values()) == {1}
    steps.send(config, 3, first=20)
    with StreamConsumer(config, topic, "g", "m-0") as consumer:
        assert sorted(int(record.value or b"") for record in steps.take(consumer, 3)) == [20, 21, 22]


def test_holes_travel_in_the_commit(config: StreamsConfig, steps: SimpleNamespace) -> None:
    steps.send(config, 10, partition=0)
    topic = config.topics.frames.name
    with StreamConsumer(config, topic, "g", "m-0") as consumer, Publisher(config, consumer) as publisher:
        records = steps.take(consumer, 10)
        publisher.publish(steps.answered(records[index] for index in (1, 2, 5, 9)))
        assert publisher.flush(10)
    with StreamConsumer(config, topic, "g", "m-1") as consumer, Publisher(config, consumer) as publisher:
        again = steps.take(consumer, 6)
        assert [record.origin.offset for record in again] == [0, 3, 4, 6, 7, 8]
        assert consumer.take(1, 0.5) == []
        publisher.publish(steps.answered(again))
        assert publisher.flush(10)
    seen = steps.results(config)
    assert len(seen) == 10
    assert set(seen.values()) == {1}
    assert audit(config, "frames", "g").complete


def test_markers_and_aborted_input_hold_nothing_up(config: StreamsConfig, steps: SimpleNamespace) -> None:
    topic = config.topics.frames.name
    producer = open_producer(config, transactional_id=f"{topic}.sender")
    producer.init_transactions()
    for number, commit in enumerate((True, False, True)):
        producer.begin_transaction()
        producer.send(topic, value=b"%d" % number, partition=0)
        producer.flush()
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    producer.close()
    with StreamConsumer(config, topic, "g", "m") as consumer, Publisher(config, consumer) as publisher:
        records = steps.take(consumer, 2)
        publisher.publish(steps.answered(records))
        assert publisher.flush(10)
        deadline = time.monotonic() + 10
        while consumer.lag_records and time.monotonic() < deadline:
            time.sleep(0.1)
        assert consumer.lag_records == 0
    report = audit(config, "frames")
    assert report.complete
    assert report.totals["offsets"] == 2


def test_a_failed_transaction_is_written_again_whole(
    config: StreamsConfig, steps: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.send(config, 6)
    topic = config.topics.frames.name
    with StreamConsumer(config, topic, "g", "m") as consumer, Publisher(config, consumer) as publisher:
        real, calls = consumer.group_metadata, iter(range(100))
        # The first transaction carries a generation that is long gone, as after a rebalance in its middle.
        monkeypatch.setattr(consumer, "group_metadata", lambda: stale(real()) if next(calls) == 0 else real())
        publisher.publish(steps.answered(steps.take(consumer, 6)))
        assert publisher.flush(15)
        assert publisher.counts.aborted == 1
        assert publisher.counts.results == 6
        assert publisher.waiting_for is None
    assert sorted(steps.results(config).values()) == [1] * 6
    assert audit(config, "frames").complete


def stale(metadata: bytes) -> bytes:
    """The same member of generation 77, in librdkafka's packing (`rd_kafka_consumer_group_metadata_write`)."""
    mark = b"CGMDv2:"
    assert metadata.startswith(mark)
    return mark + struct.pack("<i", 77) + metadata[len(mark) + 4 :]


def test_what_another_member_ended_is_dropped_and_counted(config: StreamsConfig, steps: SimpleNamespace) -> None:
    steps.send(config, 4)
    topic = config.topics.frames.name
    with StreamConsumer(config, topic, "g", "m") as consumer, Publisher(config, consumer) as publisher:
        batch = steps.answered(steps.take(consumer, 4))
        publisher.publish(batch)
        publisher.publish(batch)
        assert publisher.flush(10)
        consumer.ledgers.revoke([(topic, 0), (topic, 1)])
        publisher.publish(batch)
        assert publisher.flush(10)
        assert publisher.counts.disowned == 8
    assert sorted(steps.results(config).values()) == [1] * 4


def test_a_successor_with_the_same_name_fences_the_zombie(config: StreamsConfig, steps: SimpleNamespace) -> None:
    steps.send(config, 2)
    topic = config.topics.frames.name
    zombie, ghost = StreamConsumer(config, topic, "g", "m"), None
    zombie.start()
    ghost = Publisher(config, zombie)
    ghost.start()
    records = steps.take(zombie, 2)
    with StreamConsumer(config, topic, "g", "m") as consumer, Publisher(config, consumer) as publisher:
        again = steps.take(consumer, 2)
        ghost.publish(steps.answered(records))
        with pytest.raises(PublisherFailedError):
            ghost.flush(20)
        publisher.publish(steps.answered(again))
        assert publisher.flush(15)
        with pytest.raises(MemberFencedError):
            take_until_fenced(zombie)
    ghost.close(1)
    zombie.close()
    assert sorted(steps.results(config).values()) == [1, 1]
    assert audit(config, "frames").complete


def take_until_fenced(zombie: StreamConsumer) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        zombie.take(1, 1)


def test_a_result_that_its_topic_refuses_is_refused_before_anything_is_written(
    config: StreamsConfig, steps: SimpleNamespace
) -> None:
    steps.send(config, 1)
    with (
        StreamConsumer(config, config.topics.frames.name, "g", "m") as consumer,
        Publisher(config, consumer) as publisher,
    ):
        (record,) = steps.take(consumer, 1)
        huge = ResultRecord("people", record.origin, (record.origin.offset,), b"s", (), b"x" * (1 << 20))
        with pytest.raises(RecordTooLargeError, match=r"streams\.topics\.people\.max_message_bytes"):
            publisher.publish(EndedBatch([huge]))
        publisher.publish(EndedBatch([], [], [Dead(record, "RecordTooLargeError", "its result is too large")]))
        assert publisher.flush(10)
    assert audit(config, "frames").totals["deadletters"] == 1


@pytest.mark.parametrize("in_time", [True, False], ids=["it ends", "its end is lost"])
def test_an_open_transaction_on_the_offsets_is_waited_for(
    config: StreamsConfig, steps: SimpleNamespace, in_time: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another member's last transaction may still be under way; one that never ends must not hold its partition."""
    topic = config.topics.frames.name
    steps.send(config, 4, partition=0)
    with StreamConsumer(config, topic, "g", "m-0") as consumer:
        steps.take(consumer, 4)
        hanging = TransactionalProducer(config, "hanging")
        hanging.begin()
        hanging.send_offsets({(topic, 0): (3, "")}, consumer.group_metadata())
    if not in_time:
        monkeypatch.setattr("streams.consumer.CLEAN_UP_S", -config.publisher.transaction_timeout_ms / 1000)
        monkeypatch.setattr("streams.positions.COMMITTED_TIMEOUT_S", 0.5)
    with StreamConsumer(config, topic, "g", "m-1") as consumer:
        if in_time:
            assert consumer.take(4, 1.5) == []
            hanging.commit()
        values = [record.value for record in steps.take(consumer, 1 if in_time else 4)]
    assert values == ([b"3"] if in_time else [b"0", b"1", b"2", b"3"])
    if not in_time:
        hanging.abort()
    hanging.close(1)


def test_at_least_once_commits_after_the_results(config: StreamsConfig, steps: SimpleNamespace) -> None:
    config = config.model_copy(update={"delivery": "at_least_once"})
    steps.send(config, 10, partition=0)
    topic = config.topics.frames.name
    with StreamConsumer(config, topic, "g", "m") as consumer, Publisher(config, consumer) as publisher:
        records = steps.take(consumer, 10)
        publisher.publish(steps.answered(records[1:]))
        assert publisher.flush(10)
    with StreamConsumer(config, topic, "g", "m") as consumer, Publisher(config, consumer) as publisher:
        publisher.publish(steps.answered(steps.take(consumer, 1)))
        assert publisher.flush(10)
    assert sorted(steps.results(config).values()) == [1] * 10
    assert audit(config, "frames").complete


def test_two_members_share_and_nothing_is_done_twice(config: StreamsConfig, steps: SimpleNamespace) -> None:
    """One works alone, a second comes, the first goes: all under load."""
    topic = config.topics.frames.name
    stop = threading.Event()
    moved: list[tuple[str, tuple[int, ...]]] = []

    def work(name: str, until: threading.Event) -> None:
        with_publisher: list[Publisher] = []
        consumer = StreamConsumer(
            config, topic, "g", name,
            on_assigned=lambda partitions: moved.append((f"{name}+", partitions)),
            on_revoked=lambda partitions: (moved.append((f"{name}-", partitions)), with_publisher[0].flush(5)),
        )  # fmt: skip
        with consumer, Publisher(config, consumer) as publisher:
            with_publisher.append(publisher)
            while not until.is_set():
                taken: list[RawRecord] = consumer.take(8, 0.1)
                if taken:
                    publisher.publish(steps.answered(taken))
            publisher.flush(10)

    first_stop = threading.Event()
    workers = [threading.Thread(target=work, args=("a", first_stop))]
    workers[0].start()
    while not moved:  # the first one is there before the second comes
        time.sleep(0.01)
    steps.send(config, 100)
    workers.append(threading.Thread(target=work, args=("b", stop)))
    workers[1].start()
    deadline = time.monotonic() + 30
    first = 100
    while ("b+", (0,)) not in moved and ("b+", (1,)) not in moved and time.monotonic() < deadline:
        steps.send(config, 10, first=first)
        first += 10
    first_stop.set()
    steps.send(config, 50, first=first)
    workers[0].join(20)
    while not audit(config, "frames", "g").complete and time.monotonic() < deadline:
        time.sleep(0.2)
    stop.set()
    workers[1].join(20)
    report = audit(config, "frames", "g")
    assert report.complete, (report.totals, moved)
    assert report.totals["results"] == first + 50
    assert set(steps.results(config).values()) == {1}
    assert any(who == "a-" for who, _ in moved), moved


def test_kafka_python_still_says_a_stale_generation_as_this_package_expects() -> None:
    assert not getattr(CommitFailedError, "retriable", True)
