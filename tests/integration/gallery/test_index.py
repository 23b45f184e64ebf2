"""Indexes in step with a real Valkey: within a second, through trimmed logs, damage, restarts and silence."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from deploy.local import LocalValkey
from gallery.config import GalleryConfig
from gallery.errors import (
    DimensionMismatchError,
    EpochMismatchError,
    GalleryUnavailableError,
    InvalidEmbeddingError,
    UnknownGalleryError,
)
from gallery.index import GalleryIndex
from gallery.keys import GalleryKeys
from gallery.schema import Match
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
DIMENSION = 32
EPOCH = "net-1"


def unit(seed: int, rows: int, dimension: int = DIMENSION) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> float:
    """Seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, "did not come true in time"
        time.sleep(0.002)
    return time.monotonic() - started


def status(index: GalleryIndex, gallery: str, vector: np.ndarray) -> str:
    return index.match(vector[None], gallery)[0].status


@pytest.fixture
def config(valkey: str) -> GalleryConfig:
    return GalleryConfig(url=valkey)


@pytest.fixture
def store(config: GalleryConfig) -> Iterator[GalleryStore]:
    with GalleryStore(config) as opened:
        yield opened


@pytest.fixture
def lobby(store: GalleryStore) -> Iterator[str]:
    name = f"lobby-{uuid4().hex}"
    store.create(name, dimension=DIMENSION, epoch=EPOCH, threshold=0.6)
    yield name
    if name in [g.name for g in store.list_galleries()]:
        store.remove_gallery(name)


def test_two_indexes_see_every_change_within_a_second(config: GalleryConfig, store: GalleryStore, lobby: str) -> None:
    ada, bea = unit(1, 2)
    with GalleryIndex(config) as one, GalleryIndex(config, galleries=[lobby]) as two:
        for index in (one, two):
            index.wait_until_synced(5)
            assert index.match(ada[None], lobby) == [Match("unknown")]
        slowest_s = 0.0
        for _ in range(5):
            who = store.enrol(lobby, ada, name="Ada").identity_id
            slowest_s = max(slowest_s, wait_until(lambda: all(status(i, lobby, ada) == "known" for i in (one, two))))
            store.set_threshold(lobby, 0.9999)
            near = (ada + 0.1 * bea) / np.linalg.norm(ada + 0.1 * bea)
            slowest_s = max(
                slowest_s, wait_until(lambda n=near: all(status(i, lobby, n) == "unknown" for i in (one, two)))
            )
            store.set_threshold(lobby, 0.6)
            store.remove(lobby, who)
            slowest_s = max(slowest_s, wait_until(lambda: all(status(i, lobby, ada) == "unknown" for i in (one, two))))
        store.enrol(lobby, ada, identity_id="ada", name="Ada")
        store.enrol(lobby, bea, identity_id="bea")
        wait_until(lambda: all(len(i.search(ada, lobby)[0]) == 2 for i in (one, two)))
        for index in (one, two):
            known = index.match(np.stack([ada, bea]), lobby, epoch=EPOCH)
            assert [(m.status, m.identity_id, m.name) for m in known] == [
                ("known", "ada", "Ada"),
                ("known", "bea", None),
            ]
            assert known[0].score == pytest.approx(1, abs=1e-5)
            assert known[0].margin == pytest.approx(1 - float(ada @ bea), abs=1e-5)
        store.remove_gallery(lobby)
        slowest_s = max(slowest_s, wait_until(lambda: lobby not in [g.name for g in one.health().galleries]))
        with pytest.raises(UnknownGalleryError, match=f"foveal gallery create {lobby}"):
            one.match(ada[None], lobby)
        assert slowest_s < 1.0, f"the slowest change took {slowest_s:.3f} s"


def test_a_gallery_made_anew_with_another_dimension_is_seen(
    config: GalleryConfig, store: GalleryStore, lobby: str
) -> None:
    with GalleryIndex(config) as index:
        index.wait_until_synced(5)
        store.enrol(lobby, unit(1, 1))
        store.remove_gallery(lobby)
        store.create(lobby, dimension=4, epoch="net-2")
        who = store.enrol(lobby, unit(1, 1, 4)).identity_id
        wait_until(lambda: "net-2" in [g.epoch for g in index.health().galleries if g.name == lobby])
        wait_until(lambda: bool(index.search(unit(1, 1, 4), lobby)[0]))
        assert index.match(unit(1, 1, 4), lobby)[0].identity_id == who
        with pytest.raises(DimensionMismatchError, match="expected 4"):
            index.match(unit(1, 1), lobby)
        with pytest.raises(EpochMismatchError, match="'net-2'"):
            index.match(unit(1, 1, 4), lobby, epoch=EPOCH)
        with pytest.raises(InvalidEmbeddingError):
            index.match(np.full((1, 4), np.nan), lobby)
        assert index.match(np.empty((0, 4), np.float32), lobby) == []


def test_a_log_trimmed_beyond_the_index_is_noticed(config: GalleryConfig, store: GalleryStore, lobby: str) -> None:
    with GalleryIndex(config) as index:
        index.wait_until_synced(5)
        resyncs = index.health().resyncs
        vectors = unit(2, 3)
        with store.client.pipeline(transaction=True) as pipe:  # three changes whose lines were gone before any reader
            for n, vector in enumerate(vectors):
                key = GalleryKeys(lobby)
                pipe.hset(key.vector(f"id{n}", 0), mapping=fields_of(vector))
                pipe.hset(
                    key.identity(f"id{n}"),
                    mapping={"next_vector": 1, "vectors": "0", "created_at_ms": 1, "updated_at_ms": 1},
                )
                pipe.zadd(key.identities, {f"id{n}": 1})
                pipe.hincrby(key.meta, "seq", 1)
            pipe.execute()
        wait_until(lambda: all(m.status == "known" for m in index.match(vectors, lobby)), timeout_s=1.0)
        assert index.health().resyncs > resyncs
        store.enrol(lobby, unit(3, 1), identity_id="after")
        wait_until(lambda: status(index, lobby, unit(3, 1)[0]) == "known", timeout_s=1.0)


def test_damaged_vectors_are_skipped_counted_and_named(config: GalleryConfig, store: GalleryStore, lobby: str) -> None:
    good, short, other = unit(4, 3)
    for name, vector in {"good": good, "short": short, "other": other}.items():
        store.enrol(lobby, vector, identity_id=name)
    keys = GalleryKeys(lobby)
    store.client.hset(keys.vector("short", 0), "embedding", b"x" * 7)
    store.client.hset(keys.vector("other", 0), "epoch", "net-0")
    with GalleryIndex(config, galleries=[lobby]) as index:
        index.wait_until_synced(5)
        (health,) = index.health().galleries
        assert (health.identities, health.vectors, health.corrupt, health.other_epoch) == (3, 1, 1, 1)
        assert health.corrupt_keys == (keys.vector("short", 0),)
        assert [m.status for m in index.match(np.stack([good, short, other]), lobby)] == ["known", "unknown", "unknown"]
        store.remove(lobby, "short")
        wait_until(lambda: index.health().galleries[0].corrupt == 0, timeout_s=1.0)


def test_an_index_that_starts_before_its_server_goes_on_by_itself(tmp_path: Path) -> None:
    server = LocalValkey(tmp_path / "late")
    server.start()
    url = server.url
    server.kill()
    config = GalleryConfig(url=url)
    with GalleryIndex(config) as index:
        with pytest.raises(GalleryUnavailableError, match=r"foveal up"):
            index.wait_until_synced(0.5)
        assert index.match(unit(5, 2), "lobby") == [Match("unavailable")] * 2
        health = index.health()
        assert (health.state, health.available) == ("waiting", False)
        assert url in (health.error or "")
        with pytest.raises(GalleryUnavailableError):
            index.search(unit(5, 1), "lobby")
        server.start()
        try:
            index.wait_until_synced(5)
            with GalleryStore(config) as store:
                store.create("lobby", dimension=DIMENSION, epoch=EPOCH)
                store.enrol("lobby", unit(5, 1))
            wait_until(lambda: any(g.vectors for g in index.health().galleries), timeout_s=2.0)
            assert status(index, "lobby", unit(5, 1)[0]) == "known"
        finally:
            server.kill()


def test_silence_is_unavailable_and_never_unknown_and_a_lost_server_is_loaded_again(tmp_path: Path) -> None:
    server = LocalValkey(tmp_path / "restarted", persist=True)
    server.start()
    config = GalleryConfig(url=server.url, stale_after_s=1.0, timeout_s=0.5, connect_timeout_s=0.5)
    known, stranger = unit(6, 2)
    try:
        with GalleryStore(config) as store, GalleryIndex(config) as index:
            store.create("lobby", dimension=DIMENSION, epoch=EPOCH)
            store.enrol("lobby", known, identity_id="ada")
            wait_until(lambda: any(g.vectors for g in index.health().galleries))
            assert server.pid is not None
            os.kill(server.pid, signal.SIGSTOP)  # alive, and silent: no connection breaks
            seen = set()
            until = time.monotonic() + 2.0
            while time.monotonic() < until:
                seen.add(tuple(m.status for m in index.match(np.stack([known, stranger]), "lobby")))
                time.sleep(0.01)
            assert seen == {("known", "unknown"), ("unavailable", "unavailable")}
            assert [m.status for m in index.match(known[None], "lobby")] == ["unavailable"]
            os.kill(server.pid, signal.SIGCONT)
            wait_until(lambda: status(index, "lobby", known) == "known", timeout_s=3.0)
            server.kill()
            wait_until(lambda: status(index, "lobby", known) == "unavailable", timeout_s=3.0)
            server.start()
            wait_until(lambda: status(index, "lobby", known) == "known", timeout_s=5.0)
            store.enrol("lobby", stranger, identity_id="bea")
            wait_until(lambda: status(index, "lobby", stranger) == "known", timeout_s=1.0)
    finally:
        server.kill()


def test_a_silent_or_absent_server_is_named_within_ten_seconds(tmp_path: Path) -> None:
    server = LocalValkey(tmp_path / "silent")
    server.start()
    config = GalleryConfig(url=server.url)
    try:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(GalleryUnavailableError, match=r"FOVEAL_REDIS__URL"):
            GalleryIndex(config).check()
        assert time.monotonic() - started < 10
    finally:
        server.kill()
    with (
        pytest.raises(GalleryUnavailableError, match=r"no answer from redis://127.0.0.1"),
        GalleryStore(config) as store,
    ):
        store.list_galleries()


def fields_of(vector: np.ndarray) -> dict[str, bytes | str]:
    return {
        "embedding": vector.tobytes(),
        "dtype": "float32",
        "epoch": EPOCH,
        "polarity": "positive",
        "enrolled_at_ms": "1",
    }
