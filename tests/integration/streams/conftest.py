"""Settings with topics of their own for each test, created on the worker's broker."""

from __future__ import annotations

import uuid

import pytest

from streams.config import ROLES, StreamsConfig, TopicsConfig
from streams.topics import ensure_topics


@pytest.fixture
def bare_config(kafka: str) -> StreamsConfig:
    """Names that nobody else uses; nothing is created."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    topics = {
        role: TopicsConfig().of(role).model_copy(update={"name": f"{prefix}.{role}", "partitions": 2}) for role in ROLES
    }
    return StreamsConfig(bootstrap_servers=(kafka,), topics=TopicsConfig(**topics))


@pytest.fixture
def config(bare_config: StreamsConfig) -> StreamsConfig:
    """The same with its topics there."""
    ensure_topics(bare_config)
    return bare_config
