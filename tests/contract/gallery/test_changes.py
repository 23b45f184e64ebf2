"""Governance in the store: bounded identities, negatives, merge and split with their way back, deletion, expiry."""

import threading
import time

import numpy as np
import pytest

from gallery.changes import keep_apart, list_changes, merge, split, undo
from gallery.config import GalleryConfig
from gallery.errors import ChangeError, GalleryFullError, InvalidEmbeddingError, UnknownIdentityError
from gallery.index import GalleryIndex
from gallery.keys import GalleryKeys
from gallery.proof import prove
from gallery.replicas import list_replicas
from gallery.schema import Sighting
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
E = np.eye(8, dtype=np.float32)


def near(vector: np.ndarray, other: np.ndarray, share: float = 0.1) -> np.ndarray:
    mixed = vector + share * other
    return (mixed / np.linalg.norm(mixed)).astype(np.float32)


def state(store: GalleryStore, gallery: str) -> dict[str, tuple[str | None, set[tuple[int, ...]], list[int]]]:
    """Everything that a change may move: names, vectors by their largest number's place, sightings."""
    return {
        one.identity_id: (
            one.name,
            {tuple(np.round(v.embedding * 1000).astype(int)) for v in one.vectors if v.embedding is not None},
            [s.seen_at_ms for s in store.sightings(gallery, one.identity_id)],
        )
        for one in store.load(gallery)
    }


def sight(store: GalleryStore, gallery: str, identity_id: str, *at_ms: int) -> None:
    batch = [Sighting(event_id=f"f/{n}", identity_id=identity_id, stream_id="door", seen_at_ms=n) for n in at_ms]
    assert store.record_sightings(gallery, batch).recorded == len(at_ms)


def test_a_full_identity_keeps_the_good_and_diverse_vectors(store: GalleryStore, lobby: str) -> None:
    who = store.enrol(lobby, E[:3], quality=[0.9, 0.8, 0.7]).identity_id
    store.enrol(lobby, near(E[0], E[5]), identity_id=who, quality=0.5)  # the full four, one of them nearly a repeat
    better = store.enrol(lobby, E[3], identity_id=who, quality=0.6)
    assert (better.vector_numbers, better.replaced, better.left_out) == ((4,), (3,), 0)
    worse = store.enrol(lobby, near(E[1], E[6], 0.01), identity_id=who, quality=0.1)
    assert (worse.vector_numbers, worse.replaced, worse.left_out) == ((), (), 1)
    shown = store.show(lobby, who)
    assert [(v.number, v.quality) for v in shown.vectors] == [(0, 0.9), (1, 0.8), (2, 0.7), (4, 0.6)]
    store.enrol(lobby, E[4:8], identity_id=who, polarity="negative")  # negatives have a bound of their own
    assert [v.polarity for v in store.show(lobby, who).vectors].count("positive") == 4
    with pytest.raises(InvalidEmbeddingError, match="quality"):
        store.enrol(lobby, E[0], quality=1.5)


def test_many_writers_of_one_full_identity_lose_nothing_but_what_is_worth_least(
    store: GalleryStore, lobby: str
) -> None:
    who = store.enrol(lobby, E[0], quality=0.1).identity_id
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(12, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    done: list[object] = []
    threads = [
        threading.Thread(target=lambda v=v: done.append(store.enrol(lobby, v, identity_id=who, quality=1.0)))
        for v in vectors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 12
    shown = store.show(lobby, who)
    assert len(shown.vectors) == 4
    assert all(v.quality == 1.0 and v.fault is None for v in shown.vectors)
    assert sum(f":{who}:" in k.decode() for k in store.client.scan_iter(match=f"foveal:{{{lobby}}}:vector:*")) == 4


def test_a_merge_moves_everything_and_is_undone(store: GalleryStore, lobby: str) -> None:
    store.enrol(lobby, E[:2], identity_id="ada", name="Ada")
    store.enrol(lobby, E[7], identity_id="ada", polarity="negative")
    store.enrol(lobby, E[2], identity_id="other")
    sight(store, lobby, "ada", 10, 30)
    time.sleep(0.002)  # they stand in the order of their arrival, in ms
    sight(store, lobby, "other", 20)
    before = state(store, lobby)
    change = merge(store, lobby, "ada", into="other", reason="the same coat")
    assert (change.op, change.identity_id, change.into, change.who) == ("merge", "ada", "other", "test")
    (one,) = store.load(lobby)
    assert (one.identity_id, one.name, len(one.vectors)) == ("other", "Ada", 4)
    assert [s.seen_at_ms for s in store.sightings(lobby, "other")] == [20, 30, 10]
    assert store.show(lobby, "other").last_seen_at_ms == 30
    with pytest.raises(UnknownIdentityError, match="merged into 'other'"):
        store.show(lobby, "ada")
    sight(store, lobby, "ada", 40)  # of a replica that has not heard yet
    assert store.enrol(lobby, E[5], identity_id="ada").identity_id == "other"
    undone = undo(store, lobby, reason="two coats")
    assert undone.number == change.number
    after = state(store, lobby)
    assert after["ada"] == before["ada"]
    assert after["other"][1] == before["other"][1] | {tuple((E[5] * 1000).astype(int))}
    assert after["other"][2] == [40, 20]
    assert [v.number for v in store.show(lobby, "ada").vectors] == [0, 1, 2]
    assert store.enrol(lobby, E[3], identity_id="ada").vector_numbers == (3,)
    trail = [(line["op"], line["reason"]) for line in store.audit(lobby)]
    assert trail[1:4] == [("undo", "two coats"), ("enrol", ""), ("merge", "the same coat")]
    with pytest.raises(ChangeError, match="one that can be undone"):
        undo(store, lobby, change.number)


def test_a_split_makes_two_and_is_undone(store: GalleryStore, lobby: str) -> None:
    store.enrol(lobby, E[:3], identity_id="ada", name="Ada")
    sight(store, lobby, "ada", 10)
    before = state(store, lobby)
    change = split(store, lobby, "ada", [1], new_id="bea", name="Bea", reason="two people")
    after = state(store, lobby)
    assert [len(after[i][1]) for i in ("ada", "bea")] == [2, 1]
    assert after["bea"][0] == "Bea"
    for numbers, new in (([0, 2], "x"), ([], "x"), ([1], "x"), ([0], "bea")):
        with pytest.raises(ChangeError):
            split(store, lobby, "ada", numbers, new_id=new)
    assert [c.number for c in list_changes(store, lobby)] == [change.number]
    undo(store, lobby, change.number)
    assert state(store, lobby) == before


def test_changes_of_the_same_people_are_undone_newest_first(store: GalleryStore, lobby: str) -> None:
    for n, name in enumerate(("a", "b", "c", "d")):
        store.enrol(lobby, E[n], identity_id=name)
        sight(store, lobby, name, 10 + n)
    before = state(store, lobby)
    first = merge(store, lobby, "a", into="b")
    second = merge(store, lobby, "b", into="c")
    assert store.enrol(lobby, E[4], identity_id="a").identity_id == "c"
    undo_of_d = keep_apart(store, lobby, "c", "d")
    assert undo_of_d is not None
    with pytest.raises(ChangeError, match=f"{second.number} \\(merge\\) came later"):
        undo(store, lobby, first.number)
    undo(store, lobby, second.number)
    undo(store, lobby, first.number)
    after = state(store, lobby)
    assert {i: after[i] for i in "abd"} == {i: before[i] for i in "abd"}


def test_two_people_are_never_merged_until_the_note_is_undone(store: GalleryStore, lobby: str) -> None:
    for n, name in enumerate(("ada", "bea", "cleo")):
        store.enrol(lobby, E[n], identity_id=name)
    noted = keep_apart(store, lobby, "bea", "ada")
    assert noted is not None
    assert keep_apart(store, lobby, "ada", "bea") is None
    with pytest.raises(ChangeError, match="two people"):
        merge(store, lobby, "ada", into="bea")
    merged = merge(store, lobby, "bea", into="cleo")
    with pytest.raises(ChangeError, match="two people"):
        merge(store, lobby, "ada", into="cleo")  # she is bea too now
    undo(store, lobby, merged.number)
    undo(store, lobby, noted.number)
    merge(store, lobby, "ada", into="bea")
    for wrong in (lambda: merge(store, lobby, "bea", into="bea"), lambda: keep_apart(store, lobby, "bea", "bea")):
        with pytest.raises(ChangeError):
            wrong()
    with pytest.raises(UnknownIdentityError):
        merge(store, lobby, "nobody", into="bea")


def test_a_merge_has_a_bound_and_the_next_enrolment_keeps_the_best(
    store: GalleryStore, lobby: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.enrol(lobby, E[:3], identity_id="ada")
    store.enrol(lobby, E[3:6], identity_id="bea", quality=0.5)
    monkeypatch.setattr("gallery.changes.MOST_VECTORS", 5)
    with pytest.raises(GalleryFullError, match="more than 5 vectors"):
        merge(store, lobby, "ada", into="bea")
    monkeypatch.setattr("gallery.changes.MOST_VECTORS", 6)
    merge(store, lobby, "ada", into="bea")
    assert store.show(lobby, "bea").vector_count == 6
    assert len(store.enrol(lobby, E[6], identity_id="bea").replaced) == 3
    assert store.show(lobby, "bea").vector_count == 4


def test_a_negative_is_undone(store: GalleryStore, lobby: str) -> None:
    store.enrol(lobby, E[0], identity_id="ada")
    store.enrol(lobby, E[1], identity_id="ada", polarity="negative", reason="not her")
    (change,) = list_changes(store, lobby)
    assert (change.op, change.identity_id, change.reason) == ("negative", "ada", "not her")
    undo(store, lobby)
    assert [v.number for v in store.show(lobby, "ada").vectors] == [0]


def test_only_the_newest_changes_are_kept(config: GalleryConfig, lobby: str) -> None:
    with GalleryStore(config.model_copy(update={"undo_maxlen": 2})) as store:
        store.enrol(lobby, E[0], identity_id="ada")
        for n in (1, 2, 3):
            store.enrol(lobby, E[n], identity_id="ada", polarity="negative")
        assert [c.number for c in list_changes(store, lobby)] == [3, 2]
        assert not store.client.exists(GalleryKeys(lobby).change(1))


def test_a_deletion_takes_what_could_bring_it_back_and_proves_it(
    config: GalleryConfig, store: GalleryStore, lobby: str
) -> None:
    for n, name in enumerate(("ada", "bea", "cleo")):
        store.enrol(lobby, E[n], identity_id=name, name=name.title())
    keep_apart(store, lobby, "bea", "cleo")
    sight(store, lobby, "ada", 1, 2)
    merge(store, lobby, "ada", into="bea")
    with GalleryIndex(config, galleries=[lobby]) as one, GalleryIndex(config, galleries=[lobby]) as two:
        for index in (one, two):
            index.wait_until_synced(5)
        until = time.monotonic() + 5
        while len(list_replicas(store, lobby)) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        receipt = prove(store, store.remove(lobby, "bea", reason="asked to be forgotten"))
        assert receipt.proven
        assert (receipt.removed.vectors, receipt.removed.sightings, receipt.removed.changes) == (2, 2, 2)
        assert len(receipt.replicas) == 2
        assert receipt.waited_s < 1
        for index in (one, two):
            assert index.match(E[:2], lobby)[0].status == "unknown"
    left = [k.decode() for k in store.client.scan_iter(match=f"foveal:{{{lobby}}}:*")]
    assert not [k for k in left if "ada" in k or "bea" in k]
    assert store.client.hgetall(GalleryKeys(lobby).aliases) == {}
    assert store.client.smembers(GalleryKeys(lobby).apart) == set()
    assert store.audit(lobby)[0]["reason"] == "asked to be forgotten"
    store.client.set(GalleryKeys(lobby).identity("bea") + ":notes", "left by some other client")
    (key,) = prove(store, receipt.removed).keys_left
    assert key.endswith(":identity:bea:notes")


def test_who_was_not_seen_for_long_expires(store: GalleryStore, lobby: str) -> None:
    for n, name in enumerate(("old", "seen", "new")):
        store.enrol(lobby, E[n], identity_id=name)
    assert store.expire(lobby) == []
    store.set_expiry(lobby, 3600)
    assert store.info(lobby).expire_after_s == 3600
    two_hours_ago = round(1000 * (store.server_time_s() - 7200))
    keys = GalleryKeys(lobby)
    for name in ("old", "seen"):
        store.client.zadd(keys.identities, {name: two_hours_ago})
        store.client.hset(keys.identity(name), "updated_at_ms", two_hours_ago)
    sight(store, lobby, "seen", two_hours_ago + 7_000_000)
    assert store.expire(lobby) == ["old"]
    assert [i.identity_id for i in store.list_identities(lobby)] == ["seen", "new"]
    assert (store.audit(lobby)[0]["op"], store.audit(lobby)[0]["identity"]) == ("expire", "old")
    store.set_expiry(lobby, None)
    assert store.info(lobby).expire_after_s is None
