"""What goes wrong has a name and loses nothing: full and read-only servers, galleries that go away, foreign vectors."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import redis

from deploy.local import LocalValkey
from gallery.changes import list_changes, merge, split, undo
from gallery.config import GalleryConfig
from gallery.errors import (
    DimensionMismatchError,
    EpochMismatchError,
    GalleryError,
    GalleryOutOfMemoryError,
    GalleryReadOnlyError,
    GalleryServerError,
    UnknownGalleryError,
)
from gallery.health import check_gallery
from gallery.index import GalleryIndex
from gallery.keys import GalleryKeys
from gallery.schema import Match
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
E = np.eye(8, dtype=np.float32)


@pytest.fixture
def store(server: LocalValkey) -> Iterator[GalleryStore]:
    with GalleryStore(GalleryConfig(url=server.url, vectors_per_identity=2)) as opened:
        opened.create("lobby", dimension=8, epoch="net-1", threshold=0.5)
        for n, name in enumerate(("ada", "bea", "cleo")):
            opened.enrol("lobby", E[2 * n : 2 * n + 2], identity_id=name, quality=0.5)
        merge(opened, "lobby", "bea", into="cleo")
        yield opened


def everything(client: redis.Redis) -> dict[bytes, bytes | None]:
    """The gallery's keys with all that they hold."""
    return {key: client.dump(key) for key in client.scan_iter(match="foveal:{lobby}:*") if b"replicas" not in key}


def writes(store: GalleryStore) -> dict[str, Callable[[], object]]:
    return {
        "enrol": lambda: store.enrol("lobby", E[7], identity_id="dora"),
        "merge": lambda: merge(store, "lobby", "ada", into="cleo"),
        "split": lambda: split(store, "lobby", "ada", [0]),
        "undo": lambda: undo(store, "lobby"),
        "threshold": lambda: store.set_threshold("lobby", 0.7),
    }


def test_a_full_server_refuses_by_name_and_nothing_is_half_done(store: GalleryStore, admin: redis.Redis) -> None:
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", "100kb")
    before = everything(admin)
    for write in writes(store).values():
        with pytest.raises(GalleryOutOfMemoryError, match="maxmemory") as caught:
            write()
        assert caught.value.retriable
    assert everything(admin) == before
    store.remove("lobby", "ada")  # what frees memory goes on
    admin.config_set("maxmemory", "0")
    for name in ("threshold", "undo"):
        writes(store)[name]()
    assert [i.identity_id for i in store.list_identities("lobby")] == ["bea", "cleo"]


def test_a_read_only_server_refuses_by_name_and_is_still_read(store: GalleryStore, admin: redis.Redis) -> None:
    before = everything(admin)
    admin.config_set("min-replicas-to-write", "1")
    for write in [*writes(store).values(), lambda: store.remove("lobby", "ada")]:
        with pytest.raises(GalleryReadOnlyError, match=r"point gallery.url to the primary"):
            write()
    assert everything(admin) == before
    with GalleryIndex(store.config) as index:  # it cannot report, and matches all the same
        index.wait_until_synced(5)
        assert index.match(E[0], "lobby")[0].identity_id == "ada"
        assert check_gallery(store, "lobby").replicas == ()


def test_a_gallery_that_goes_away_and_comes_back_is_never_anything_else(store: GalleryStore) -> None:
    answers: set[str] = set()
    failures: list[Exception] = []
    ended = threading.Event()
    with GalleryIndex(store.config) as index:
        index.wait_until_synced(5)

        def ask() -> None:
            while not ended.is_set():
                try:
                    answers.add(index.match(E[0], "lobby")[0].status)
                except UnknownGalleryError:
                    answers.add("no gallery")
                except Exception as error:  # noqa: BLE001 that there is none is what is tested
                    failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            store.remove_gallery("lobby")
            time.sleep(0.02)
            store.create("lobby", dimension=8, epoch="net-1", threshold=0.5)
            store.enrol("lobby", E[:2], identity_id="ada")
            time.sleep(0.05)
        ended.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert {"known", "no gallery"} <= answers <= {"known", "unknown", "no gallery"}


def test_an_empty_gallery_knows_nobody(store: GalleryStore) -> None:
    store.create("empty", dimension=8, epoch="net-1")
    with GalleryIndex(store.config, galleries=["empty"]) as index:
        index.wait_until_synced(5)
        assert index.match(E[:2], "empty") == [Match("unknown")] * 2
        assert index.search(E[0], "empty") == [[]]
    assert check_gallery(store, "empty").healthy


def test_vectors_of_another_dimension_or_epoch_are_refused_by_name(store: GalleryStore) -> None:
    with GalleryIndex(store.config) as index:
        index.wait_until_synced(5)
        with pytest.raises(DimensionMismatchError, match="expected 8"):
            index.match(np.eye(4, dtype=np.float32)[0], "lobby")
        with pytest.raises(EpochMismatchError, match="'net-2'"):
            index.match(E[0], "lobby", epoch="net-2")
    for wrong, error in (
        (lambda: store.enrol("lobby", np.eye(4)[0]), DimensionMismatchError),
        (lambda: store.enrol("lobby", E[0], epoch="net-2"), EpochMismatchError),
    ):
        with pytest.raises(error):
            wrong()


def test_a_damaged_hash_is_named_by_check_and_leaves_the_others(store: GalleryStore, admin: redis.Redis) -> None:
    keys = GalleryKeys("lobby")
    admin.delete(keys.identity("ada"))
    admin.set(keys.identity("ada"), "no hash")
    admin.hset(keys.vector("cleo", 0), "embedding", b"\xff" * 32)
    found = check_gallery(store, "lobby")
    assert not found.healthy
    assert "1 identities cannot be read" in str(found.findings)
    assert keys.vector("cleo", 0) in str(found.findings)
    with pytest.raises(GalleryServerError):
        merge(store, "lobby", "ada", into="cleo")
    with GalleryIndex(store.config) as index:
        index.wait_until_synced(5)
        assert index.match(E[5], "lobby")[0].identity_id == "cleo"
    store.remove("lobby", "ada")
    admin.hset(keys.meta, "threshold", "high")
    with pytest.raises(GalleryServerError, match="meta"):
        store.info("lobby")
    admin.hset(keys.meta, mapping={"threshold": "0.5", "schema": "1"})
    with pytest.raises(GalleryServerError, match="schema 1"):
        store.info("lobby")


def test_two_writers_at_once_lose_nothing(store: GalleryStore) -> None:
    """Four threads merge, take back, enrol and note negatives; what is left is what the log says."""
    failures: list[GalleryError] = []

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        with GalleryStore(store.config, who=f"writer-{number}") as mine:
            for turn in range(25):
                one, other = f"w{rng.integers(4)}", f"w{rng.integers(4)}"
                try:
                    mine.enrol("lobby", E[rng.integers(8)], identity_id=one, quality=rng.random())
                    if turn % 3 == 0:
                        merge(mine, "lobby", one, into=other)
                    if turn % 4 == 0:
                        undo(mine, "lobby")
                except GalleryError as error:
                    failures.append(error)

    with GalleryIndex(store.config) as index:
        index.wait_until_synced(5)
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {type(error).__name__ for error in failures} <= {"ChangeError", "UnknownIdentityError"}
        seq = store.info("lobby").seq
        until = time.monotonic() + 1.0
        while index.health().galleries[0].seq < seq:
            assert time.monotonic() < until
            time.sleep(0.005)
        stored = {i.identity_id: len(i.vectors) for i in store.load("lobby")}
        assert index.health().galleries[0].vectors == sum(stored.values())
        assert index.health().galleries[0].identities == len(stored)
    lines = store.client.xrange(GalleryKeys("lobby").log)
    assert [int(fields[b"seq"]) for _, fields in lines] == list(range(1, seq + 1))
    kept = sum(1 for _ in store.client.scan_iter(match="foveal:{lobby}:vector:*"))
    assert kept == sum(stored.values())  # no vector belongs to nobody
    assert all(v.fault is None for i in store.load("lobby") for v in i.vectors)
    while list_changes(store, "lobby"):
        undo(store, "lobby")
    kept = sum(1 for _ in store.client.scan_iter(match="foveal:{lobby}:vector:*"))
    assert kept == sum(len(i.vectors) for i in store.load("lobby"))
