"""A crop of 3x3 pixels has its named error at enrolment and search, and a stream goes on beside such a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from actors.config import PerceptionConfig, StreamRule
from actors.metrics import LoopStats
from actors.perception import PerceptionNetworks, PerceptionStep
from actors.pictures import CropTooSmallError, PersonEmbedder
from foveal.cli import app
from foveal.exits import exit_code_of
from gallery.config import GalleryConfig
from gallery.index import GalleryIndex
from gallery.store import GalleryStore
from models.detection import Detections
from models.engine import EngineConfig
from models.reid import EmptyBoxError
from streams.messages import PeopleResult

pytestmark = pytest.mark.services
EPOCH = "net-1"
ADA = np.eye(8, dtype=np.float32)[0]


@pytest.mark.parametrize("command", ["enroll", "search"])
def test_the_commands_name_it(command: str, valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)
    gallery, path = f"lobby-{uuid4().hex}", tmp_path / "tiny.png"
    cv2.imwrite(str(path), np.zeros((3, 3, 3), np.uint8))
    created = CliRunner().invoke(app, ["gallery", "create", gallery])
    assert created.exit_code == 0, created.output
    name = ["--name", "Ada"] if command == "enroll" else []
    for words in (["--crop"], ["--box", "0,0,3,3"]):
        done = CliRunner().invoke(app, [command, "--gallery", gallery, *name, *words, str(path)])
        assert isinstance(done.exception, CropTooSmallError)
        assert "8x16 pixels or more, got 3x3" in str(done.exception)
        assert exit_code_of(done.exception) == 2
    with GalleryStore(GalleryConfig(url=valkey)) as store:
        assert store.list_identities(gallery) == []
        store.remove_gallery(gallery)


def test_what_shows_of_a_box_counts() -> None:
    embedder, picture = PersonEmbedder(EngineConfig()), np.zeros((100, 100, 3), np.uint8)
    with pytest.raises(CropTooSmallError, match="got 3x100"):
        embedder.embed(picture, box_xyxy=(97, 0, 160, 100))
    with pytest.raises(EmptyBoxError):
        embedder.embed(picture, box_xyxy=(200, 0, 260, 100))


class AdaAndADot:
    """Ada on the left of every picture, and three pixels that the detector takes for a person."""

    long_side = 64

    def __init__(self) -> None:
        self.embedded = 0

    def detect(self, images: Sequence[Any], sizes: Sequence[Any]) -> list[Detections]:
        boxes = np.array([[40, 20, 43, 23], [0, 0, 20, 40]], np.float32)
        points = np.full((2, 5, 2), np.nan, np.float32)
        return [Detections(boxes, np.full(2, 0.9, np.float32), np.zeros(2, np.int64), points) for _ in images]

    def embed(self, images: Sequence[Any], boxes: Sequence[Any]) -> np.ndarray:
        self.embedded += sum(map(len, boxes))
        return np.stack([ADA] * sum(map(len, boxes)))


def test_a_stream_tells_of_it_and_goes_on(valkey: str, play: Callable[..., PeopleResult]) -> None:
    gallery, networks = f"lobby-{uuid4().hex}", AdaAndADot()
    config = GalleryConfig(url=valkey)
    with GalleryStore(config) as store:
        store.create(gallery, dimension=8, epoch=EPOCH, threshold=0.6)
        store.enrol(gallery, ADA, identity_id="ada", name="Ada")
        with GalleryIndex(config, galleries=[gallery]) as index:
            index.wait_until_synced(10)
            rule = StreamRule(compute=("people", "identities"), gallery=gallery, freshness="all")
            both = PerceptionNetworks(networks, networks, SimpleNamespace(), EPOCH)  # type: ignore[arg-type]
            step = PerceptionStep(PerceptionConfig(streams=(rule,)), both, index, LoopStats())
            results = [play(step, seq) for seq in range(4)]
        store.remove_gallery(gallery)
    for result in results:
        dot, ada = result.people
        assert (dot.identity.status, dot.identity.unreadable, dot.identity.gallery) == ("off", "too small", gallery)
        assert (ada.identity.status, ada.identity.name, ada.identity.unreadable) == ("known", "Ada", None)
    assert networks.embedded == 4
    assert {person.track_id for person in results[-1].people} == {0, 1}
