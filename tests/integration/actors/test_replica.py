"""A replica that is given another rank goes on with what it had, on the real broker and a real Valkey.

Serve's part, which tells a replica its rank, is taken by the test; the networks are a few lines of NumPy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pytest

from actors.config import AppConfig, PerceptionConfig, StreamRule
from actors.perception import PerceptionNetworks
from gallery.config import GalleryConfig
from gallery.provisional import provisional_ids, set_policy
from gallery.schema import ProvisionalPolicy
from gallery.store import GalleryStore
from models.detection import Detections
from streams.codec import encode_image
from streams.headers import FrameCodec

if TYPE_CHECKING:
    from actors.deployments import PerceptionActor

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),  # Ray's own fields
]
EPOCH = "net-1"
ADA = np.eye(8, dtype=np.float32)[0]
SHARP = np.random.default_rng(0).integers(0, 255, (160, 120, 3), np.uint8)


class Ada:
    """She stands in the middle of every picture."""

    long_side = 160

    def detect(self, images: Sequence[Any], sizes: Sequence[Any]) -> list[Detections]:
        box, points = np.array([[20, 10, 90, 150]], np.float32), np.full((1, 5, 2), np.nan, np.float32)
        return [Detections(box, np.full(1, 0.9, np.float32), np.zeros(1, np.int64), points) for _ in images]

    def embed(self, images: Sequence[Any], boxes: Sequence[Any]) -> np.ndarray:
        return np.stack([ADA] * sum(map(len, boxes)))


@pytest.fixture
def lobby(valkey: str) -> Iterator[tuple[GalleryStore, str]]:
    name = f"lobby-{uuid4().hex}"
    with GalleryStore(GalleryConfig(url=valkey)) as store:
        store.create(name, dimension=8, epoch=EPOCH, threshold=0.6)
        set_policy(store, name, ProvisionalPolicy())
        yield store, name
        store.remove_gallery(name)


@pytest.fixture
def actor(world: Any, lobby: tuple[GalleryStore, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[PerceptionActor]:
    from actors.deployments import PerceptionActor

    store, gallery = lobby
    networks = PerceptionNetworks(Ada(), Ada(), SimpleNamespace(), EPOCH)  # type: ignore[arg-type]
    monkeypatch.setattr("actors.networks.load_perception", lambda config: networks)
    rank = SimpleNamespace(rank=SimpleNamespace(rank=1))
    monkeypatch.setattr("actors.replica.serve.get_replica_context", lambda: rank)
    rule = StreamRule(compute=("people", "identities"), gallery=gallery, freshness="all")
    perception = PerceptionConfig(group=f"perception-{uuid4().hex}", streams=(rule,))
    replica = PerceptionActor(AppConfig(streams=world.config, gallery=store.config, perception=perception))
    yield replica
    replica.__del__()
    del replica._loop  # what Serve calls is called once


def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_unknown_people_are_remembered_under_another_rank(
    actor: PerceptionActor, world: Any, lobby: tuple[GalleryStore, str]
) -> None:
    before = actor._loop
    actor.reconfigure(None, SimpleNamespace(rank=1))
    assert actor._loop is before  # the same rank: nothing begins anew
    actor.reconfigure(None, SimpleNamespace(rank=0))
    assert actor._loop is not before
    for seq in range(16):  # more than half a second of her, of which not each frame is embedded
        world.send("door", seq, encode_image(SHARP, FrameCodec.JPEG), world.headers(seq, width=b"120", height=b"160"))
        world.producer.flush()
        time.sleep(0.1)
    until(lambda: provisional_ids(*lobby))
    [ada] = provisional_ids(*lobby)
    until(lambda: lobby[0].sightings(lobby[1], ada))
    assert {one.stream_id for one in lobby[0].sightings(lobby[1], ada)} == {"door"}
