"""The audit finds what is missing, twice or pending, on records that a real broker keeps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from streams.audit import AuditError, audit
from streams.client import open_producer
from streams.config import StreamsConfig
from streams.consumer import StreamConsumer
from streams.messages import DropReason, Outcome
from streams.outcomes import Dead, Drop, EndedBatch, ResultRecord
from streams.publisher import Publisher
from streams.records import Origin, RawRecord

pytestmark = pytest.mark.services


def _result(origin: Origin, *, role: Any = "people", parts: tuple[int, ...] = ()) -> ResultRecord:
    headers = (("ce_id", str(origin).encode()),)
    return ResultRecord(role, origin, parts or (origin.offset,), b"s", headers, b"{}")


@dataclass
class _Run:
    """A consumer and publisher that end exactly what a test says."""

    config: StreamsConfig
    records: list[RawRecord] = field(default_factory=list)

    def end(self, count: int, batch: Any) -> None:
        topic = self.config.topics.frames.name
        with StreamConsumer(self.config, topic, "g", "m") as consumer, Publisher(self.config, consumer) as publisher:
            deadline = time.monotonic() + 15
            while len(self.records) < count and time.monotonic() < deadline:
                self.records += consumer.take(count, 0.2)
            publisher.publish(batch(self.records))
            assert publisher.flush(10)


def _send(config: StreamsConfig, headers: list[list[tuple[str, bytes]]]) -> None:
    producer = open_producer(config)
    for one in headers:
        producer.send(config.topics.frames.name, key=b"s", value=b"v", headers=one, partition=0)
    producer.flush()
    producer.close()


def test_results_parts_drops_dead_letters_and_pending_add_up(config: StreamsConfig) -> None:
    part = [[("part", b"%d" % index), ("parts", b"3")] for index in range(3)]
    _send(config, [[], *part, [], [], []])

    def batch(records: list[RawRecord]) -> EndedBatch:
        at = {record.origin.offset: record.origin for record in records}
        return EndedBatch(
            [_result(at[0]), _result(at[0], role="expressions"), _result(at[3], parts=(1, 2, 3))],
            [Drop(at[5], DropReason.STALE, 10)],
            [Dead(records[6], "HeaderError", "no codec")],
        )

    _Run(config).end(7, batch)
    report = audit(config, "frames")
    assert report.group == "g"
    assert report.totals == {
        "offsets": 7, "results": 4, "drops": 1, "deadletters": 1, "pending": 1, "missing": 0, "duplicated": 0,
    }  # fmt: skip
    assert report.sound
    assert not report.complete
    assert report.partitions[0].drops == {"stale": 1}
    assert report.partitions[0].deadletters == {"HeaderError": 1}


def test_what_is_lost_or_twice_is_named(config: StreamsConfig) -> None:
    _send(config, [[], [], []])
    _Run(config).end(3, lambda records: EndedBatch([_result(record.origin) for record in records[:2]]))
    topic = config.topics.frames.name
    producer = open_producer(config)
    outcome = Outcome(
        group="g", input_topic=topic, partition=0, results=((1, 1),), drops=(), deadletters=(), ended_at_ns=1
    )
    producer.send(config.topics.outcomes.name, value=outcome.model_dump_json().encode())
    producer.send(config.topics.people.name, value=b"{}", headers=[("ce_id", f"{topic}/0/0".encode())])
    promised = outcome.model_copy(update={"results": ((2, 2),)})
    producer.send(config.topics.outcomes.name, value=promised.model_dump_json().encode())
    producer.flush()
    producer.close()
    report = audit(config, topic)
    assert not report.sound
    assert report.partitions[0].duplicated_offsets == (0, 1)
    assert report.partitions[0].missing_offsets == (2,)


def test_an_untouched_topic_is_all_pending(config: StreamsConfig) -> None:
    _send(config, [[], []])
    report = audit(config, "frames")
    assert (report.group, report.totals["pending"], report.sound) == (None, 2, True)


def test_a_topic_that_is_not_there(config: StreamsConfig) -> None:
    with pytest.raises(AuditError, match="does not exist"):
        audit(config, "nowhere")
