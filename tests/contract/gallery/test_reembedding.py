"""A gallery goes over to another network and back: all at once, from its kept crops, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from gallery.changes import merge, undo
from gallery.config import GalleryConfig
from gallery.crops import keep_crops, new_key, set_crop_policy
from gallery.errors import CropKeyError, EpochMismatchError, NotReembeddableError
from gallery.index import GalleryIndex
from gallery.keys import GalleryKeys
from gallery.proof import prove
from gallery.reembedding import forget_others, look_over, reembed
from gallery.schema import CropPolicy
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
E = np.eye(8, dtype=np.float32)
KEY = new_key()
OLD, NEW = "net-1", "net-1+lobby.1"


def picture(axis: int) -> bytes:
    """Of which the second network makes the axis after the first one's."""
    return cv2.imencode(".png", np.full((4, 2), axis, np.uint8))[1].tobytes()


def by_new(crops: Sequence[bytes]) -> NDArray[np.float32]:
    axes = [int(cv2.imdecode(np.frombuffer(one, np.uint8), 0)[0, 0]) for one in crops]
    return E[[(axis + 1) % 8 for axis in axes]]


def never(crops: Sequence[bytes]) -> NDArray[np.float32]:
    raise AssertionError(f"{len(crops)} crops were embedded that had been before")


@pytest.fixture
def keyed(config: GalleryConfig) -> GalleryConfig:
    return config.model_copy(update={"crop_key": SecretStr(KEY), "max_identities": 50})


@pytest.fixture
def store(keyed: GalleryConfig) -> Iterator[GalleryStore]:
    with GalleryStore(keyed, who="test") as opened:
        yield opened


@pytest.fixture
def kept(store: GalleryStore, lobby: str) -> str:
    """Ada on two axes, Bea on one with a negative; all with crops."""
    set_crop_policy(store, lobby, CropPolicy(retention_s=3600))
    put(store, lobby, "ada", 0)
    put(store, lobby, "ada", 1)
    put(store, lobby, "bea", 2)
    put(store, lobby, "bea", 5, polarity="negative")
    return lobby


def put(store: GalleryStore, gallery: str, who: str, axis: int, *, crop: bool = True, **more: Any) -> None:
    done = store.enrol(gallery, E[axis], identity_id=who, name=who.title(), **more)
    if crop:
        assert keep_crops(store, gallery, who, {done.vector_numbers[0]: picture(axis)}) == 1


def aged(store: GalleryStore, gallery: str, who: str, number: int) -> None:
    """As if enrolled a while ago: no crop is on its way any more."""
    store.client.hset(GalleryKeys(gallery).vector(who, number), "enrolled_at_ms", 1)


def axes(store: GalleryStore, gallery: str) -> dict[str, list[int]]:
    epoch = store.info(gallery).epoch
    found = {one.identity_id: [v for v in one.vectors if v.epoch == epoch] for one in store.load(gallery)}
    return {who: [int(v.embedding.argmax()) for v in some if v.embedding is not None] for who, some in found.items()}


def test_a_gallery_goes_over_whole_and_back_without_crops(store: GalleryStore, kept: str) -> None:
    calls: list[tuple[int, int]] = []
    done = reembed(store, kept, NEW, by_new, reason="adapted", said=lambda *told: calls.append(told))
    assert (done.epoch_before, done.epoch, done.vectors, done.embedded, done.left_out) == (OLD, NEW, 4, 4, 0)
    assert calls[-1] == (4, 4)
    assert store.info(kept).epoch == NEW
    assert axes(store, kept) == {"ada": [1, 2], "bea": [3, 6]}
    assert store.client.hget(GalleryKeys(kept).vector("ada", 0), "epoch").decode() == NEW  # as any client reads it
    assert [v.polarity for v in store.show(kept, "bea").vectors] == ["positive", "negative"]
    with pytest.raises(EpochMismatchError):
        store.enrol(kept, E[7], identity_id="eve", epoch=OLD)
    line = next(line for line in store.audit(kept) if line["op"] == "epoch")
    assert (line["detail"], line["reason"], line["who"]) == (f"{OLD} -> {NEW}", "adapted", "test")
    opened = [line for line in store.audit(kept) if line["op"] == "open crops"]
    assert {(line["identity"], line["detail"]) for line in opened} == {
        ("ada", f"embed by {NEW}"),
        ("bea", f"embed by {NEW}"),
    }

    set_crop_policy(store, kept, None)  # deletes all crops: going back needs none
    back = reembed(store, kept, OLD, never)
    assert (back.embedded, back.vectors) == (0, 4)
    assert axes(store, kept) == {"ada": [0, 1], "bea": [2, 5]}
    assert reembed(store, kept, OLD, never).epoch_before == OLD  # nothing to do
    assert reembed(store, kept, NEW, never).vectors == 4


def test_without_a_crop_nothing_changes_unless_the_operator_says_so(store: GalleryStore, kept: str) -> None:
    put(store, kept, "cid", 4, crop=False)
    put(store, kept, "ada", 3, crop=False)
    aged(store, kept, "cid", 0)
    aged(store, kept, "ada", 2)
    assert look_over(store, kept, NEW) == (4, 2, ("cid",))
    before, seq = axes(store, kept), store.info(kept).seq
    with pytest.raises(
        NotReembeddableError, match=r"2 of its vectors have no kept crop .* stays with net-1"
    ) as refused:
        reembed(store, kept, NEW, never)
    assert (refused.value.without_crops, refused.value.identities) == (2, ("cid",))
    assert (axes(store, kept), store.info(kept).seq) == (before, seq)
    done = reembed(store, kept, NEW, by_new, leave_out=True)
    assert (done.left_out, done.identities_without_vectors) == (2, ("cid",))
    assert axes(store, kept) == {"ada": [1, 2], "bea": [3, 6], "cid": []}
    reembed(store, kept, OLD, never)
    assert axes(store, kept) == {"ada": [0, 1, 3], "bea": [2, 5], "cid": [4]}  # they were not deleted


def test_a_crop_that_comes_a_moment_after_its_vector_is_waited_for(store: GalleryStore, kept: str) -> None:
    put(store, kept, "dan", 6, crop=False)
    late = threading.Timer(0.7, lambda: keep_crops(store, kept, "dan", {0: picture(6)}))
    late.start()
    assert reembed(store, kept, NEW, by_new).vectors == 5
    late.join()
    assert axes(store, kept)["dan"] == [7]


def test_cut_short_it_changes_nothing_and_goes_on(store: GalleryStore, kept: str) -> None:
    calls = 0

    def fails(crops: Sequence[bytes]) -> NDArray[np.float32]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return by_new(crops)

    with pytest.raises(KeyboardInterrupt):
        reembed(store, kept, NEW, fails)
    assert store.info(kept).epoch == OLD
    assert axes(store, kept) == {"ada": [0, 1], "bea": [2, 5]}
    assert reembed(store, kept, NEW, by_new).embedded == 2  # Ada's were kept


def test_what_changes_meanwhile_is_in_the_new_epoch_too(store: GalleryStore, kept: str, keyed: GalleryConfig) -> None:
    busy = iter(range(3))

    def disturbed(crops: Sequence[bytes]) -> NDArray[np.float32]:
        step = next(busy, None)
        if step == 0:
            put(store, kept, "eve", 6)
            store.remove(kept, "ada")
            store.enrol(kept, E[7], identity_id="ada", name="Another Ada")  # the same id and number, another person
            keep_crops(store, kept, "ada", {0: picture(7)})
        return by_new(crops)

    done = reembed(store, kept, NEW, disturbed)
    assert axes(store, kept) == {"ada": [0], "bea": [3, 6], "eve": [7]}
    assert done.vectors == 4


def test_replicas_answer_by_one_network_or_the_other_and_never_by_both(store: GalleryStore, kept: str) -> None:
    seen: set[tuple[bool, bool]] = set()
    stop = threading.Event()
    with GalleryIndex(store.config, galleries=[kept]) as index:
        index.wait_until_synced(10)

        def watch() -> None:
            while not stop.is_set():
                answers = []
                info = index.info(kept)
                for query in (0, 3):  # Ada as the old network sees her; Bea as the new one does
                    best = index.search(E[[query]], kept, top=1)[0][0]
                    answers.append(best.score > 0.9)
                if info is index.info(kept):
                    seen.add((answers[0], answers[1]))

        watching = threading.Thread(target=watch)
        watching.start()
        reembed(store, kept, NEW, by_new)
        ends_s = time.monotonic() + 10
        while index.info(kept).epoch != NEW and time.monotonic() < ends_s:  # type: ignore[union-attr]
            time.sleep(0.01)
        time.sleep(0.1)
        stop.set()
        watching.join()
        with pytest.raises(EpochMismatchError):
            index.match(E[[0]], kept, epoch=OLD)
        [found] = index.match(E[[3]], kept, epoch=NEW)
        assert (found.status, found.identity_id) == ("known", "bea")
        assert index.health().galleries[0].other_epoch == 0
    assert seen == {(True, False), (False, True)}


def test_a_replica_goes_on_by_its_own_network_until_that_is_forgotten(store: GalleryStore, kept: str) -> None:
    with (
        GalleryIndex(store.config, galleries=[kept], epoch=OLD) as before,
        GalleryIndex(store.config, galleries=[kept], epoch=NEW) as after,
    ):
        before.wait_until_synced(10)
        after.wait_until_synced(10)
        with pytest.raises(EpochMismatchError):
            after.match(E[[1]], kept, epoch=NEW)  # started too early
        reembed(store, kept, NEW, by_new)
        put(store, kept, "eve", 6, epoch=NEW)
        in_step(after, store, kept)
        in_step(before, store, kept)
        assert [before.match(E[[0]], kept, epoch=OLD)[0].identity_id for _ in "ab"] == ["ada", "ada"]
        assert before.match(E[[6]], kept, epoch=OLD)[0].status == "unknown"  # Eve came by the new network
        assert after.match(E[[6]], kept, epoch=NEW)[0].identity_id == "eve"
        store.set_threshold(kept, 0.9)
        in_step(after, store, kept)
        in_step(before, store, kept)
        assert (after.info(kept).threshold, before.info(kept).threshold) == (0.9, 0.5)  # type: ignore[union-attr]
        forget_others(store, kept)
        in_step(before, store, kept)
        with pytest.raises(EpochMismatchError):
            before.match(E[[0]], kept, epoch=OLD)


def in_step(index: GalleryIndex, store: GalleryStore, gallery: str) -> None:
    ends_s = time.monotonic() + 10
    while index.health().galleries[0].seq < store.info(gallery).seq and time.monotonic() < ends_s:
        time.sleep(0.02)


def test_the_calibration_is_of_its_network(store: GalleryStore, lobby: str) -> None:
    from gallery.calibration import calibrate_gallery

    generator = np.random.default_rng(0)
    set_crop_policy(store, lobby, CropPolicy(retention_s=3600))
    vectors: dict[int, NDArray[np.float32]] = {}
    for person in range(40):
        centre = generator.normal(size=8)
        for view in range(2):
            row = np.asarray(centre + 0.3 * generator.normal(size=8), np.float32)
            number = store.enrol(lobby, row / np.linalg.norm(row), identity_id=f"p{person}").vector_numbers[0]
            sharper = np.asarray(centre + 0.1 * generator.normal(size=8), np.float32)
            vectors[2 * person + view] = sharper / np.linalg.norm(sharper)
            code = cv2.imencode(".png", np.full((4, 2), 2 * person + view, np.uint8))[1].tobytes()
            keep_crops(store, lobby, f"p{person}", {number: code})
    first = calibrate_gallery(store, lobby, 0.1)

    def embed(crops: Sequence[bytes]) -> NDArray[np.float32]:
        return np.stack([vectors[int(cv2.imdecode(np.frombuffer(one, np.uint8), 0)[0, 0])] for one in crops])

    done = reembed(store, lobby, NEW, embed)
    second = store.info(lobby).calibration
    assert done.calibrated
    assert second is not None
    assert (second.fpir, second.threshold) == (0.1, store.info(lobby).threshold)
    assert second.threshold != first.threshold
    reembed(store, lobby, OLD, never)
    restored = store.info(lobby)
    assert restored.threshold == pytest.approx(first.threshold)
    assert restored.calibration is not None
    assert restored.calibration.weights == first.weights


def test_a_deletion_takes_what_every_network_made_of_a_person(store: GalleryStore, kept: str) -> None:
    reembed(store, kept, NEW, by_new)
    merge(store, kept, "bea", into="ada")
    undo(store, kept)
    assert axes(store, kept) == {"ada": [1, 2], "bea": [3, 6]}
    assert prove(store, store.remove(kept, "ada")).proven
    left = [key.decode() for key in store.client.scan_iter(match=f"foveal:{{{kept}}}:*ada*")]
    assert left == []
    forget_others(store, kept)
    fields = store.client.hkeys(GalleryKeys(kept).vector("bea", 0))
    assert not any(field.startswith(b"embedding:") for field in fields)
    set_crop_policy(store, kept, None)
    for number in (0, 1):
        aged(store, kept, "bea", number)
    with pytest.raises(NotReembeddableError):
        reembed(store, kept, OLD, by_new)


def test_crops_of_another_key_stop_it(store: GalleryStore, kept: str, keyed: GalleryConfig) -> None:
    with (
        GalleryStore(keyed.model_copy(update={"crop_key": SecretStr(new_key())})) as other,
        pytest.raises(CropKeyError, match="got another"),
    ):
        reembed(other, kept, NEW, by_new)
    assert store.info(kept).epoch == OLD
