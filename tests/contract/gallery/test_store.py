"""What the store promises, on Valkey alone and on a Valkey Cluster, where every key of a write must be in one slot."""

import os
import threading
from typing import Any

import numpy as np
import pytest

from gallery import scripts
from gallery.config import GalleryConfig
from gallery.errors import (
    DimensionMismatchError,
    EpochMismatchError,
    GalleryConfigError,
    GalleryExistsError,
    GalleryFullError,
    InvalidEmbeddingError,
    InvalidNameError,
    UnknownGalleryError,
    UnknownIdentityError,
)
from gallery.keys import GalleryKeys
from gallery.schema import Sighting
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
DIMENSION = 8
E = np.eye(DIMENSION, dtype=np.float32)


def keys_of(store: GalleryStore, gallery: str) -> set[str]:
    return {k.decode() for k in store.client.scan_iter(match=f"foveal:{{{gallery}}}:*")}


def test_a_gallery_is_listed_with_what_it_was_made_with(store: GalleryStore, lobby: str) -> None:
    info = next(g for g in store.list_galleries() if g.name == lobby)
    assert (info.dimension, info.epoch, info.threshold, info.identities) == (DIMENSION, "net-1", 0.5, 0)
    assert store.create(lobby, dimension=DIMENSION, epoch="net-1", exist_ok=True) == info
    with pytest.raises(GalleryExistsError, match="epoch 'net-1'"):
        store.create(lobby, dimension=DIMENSION, epoch="net-2", exist_ok=True)
    with pytest.raises(GalleryExistsError):
        store.create(lobby, dimension=DIMENSION, epoch="net-1")


def test_enrolment_adds_vectors_to_a_new_or_known_identity(store: GalleryStore, lobby: str) -> None:
    first = store.enrol(lobby, E[:2], name="Ada")
    again = store.enrol(lobby, E[2], identity_id=first.identity_id, polarity="negative")
    assert (first.vector_numbers, again.vector_numbers) == ((0, 1), (2,))
    shown = store.show(lobby, first.identity_id)
    assert (shown.name, [v.polarity for v in shown.vectors]) == ("Ada", ["positive", "positive", "negative"])
    assert all(v.fault is None and v.epoch == "net-1" for v in shown.vectors)
    (listed,) = store.list_identities(lobby)
    assert (listed.identity_id, listed.name, listed.vector_count) == (first.identity_id, "Ada", 3)
    (loaded,) = store.load(lobby)
    np.testing.assert_array_equal(np.stack([v.embedding for v in loaded.vectors if v.embedding is not None]), E[:3])


def test_an_event_is_applied_once_even_from_many_threads(store: GalleryStore, lobby: str) -> None:
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(store.enrol(lobby, E[0], event_id="frames/0/7")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({r.identity_id for r in results}) == 1
    assert sum(not r.replayed for r in results) == 1
    assert [i.vector_count for i in store.list_identities(lobby)] == [1]


def test_an_event_of_a_removed_identity_does_not_bring_it_back(store: GalleryStore, lobby: str) -> None:
    done = store.enrol(lobby, E[0], event_id="frames/0/8")
    store.remove(lobby, done.identity_id)
    assert store.enrol(lobby, E[0], event_id="frames/0/8").replayed
    assert store.list_identities(lobby) == []


def test_what_does_not_fit_the_gallery_is_refused_and_leaves_nothing(store: GalleryStore, lobby: str) -> None:
    before = store.info(lobby)
    with pytest.raises(DimensionMismatchError, match="expected 8"):
        store.enrol(lobby, np.ones(4) / 2)
    with pytest.raises(EpochMismatchError, match="'net-2'"):
        store.enrol(lobby, E[0], epoch="net-2")
    with pytest.raises(InvalidEmbeddingError):
        store.enrol(lobby, E[0] * np.nan)
    with pytest.raises(InvalidEmbeddingError):
        store.enrol(lobby, E[0] * 1.1)
    with pytest.raises(InvalidNameError):
        store.enrol(lobby, E[0], identity_id="a:b")
    with pytest.raises(GalleryConfigError, match="threshold"):
        store.set_threshold(lobby, 1.5)
    assert store.info(lobby) == before


def test_a_gallery_and_an_identity_are_bounded(store: GalleryStore, lobby: str) -> None:
    ids = [store.enrol(lobby, E[i]).identity_id for i in range(5)]
    with pytest.raises(GalleryFullError, match=r"gallery\.max_identities.*bound of 5"):
        store.enrol(lobby, E[6])
    store.enrol(lobby, E[6], identity_id=ids[0])
    store.remove(lobby, ids[1])
    store.enrol(lobby, E[6])


def test_removal_leaves_no_key_of_the_identity_and_an_audit_line(store: GalleryStore, lobby: str) -> None:
    done = store.enrol(lobby, E[:3], name="Ada Lovelace")
    store.record_sightings(lobby, [sighting(done.identity_id, 1)])
    assert any(done.identity_id in key for key in keys_of(store, lobby))
    store.remove(lobby, done.identity_id)
    assert not any(done.identity_id in key for key in keys_of(store, lobby))
    trail = store.audit(lobby)
    assert [(line["op"], line["who"]) for line in trail] == [("remove", "test"), ("enrol", "test"), ("create", "test")]
    assert trail[0]["identity"] == done.identity_id
    assert "Ada" not in str(trail)
    with pytest.raises(UnknownIdentityError, match=r"foveal gallery show"):
        store.remove(lobby, done.identity_id)


def test_a_removed_gallery_is_gone_and_its_name_is_free(store: GalleryStore, lobby: str) -> None:
    done = store.enrol(lobby, E[:2])
    store.record_sightings(lobby, [sighting(done.identity_id, 1)])
    generation = store.info(lobby).generation
    store.remove_gallery(lobby)
    assert keys_of(store, lobby) == {GalleryKeys(lobby).log, GalleryKeys(lobby).audit}
    assert lobby not in [g.name for g in store.list_galleries()]
    for call in (store.info, store.list_identities, store.remove_gallery):
        with pytest.raises(UnknownGalleryError, match=r"foveal gallery list"):
            call(lobby)
    assert store.create(lobby, dimension=4, epoch="net-2").generation != generation
    assert store.client.ttl(GalleryKeys(lobby).log) == -1


def test_a_removal_that_was_cut_short_is_finished_by_the_next_create(store: GalleryStore, lobby: str) -> None:
    done = store.enrol(lobby, E[:2])
    store.run(scripts.DROP, GalleryKeys(lobby), "", 60, 60)
    assert any(done.identity_id in key for key in keys_of(store, lobby))
    assert store.create(lobby, dimension=DIMENSION, epoch="net-1").identities == 0
    assert not any(done.identity_id in key for key in keys_of(store, lobby))


def test_sightings_are_recorded_once_and_capped(store: GalleryStore, lobby: str) -> None:
    done = store.enrol(lobby, E[0])
    batch = [sighting(done.identity_id, n) for n in range(1, 4)]
    assert store.record_sightings(lobby, batch).recorded == 3
    second = store.record_sightings(lobby, [*batch, sighting("nobody", 9)])
    assert (second.recorded, second.duplicates, second.unknown) == (0, 3, 1)
    assert [s.seen_at_ms for s in store.sightings(lobby, done.identity_id, limit=2)] == [3, 2]
    assert store.sightings(lobby, done.identity_id)[2] == batch[0]
    assert store.show(lobby, done.identity_id).last_seen_at_ms == 3
    with pytest.raises(UnknownIdentityError):
        store.sightings(lobby, "nobody")


def test_the_change_log_is_numbered_without_gaps_and_holds_no_name(store: GalleryStore, lobby: str) -> None:
    done = store.enrol(lobby, E[0], name="Ada")
    store.set_threshold(lobby, 0.7)
    store.remove(lobby, done.identity_id)
    lines = [fields for _, fields in store.client.xrange(GalleryKeys(lobby).log)]
    assert [int(line[b"seq"]) for line in lines] == [1, 2, 3, 4]
    assert [line[b"op"] for line in lines] == [b"create", b"enrol", b"threshold", b"remove"]
    assert b"Ada" not in b"".join(b"".join(line.values()) for line in lines)
    assert store.info(lobby).threshold == 0.7


def test_events_and_log_are_bounded(config: GalleryConfig, lobby: str) -> None:
    small = config.model_copy(update={"events_maxlen": 3, "log_maxlen": 2})
    with GalleryStore(small) as store:
        who = store.enrol(lobby, E[0], event_id="e0").identity_id
        for n in range(1, 4):
            store.remove(lobby, who)
            who = store.enrol(lobby, E[0], event_id=f"e{n}").identity_id
        keys = GalleryKeys(lobby)
        assert set(store.client.hkeys(keys.enrolments)) == {b"e1", b"e2", b"e3"}
        assert store.client.xlen(keys.log) == 2
        store.record_sightings(lobby, [sighting(who, n) for n in range(10)])
        assert store.client.zcard(keys.sighted) == 3


def test_a_damaged_vector_is_named_and_goes_with_its_identity(store: GalleryStore, lobby: str) -> None:
    done = store.enrol(lobby, E[:3])
    keys = GalleryKeys(lobby)
    store.client.hset(keys.vector(done.identity_id, 0), "embedding", os.urandom(7))
    store.client.delete(keys.vector(done.identity_id, 1))
    store.client.set(keys.vector(done.identity_id, 1), "not a hash")
    faults = [v.fault for v in store.show(lobby, done.identity_id).vectors]
    assert faults[0] is not None
    assert keys.vector(done.identity_id, 0) in faults[0]
    assert faults[1] is not None
    assert faults[2] is None
    store.remove(lobby, done.identity_id)
    assert not any(done.identity_id in key for key in keys_of(store, lobby))


def sighting(identity_id: str, at_ms: int) -> Sighting:
    return Sighting(
        event_id=f"foveal.frames/0/{at_ms}#0",
        identity_id=identity_id,
        stream_id="door",
        seen_at_ms=at_ms,
        score=0.9,
        box_xyxy=(1, 2, 3, 4),
    )
