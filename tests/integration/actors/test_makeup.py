"""Whom the gallery could not be asked about is `unavailable`, never `unknown`, and is looked up when Redis is back."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors.config import PerceptionConfig, StreamRule
from actors.makeup import MissedMatches
from actors.metrics import LoopStats
from actors.perception import PerceptionNetworks, PerceptionStep
from deploy.local import LocalValkey
from gallery.config import GalleryConfig
from gallery.index import GalleryIndex
from gallery.schema import Sighting
from gallery.store import GalleryStore
from models.detection import Detections
from streams.messages import PeopleResult

pytestmark = pytest.mark.services
EPOCH = "net-1"
ADA, STRANGER = np.eye(8, dtype=np.float32)[:2]


class TwoPeople:
    """Ada on the left, a stranger on the right of every picture."""

    long_side = 64

    def detect(self, images: Sequence[Any], sizes: Sequence[Any]) -> list[Detections]:
        boxes = np.array([[0, 0, 20, 40], [40, 0, 60, 40]], np.float32)
        points = np.full((2, 5, 2), np.nan, np.float32)
        return [Detections(boxes, np.full(2, 0.9, np.float32), np.zeros(2, np.int64), points) for _ in images]

    def embed(self, images: Sequence[Any], boxes: Sequence[Any]) -> np.ndarray:
        return np.concatenate([np.stack([ADA, STRANGER]) for _ in images])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalValkey]:
    with LocalValkey(tmp_path / "valkey") as running:
        yield running


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture
def statuses(play: Callable[..., PeopleResult]) -> Callable[[PerceptionStep, int], list[str]]:
    def told(step: PerceptionStep, seq: int) -> list[str]:
        return [person.identity.status for person in play(step, seq, appended_at_ms=1_000 + seq).people]

    return told


def test_an_outage_is_made_up_for(server: LocalValkey, statuses: Callable[[PerceptionStep, int], list[str]]) -> None:
    config = GalleryConfig(url=server.url, stale_after_s=1.0, timeout_s=0.5, connect_timeout_s=0.5)
    with GalleryStore(config) as store, GalleryIndex(config) as index:
        store.create("lobby", dimension=8, epoch=EPOCH, threshold=0.6)
        store.enrol("lobby", ADA, identity_id="ada")
        until(lambda: any(g.vectors for g in index.health().galleries))
        missed = MissedMatches(store, index, epoch=EPOCH, interval_s=0.0, keep_s=60.0)
        missed.start()
        networks = PerceptionNetworks(TwoPeople(), TwoPeople(), SimpleNamespace(), EPOCH)  # type: ignore[arg-type]
        rule = StreamRule(compute=("people", "identities"), gallery="lobby", freshness="all")
        config = PerceptionConfig(streams=(rule,))
        step = PerceptionStep(config, networks, index, LoopStats(), None, missed)
        try:
            assert statuses(step, 0) == ["known", "unknown"]
            assert server.pid is not None
            os.kill(server.pid, signal.SIGSTOP)
            until(lambda: not index.available)
            assert [statuses(step, seq) for seq in (1, 2)] == [["unavailable"] * 2] * 2
            os.kill(server.pid, signal.SIGCONT)
            until(lambda: missed.made_up == 4)
            seen = store.sightings("lobby", "ada")
            assert sorted(s.seen_at_ms for s in seen) == [1_001, 1_002]
            assert seen[0].score == pytest.approx(1)
            assert statuses(step, 3) == ["known", "unknown"]
        finally:
            missed.close()


def test_what_is_too_old_or_too_much_is_given_up(server: LocalValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.makeup.MAX_WAITING", 3)
    config, now = GalleryConfig(url=server.url), [0.0]
    with GalleryStore(config) as store, GalleryIndex(config) as index:
        missed = MissedMatches(store, index, epoch=EPOCH, interval_s=1.0, keep_s=10.0, clock_s=lambda: now[0])

        def add(track: int) -> None:
            seen = Sighting(event_id=f"e{track}", identity_id="", stream_id="door", seen_at_ms=1, track_id=track)
            missed.add("lobby", ADA, seen)

        for track in (1, 1, 2, 3, 4):  # the second is the same person within the second
            add(track)
        assert (len(missed._waiting), missed.given_up) == (3, 1)
        now[0] = 20.0
        add(5)
        assert (len(missed._waiting), missed.given_up) == (1, 4)
