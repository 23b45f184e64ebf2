"""Provisional identities and kept crops on a server alone and on a cluster, where all keys of a write share a slot."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import SecretStr

from gallery.changes import merge, undo
from gallery.config import GalleryConfig
from gallery.crops import keep_crops, list_crops, new_key, read_crop, set_crop_policy
from gallery.errors import UnknownCropError, UnknownGalleryError, UnknownIdentityError
from gallery.index import GalleryIndex
from gallery.proof import prove
from gallery.provisional import add_provisional, add_view, join, name_identity, provisional_ids, set_policy
from gallery.schema import CropPolicy, ProvisionalPolicy
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
E = np.eye(8, dtype=np.float32)
POLICY = ProvisionalPolicy(at_most=2)


def test_unknown_people_are_remembered_merged_and_named(config: GalleryConfig, store: GalleryStore, lobby: str) -> None:
    set_policy(store, lobby, POLICY)
    assert store.info(lobby).provisional == POLICY
    views = np.repeat(E[:1], 3, axis=0)
    one, other = (add_provisional(store, lobby, views, [0.5] * 3, POLICY, epoch="net-1").identity_id for _ in range(2))
    assert add_view(store, lobby, other, E[0], 0.5, epoch="net-1") == 3
    with GalleryIndex(config, galleries=[lobby]) as index:
        index.wait_until_synced(10)
        change = join(store, index, lobby, other)
    assert change is not None
    assert (change.identity_id, change.into) == (other, one)
    assert add_view(store, lobby, other, E[0], 0.5, epoch="net-1") is None  # it lives on in the other
    undo(store, lobby)
    assert set(provisional_ids(store, lobby)) == {one, other}
    third = add_provisional(store, lobby, E[1:2], [0.5], POLICY, epoch="net-1").identity_id
    assert len(provisional_ids(store, lobby)) == 2
    assert name_identity(store, lobby, third, "Ada") == third
    assert store.show(lobby, third).name == "Ada"
    [left] = provisional_ids(store, lobby)
    store.enrol(lobby, E[2], identity_id=left, name="Bea")  # enrolment under a name does the same
    assert provisional_ids(store, lobby) == []
    with pytest.raises(UnknownIdentityError):
        name_identity(store, lobby, "nobody", "Bob")
    with pytest.raises(UnknownGalleryError):
        set_policy(store, "absent", POLICY)


def test_crops_are_kept_moved_and_deleted(config: GalleryConfig, lobby: str) -> None:
    with GalleryStore(config.model_copy(update={"crop_key": SecretStr(new_key())}), who="test") as store:
        set_crop_policy(store, lobby, CropPolicy(retention_s=60))
        for who, row in (("ada", 0), ("bob", 1)):
            store.enrol(lobby, E[row], identity_id=who)
            assert keep_crops(store, lobby, who, {0: who.encode()}) == 1
        merge(store, lobby, "bob", into="ada")
        assert [read_crop(store, lobby, "ada", number) for number in (0, 1)] == [b"ada", b"bob"]
        assert set_crop_policy(store, lobby, CropPolicy(retention_s=30)) == 0
        assert sorted(list_crops(store, lobby, "ada")) == [0, 1]
        removed = store.remove(lobby, "ada")
        assert removed.crops == 2
        assert prove(store, removed).proven
        store.enrol(lobby, E[2], identity_id="eve")
        keep_crops(store, lobby, "eve", {0: b"eve"})
        assert set_crop_policy(store, lobby, None) == 1
        with pytest.raises(UnknownCropError):
            read_crop(store, lobby, "eve", 0)
        with pytest.raises(UnknownGalleryError):
            keep_crops(store, "absent", "eve", {0: b"eve"})
