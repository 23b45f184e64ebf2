"""The topics as the settings want them: created where missing, widened where too narrow, never narrowed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import InvalidPartitionsError, KafkaError, TopicAlreadyExistsError

from streams.client import open_admin
from streams.config import ROLES, Role, StreamsConfig, TopicConfig
from streams.errors import StreamError

__all__ = ["TopicsReport", "ensure_topics"]

log = logging.getLogger(__name__)

READY_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """What `ensure_topics` did. `differences`: what exists otherwise than asked and was left, a sentence each."""

    created: tuple[str, ...] = ()
    widened: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


def ensure_topics(config: StreamsConfig, roles: Sequence[Role] = ROLES) -> TopicsReport:
    """Make the topics of `roles` exist with their partitions, retention, sizes and LogAppendTime. Idempotent.

    More partitions than there are get added; all else that differs is said (and logged) and left as it is, since
    somebody may have set it on purpose. Safe when several processes call it at once.
    Raises: BrokerUnavailableError; StreamError when the brokers refuse.
    """
    wanted = {config.topics.of(role).name: config.topics.of(role) for role in roles}
    admin = open_admin(config)
    try:
        existing = {topic["name"]: topic for topic in _described(admin, list(wanted))}
        created = tuple(name for name in wanted if name not in existing and _create(admin, wanted[name]))
        admin.wait_for_topics(list(wanted), READY_TIMEOUT_MS)
        widened = tuple(
            name for name, topic in existing.items() if _widen(admin, wanted[name], len(topic["partitions"]))
        )
        differences = tuple(_differences(admin, wanted, existing))
    except KafkaError as error:
        raise StreamError(
            f"streams.topics: the brokers at {', '.join(config.bootstrap_servers)} refuse ({type(error).__name__}: "
            f"{error}); create the topics by hand, or give this client the rights CREATE, DESCRIBE and ALTER"
        ) from error
    finally:
        admin.close()
    for difference in differences:
        log.warning("%s", difference)
    return TopicsReport(created, widened, differences)


def _described(admin: KafkaAdminClient, names: list[str]) -> list[dict[str, Any]]:
    return [topic for topic in admin.describe_topics(names) if not topic.get("error_code")]


def _settings(topic: TopicConfig) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(topic.retention_ms),
        "retention.bytes": str(topic.retention_bytes),
        # The limit is of a batch: the record, its headers and the batch's own fields.
        "max.message.bytes": str(topic.max_message_bytes + 4096),
    }


def _create(admin: KafkaAdminClient, topic: TopicConfig) -> bool:
    options = {
        "num_partitions": topic.partitions,
        "replication_factor": topic.replication,
        "configs": _settings(topic),
    }
    try:
        admin.create_topics({topic.name: options})
    except TopicAlreadyExistsError:
        return False  # another process was faster
    return True


def _widen(admin: KafkaAdminClient, topic: TopicConfig, partitions: int) -> bool:
    if partitions >= topic.partitions:
        return False
    try:
        admin.create_partitions({topic.name: topic.partitions})
    except InvalidPartitionsError:
        return False  # another process was faster
    return True


def _differences(
    admin: KafkaAdminClient, wanted: dict[str, TopicConfig], existing: dict[str, dict[str, Any]]
) -> list[str]:
    if not existing:
        return []
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in existing]
    found = admin.describe_configs(resources, config_filter="all").get("topic", {})
    said = []
    for name, topic in existing.items():
        partitions = len(topic["partitions"])
        if partitions > wanted[name].partitions:
            said.append(
                f"topic {name}: has {partitions} partitions, the settings say {wanted[name].partitions}; "
                "kept: partitions are never taken away"
            )
        for key, value in _settings(wanted[name]).items():
            is_set = str(found.get(name, {}).get(key, {}).get("value"))
            if is_set != value:
                said.append(
                    f"topic {name}: {key} is {is_set}, the settings say {value}; kept: change it with "
                    f"kafka-configs --alter --topic {name} --add-config {key}={value}"
                )
    return said
