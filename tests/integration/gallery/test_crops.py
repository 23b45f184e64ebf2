"""Kept crops: only when asked for, encrypted, for a time, gone with their vector and identity; on a real Valkey."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import pytest
import redis
from pydantic import SecretStr
from typer.testing import CliRunner

from actors.crops import encode_crop
from actors.unknown import UnknownPeople
from foveal.cli import app
from foveal.gallery import Gallery
from foveal.settings import load_settings
from gallery.changes import merge, split, undo
from gallery.config import GalleryConfig
from gallery.crops import keep_crops, list_crops, new_key, open_keys, read_crop, set_crop_policy
from gallery.errors import CropKeyError, UnknownCropError, UnknownIdentityError
from gallery.index import GalleryIndex
from gallery.proof import prove
from gallery.provisional import provisional_ids, set_policy
from gallery.schema import CropPolicy, ProvisionalPolicy, Sighting
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
DIMENSION, EPOCH = 8, "net-1"
HOUR = CropPolicy(retention_s=3600)
PICTURE = np.random.default_rng(0).integers(0, 255, (16, 8, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
JPEG = cv2.imencode(".jpg", PICTURE)[1].tobytes()
EYE = np.eye(DIMENSION, dtype=np.float32)


def store_with(url: str, key: str | None, **more: Any) -> GalleryStore:
    secret = None if key is None else SecretStr(key)
    return GalleryStore(GalleryConfig(url=url, crop_key=secret, vectors_per_identity=3, **more), who="test")


@pytest.fixture(scope="module")
def key() -> str:
    return new_key()


@pytest.fixture
def store(valkey: str, key: str) -> Iterator[GalleryStore]:
    with store_with(valkey, key) as opened:
        yield opened


@pytest.fixture
def lobby(store: GalleryStore) -> Iterator[str]:
    name = f"lobby-{uuid4().hex}"
    store.create(name, dimension=DIMENSION, epoch=EPOCH)
    yield name
    store.remove_gallery(name)


def enrolled(store: GalleryStore, lobby: str, who: str, rows: Any, *, crops: bool = True) -> tuple[int, ...]:
    numbers = store.enrol(lobby, rows, identity_id=who, quality=0.1).vector_numbers
    if crops:
        assert keep_crops(store, lobby, who, dict.fromkeys(numbers, JPEG)) == len(numbers)
    return numbers


def keys_of(store: GalleryStore, lobby: str) -> set[str]:
    return {key.decode().split("}:")[1] for key in store.client.scan_iter(match=f"foveal:{{{lobby}}}:crop:*")}


def test_nothing_is_kept_until_it_is_asked_for(store: GalleryStore, lobby: str) -> None:
    store.enrol(lobby, EYE[0], identity_id="ada")
    assert keep_crops(store, lobby, "ada", {0: JPEG}) == 0
    set_crop_policy(store, lobby, HOUR)
    assert keep_crops(store, lobby, "ada", {0: JPEG}) == 1
    assert set_crop_policy(store, lobby, None) == 1
    assert keys_of(store, lobby) == set()
    assert keep_crops(store, lobby, "ada", {0: JPEG}) == 0


def test_only_the_key_opens_a_crop_and_redis_has_neither(
    store: GalleryStore, lobby: str, valkey: str, key: str
) -> None:
    set_crop_policy(store, lobby, HOUR)
    enrolled(store, lobby, "ada", EYE[0])
    assert read_crop(store, lobby, "ada", 0, reason="is that Ada?") == JPEG
    with redis.Redis.from_url(valkey) as client:
        stored = client.get(f"foveal:{{{lobby}}}:crop:ada:0")
        assert JPEG[:64] not in stored
        assert not any(key.encode() in (client.dump(name) or b"") for name in client.scan_iter())
    line = next(line for line in store.audit(lobby) if line["op"] == "show crop")
    assert (line["identity"], line["vectors"], line["who"], line["reason"]) == ("ada", "0", "test", "is that Ada?")
    with store_with(valkey, new_key()) as other, pytest.raises(CropKeyError, match="got another"):
        read_crop(other, lobby, "ada", 0)
    with store_with(valkey, None) as keyless:
        with pytest.raises(CropKeyError, match="expected a key, got none"):
            read_crop(keyless, lobby, "ada", 0)
        with pytest.raises(CropKeyError, match="FOVEAL_GALLERY__CROP_KEY"):
            set_crop_policy(keyless, lobby, HOUR)
        with pytest.raises(CropKeyError):
            keep_crops(keyless, lobby, "ada", {0: JPEG})


def test_keys_are_changed_without_losing_crops(
    store: GalleryStore, lobby: str, valkey: str, key: str, tmp_path: Path
) -> None:
    set_crop_policy(store, lobby, HOUR)
    enrolled(store, lobby, "ada", EYE[0])
    file, newer = tmp_path / "crop.keys", new_key()
    file.write_text(f"{newer}\n{key}\n")
    with store_with(valkey, None, crop_key_file=file) as both:
        assert read_crop(both, lobby, "ada", 0) == JPEG
        enrolled(both, lobby, "bob", EYE[1])
    with store_with(valkey, newer) as after:
        assert read_crop(after, lobby, "bob", 0) == JPEG
    for bad, said in (("no key", "32 bytes in base64"), (None, "readable file")):
        if bad is None:
            file.unlink()
        else:
            file.write_text(bad)
        with pytest.raises(CropKeyError, match=said):
            open_keys(GalleryConfig(crop_key_file=file))


def test_a_crops_time_ends(store: GalleryStore, lobby: str) -> None:
    set_crop_policy(store, lobby, HOUR)
    enrolled(store, lobby, "ada", EYE[0])
    set_crop_policy(store, lobby, CropPolicy(retention_s=1))  # holds for what is kept already
    enrolled(store, lobby, "bob", EYE[1])
    now_ms = store.server_time_s() * 1000
    assert all(0 < list_crops(store, lobby, who)[0] - now_ms <= 1000 for who in ("ada", "bob"))
    time.sleep(1.1)
    assert list_crops(store, lobby, "ada") == {}
    for who in ("ada", "bob"):
        with pytest.raises(UnknownCropError, match="time is over"):
            read_crop(store, lobby, who, 0)
    with pytest.raises(UnknownIdentityError):
        read_crop(store, lobby, "nobody", 0)


def test_crops_go_where_their_vectors_go(store: GalleryStore, lobby: str) -> None:
    set_crop_policy(store, lobby, HOUR)
    enrolled(store, lobby, "ada", EYE[:2])
    enrolled(store, lobby, "bob", EYE[2])
    merge(store, lobby, "bob", into="ada")
    assert keys_of(store, lobby) == {"crop:ada:0", "crop:ada:1", "crop:ada:2"}
    undo(store, lobby)
    assert keys_of(store, lobby) == {"crop:ada:0", "crop:ada:1", "crop:bob:0"}
    split(store, lobby, "ada", [1], new_id="eve")
    assert keys_of(store, lobby) == {"crop:ada:0", "crop:eve:0", "crop:bob:0"}
    undo(store, lobby)
    assert len(keys_of(store, lobby)) == 3
    done = store.enrol(lobby, EYE[4:7], identity_id="ada", quality=0.9)  # full at three: the worst make room
    assert done.replaced
    assert keys_of(store, lobby) == {"crop:bob:0"}


def test_a_deletion_counts_them_and_proves_that_they_are_gone(store: GalleryStore, lobby: str) -> None:
    set_crop_policy(store, lobby, HOUR)
    enrolled(store, lobby, "ada", EYE[:2])
    removed = store.remove(lobby, "ada")
    receipt = prove(store, removed)
    assert (removed.vectors, removed.crops) == (2, 2)
    assert receipt.proven
    assert keys_of(store, lobby) == set()
    assert keep_crops(store, lobby, "ada", {0: JPEG}) == 0  # one that comes late finds no vector
    store.client.set(f"foveal:{{{lobby}}}:crop:ada:7", b"left behind")
    assert prove(store, removed).keys_left == (f"foveal:{{{lobby}}}:crop:ada:7",)


def test_pictures_that_are_enrolled_are_kept_by_python_and_shown_by_the_command(
    valkey: str, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)
    name = f"lobby-{uuid4().hex}"

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["gallery", *words])

    with Gallery(name, config=load_settings(None)) as keyless:
        keyless.create()
        assert isinstance(run("crops", name, "--days", "2").exception, CropKeyError)
        monkeypatch.setenv("FOVEAL_GALLERY__CROP_KEY", key)
        assert json.loads(run("crops", name, "--days", "2", "--json").output) == {"retention_s": 172_800, "deleted": 0}
        with pytest.raises(CropKeyError):
            keyless.enrol("Ada", image_bgr=PICTURE, whole=True)
        assert keyless.identities() == []  # nothing was half done
    with Gallery(name, config=load_settings(None)) as opened:
        who = opened.enrol("Ada", image_bgr=PICTURE, whole=True).identity_id
        told = json.loads(run("crop", name, who, "--out", str(tmp_path), "--json").output)
        assert [one["number"] for one in told["crops"]] == [0]
        [path] = map(Path, told["written"])
        assert path.stat().st_mode & 0o077 == 0
        assert np.abs(cv2.imread(str(path)).astype(int) - PICTURE).mean() < 5
        assert "kept until" in run("crop", name, who).output
        assert isinstance(run("crop", name, who, "5", "--out", str(tmp_path)).exception, UnknownCropError)
        receipt = json.loads(run("remove", name, who, "--json").output)
        assert (receipt["removed"]["crops"], receipt["proven"]) == (1, True)
        opened.drop()
    assert len(run("crop-key").output.strip()) == 44


@pytest.mark.parametrize("may_keep", [True, False])
def test_unknown_people_are_kept_where_their_stream_hides_no_faces(
    store: GalleryStore, lobby: str, may_keep: bool
) -> None:
    set_policy(store, lobby, ProvisionalPolicy())
    set_crop_policy(store, lobby, HOUR)
    with GalleryIndex(store.config, galleries=[lobby]) as index:
        index.wait_until_synced(10)
        people = UnknownPeople(store, index, epoch=EPOCH)
        people.start()
        for i in range(4):
            seen = Sighting(event_id=uuid4().hex, identity_id="", stream_id="door", seen_at_ms=300 * i, track_id=1)
            box = seen.model_copy(update={"box_xyxy": (8.0, 8.0, 120.0, 250.0)})
            people.add(lobby, EYE[0], box, PICTURE, 1, may_keep_crop=may_keep)
        ends = time.monotonic() + 10
        while not people.remembered and time.monotonic() < ends:
            time.sleep(0.02)
        people.close()
    [one] = provisional_ids(store, lobby)
    assert len(list_crops(store, lobby, one)) == (3 if may_keep else 0)
    if may_keep:
        shown = cv2.imdecode(np.frombuffer(read_crop(store, lobby, one, 0), np.uint8), cv2.IMREAD_COLOR)
        assert abs(shown.shape[0] - 242) <= 1


def test_crops_are_bounded_and_cut_to_the_picture() -> None:
    tall = np.zeros((3000, 900, 3), np.uint8)
    packed = encode_crop(tall, (-50, -50, 5000, 5000))
    assert packed is not None
    assert cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_COLOR).shape == (512, 154, 3)
    assert encode_crop(tall, (1000, 0, 1100, 50)) is None
