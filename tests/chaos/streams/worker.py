"""A consume-transform-produce process for the chaos tests: one record in, one result out, until it is killed."""

from __future__ import annotations

import sys

from streams.config import StreamsConfig
from streams.consumer import StreamConsumer
from streams.outcomes import EndedBatch, ResultRecord
from streams.publisher import Publisher


def main(config_json: str, group: str, member_id: str) -> None:
    config = StreamsConfig.model_validate_json(config_json)
    consumer = StreamConsumer(config, config.topics.frames.name, group, member_id)
    publisher = Publisher(config, consumer)
    publisher.start()
    consumer.start()
    while True:
        records = consumer.take(16, 0.5)
        results = [
            ResultRecord(
                "people", one.origin, (one.origin.offset,), one.key or b"", (("ce_id", str(one.origin).encode()),),
                one.value or b"",
            )
            for one in records
        ]  # fmt: skip
        if results:
            publisher.publish(EndedBatch(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
