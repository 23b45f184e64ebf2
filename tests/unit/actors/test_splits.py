"""A track that passes to another person is told in `foveal.people`, with its new number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from actors.config import PerceptionConfig, StreamRule
from actors.metrics import LoopStats
from actors.perception import PerceptionNetworks, PerceptionStep
from gallery.schema import Match
from models.detection import Detections
from streams.messages import PeopleResult

FPS, MEETS, FRAMES = 25, range(20, 25), 50
ADA, BOB = np.eye(16, dtype=np.float32)[:2]


class Meeting:
    """Ada stands there; Bob comes near in frames 20 to 24, and from then on stands in her place."""

    long_side = 64

    def __init__(self) -> None:
        self.frame = 0
        self._random = np.random.default_rng(0)

    def detect(self, images: Sequence[Any], sizes: Sequence[Any]) -> list[Detections]:
        boxes = [[10, 0, 30, 44], *([[22, 0, 42, 44]] if self.frame in MEETS else [])]
        count = len(boxes)
        points = np.full((count, 5, 2), np.nan, np.float32)
        scores = np.full(count, 0.9, np.float32)
        return [Detections(np.array(boxes, np.float32), scores, np.zeros(count, np.int64), points)]

    def embed(self, images: Sequence[Any], boxes: Sequence[Any]) -> np.ndarray:
        who = [ADA if self.frame < MEETS.stop else BOB, BOB][: len(boxes[0])]
        views = np.stack(who) + 0.05 * self._random.normal(size=(len(who), 16))
        return np.asarray(views / np.linalg.norm(views, axis=1, keepdims=True), np.float32)

    def match(self, embeddings: np.ndarray, gallery: str, *, epoch: str) -> list[Match]:
        return [Match("unknown")] * len(embeddings)


def test_a_split_is_told_once_with_the_new_number(play: Callable[..., PeopleResult]) -> None:
    meeting = Meeting()
    rule = StreamRule(compute=("people", "identities"), freshness="all")
    networks = PerceptionNetworks(meeting, meeting, SimpleNamespace(), "none")  # type: ignore[arg-type]
    index = SimpleNamespace(available=True, match=meeting.match)
    step = PerceptionStep(PerceptionConfig(streams=(rule,)), networks, index, LoopStats())  # type: ignore[arg-type]
    results = []
    for meeting.frame in range(FRAMES):
        at_ns = 10**18 + round(meeting.frame / FPS * 1e9)
        results.append(play(step, meeting.frame, captured_at_ns=at_ns))
    [(at, split)] = [(number, split) for number, result in enumerate(results) for split in result.splits]
    assert MEETS.stop < at < MEETS.stop + 15
    before = {person.track_id for result in results[5:20] for person in result.people}
    after = {person.track_id for result in results[at:] for person in result.people}
    assert before == {split.track_id}
    assert after == {split.new_track_id}
