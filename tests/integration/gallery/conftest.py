"""A Valkey of a test's own, whose settings it may change, and a plain client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from deploy.local import LocalValkey
from models.reid.attributes import LABELS
from models.reid.words import Words, words_paths


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalValkey]:
    with LocalValkey(tmp_path / "valkey") as running:
        yield running


@pytest.fixture
def admin(server: LocalValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture(scope="module")
def looks() -> dict[str, np.ndarray]:
    """Embeddings of three people who do not exist, from the directions that the shipped words read."""
    if not words_paths()[1].is_file():
        pytest.skip("the words' weights are not exported yet")
    names = [label.name for label in LABELS]
    rows = Words().reader
    wanted = {
        "Ada": (("woman", "red top", "backpack"), ("man", "no backpack")),
        "Bea": (("woman", "white top", "no backpack"), ("man", "backpack")),
        "Cid": (("man", "red top", "no backpack"), ("woman", "backpack")),
    }
    found = {}
    for name, (has, lacks) in wanted.items():
        row = sum(rows[names.index(one)] for one in has) - sum(rows[names.index(one)] for one in lacks)
        found[name] = np.asarray(row / np.linalg.norm(row), np.float32)
    return found
