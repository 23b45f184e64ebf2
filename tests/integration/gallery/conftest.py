"""A Valkey of a test's own, whose settings it may change, and a plain client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.local import LocalValkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalValkey]:
    with LocalValkey(tmp_path / "valkey") as running:
        yield running


@pytest.fixture
def admin(server: LocalValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client
