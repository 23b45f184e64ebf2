"""Who is embedded again: nobody whose last embedding serves, and everybody about whom there may be doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors.config import PerceptionConfig, StreamRule
from actors.events import PersonSeen
from actors.metrics import LoopStats
from actors.perception import PerceptionNetworks, PerceptionStep
from actors.steady import SteadyPeople
from gallery.schema import Match
from models.detection import Detections
from streams.messages import PeopleResult

EVERY_S, FRAME_S, NEW_SCORE = 0.2, 0.04, 0.4
VECTOR = np.eye(1, 8, dtype=np.float32)[0]


def person(x: float, *, score: float = 0.9) -> PersonSeen:
    return PersonSeen(np.array([x, 0, x + 40, 100], np.float32), score)


def embedded(steady: SteadyPeople, frames: list[list[PersonSeen]], numbers: list[int | None]) -> list[list[bool]]:
    """Who is embedded in each frame, where each person of a frame is tracked by his number."""
    found = []
    for index, people in enumerate(frames):
        steady.find(index * FRAME_S, people)
        found.append([one.before is None for one in people])
        for one, number in zip(people, numbers, strict=True):
            one.track_id = number
            if one.before is None:
                one.embedding = VECTOR
        steady.carry(people)
        assert all(one.embedding is not None for one in people)
    return found


@pytest.mark.parametrize(("trust", "share"), [(0.0, 1.0), (0.5, 0.4), (1.0, 0.2)])
def test_a_trusted_track_is_embedded_at_intervals(trust: float, share: float) -> None:
    steady = SteadyPeople(EVERY_S, NEW_SCORE, lambda number: trust)
    found = embedded(steady, [[person(100 + index)] for index in range(51)], [1])
    gaps = np.diff(np.flatnonzero(np.array(found)[:, 0]))
    assert gaps.max() <= np.ceil(1 / share)
    assert gaps.mean() == pytest.approx(1 / share, rel=0.1)


def test_people_take_turns() -> None:
    steady = SteadyPeople(EVERY_S, NEW_SCORE, lambda number: 1.0)
    places = range(100, 900, 100)
    found = np.array(embedded(steady, [[person(left) for left in places] for _ in range(51)], [*range(8)]))
    assert found[0].all()  # all came at once
    assert set(found[1:].sum(axis=1)) == {1, 2}
    assert found.sum(axis=0) == pytest.approx(np.full(8, 50 / 5 + 1), abs=1)


def test_nought_seconds_is_each_frame() -> None:
    steady = SteadyPeople(0.0, NEW_SCORE, lambda number: 1.0)
    assert embedded(steady, [[person(100)] for _ in range(4)], [1]) == [[True]] * 4


def test_whoever_may_be_another_is_embedded() -> None:
    steady = SteadyPeople(EVERY_S, NEW_SCORE, lambda number: 1.0)
    places = [(100, 300), (100, 108), (100, 108), (100, 400)]
    found = embedded(steady, [[person(left), person(right)] for left, right in places], [1, 2])
    assert found[1:] == [[True, True]] * 3  # beside each other either may be the other


def test_without_a_track_only_who_could_not_begin_one_is_spared() -> None:
    steady = SteadyPeople(EVERY_S, NEW_SCORE, lambda number: 0.0)
    frames = [[person(100, score=0.3), person(300, score=0.5)] for _ in range(3)]
    assert embedded(steady, frames, [None, None])[1:] == [[False, True], [False, True]]


def test_frames_of_one_batch_are_chained_before_any_is_tracked() -> None:
    steady = SteadyPeople(EVERY_S, NEW_SCORE, lambda number: 1.0)
    embedded(steady, [[person(100)]], [7])
    batch = [person(100 + index) for index in range(1, 4)]
    for index, one in enumerate(batch, start=1):
        steady.find(index * FRAME_S, [one])
    assert [one.before is None for one in batch] == [False] * 3
    for one in batch:
        one.track_id = 7
        steady.carry([one])
    assert [one.embedding is VECTOR for one in batch] == [True] * 3


def test_who_is_tracked_as_another_gets_nobodys_embedding() -> None:
    steady = SteadyPeople(EVERY_S, NEW_SCORE, lambda number: 1.0)
    embedded(steady, [[person(100)]], [7])
    one = person(101)
    steady.find(FRAME_S, [one])
    assert one.before is not None
    one.track_id = 8
    steady.carry([one])
    assert one.embedding is None
    assert one.before is None


class Standing:
    """One person who stands there, and what the networks and the gallery are asked."""

    long_side = 64

    def __init__(self, views: Sequence[np.ndarray] = (VECTOR,)) -> None:
        self.views = views
        self.embedded: list[int] = []
        self.matched: list[np.ndarray] = []

    def detect(self, images: Sequence[Any], sizes: Sequence[Any]) -> list[Detections]:
        boxes, scores = np.array([[10, 0, 30, 44]], np.float32), np.full(1, 0.9, np.float32)
        return [Detections(boxes, scores, np.zeros(1, np.int64), np.full((1, 5, 2), np.nan, np.float32))]

    def embed(self, images: Sequence[Any], boxes: Sequence[Any]) -> np.ndarray:
        self.embedded.append(sum(map(len, boxes)))
        return np.repeat(self.views[len(self.embedded) % len(self.views)][None], self.embedded[-1], axis=0)

    def match(self, embeddings: np.ndarray, gallery: str, *, epoch: str) -> list[Match]:
        self.matched.append(embeddings)
        return [Match("unknown")] * len(embeddings)


@pytest.mark.parametrize(("every_s", "share"), [(0.0, 1.0), (0.2, 0.2)])
def test_a_step_embeds_at_intervals_and_asks_the_gallery_of_each_frame(
    play: Callable[..., PeopleResult], every_s: float, share: float
) -> None:
    asked, frames = Standing(), 100
    rule = StreamRule(compute=("people", "identities"), freshness="all")
    config = PerceptionConfig(streams=(rule,), embed_every_s=every_s)
    networks = PerceptionNetworks(asked, asked, SimpleNamespace(), "none")  # type: ignore[arg-type]
    index = SimpleNamespace(available=True, match=asked.match)
    step = PerceptionStep(config, networks, index, LoopStats())  # type: ignore[arg-type]
    results = [play(step, seq, captured_at_ns=10**18 + round(seq * FRAME_S * 1e9)) for seq in range(frames)]
    assert sum(asked.embedded) == pytest.approx(share * frames, abs=8)  # each frame until the person is known well
    assert len(asked.matched) == frames
    assert all((vectors == VECTOR).all() for vectors in asked.matched)
    assert all(one.identity.status == "unknown" for result in results for one in result.people)
    assert len({one.track_id for result in results[5:] for one in result.people}) == 1


def test_the_gallery_is_asked_by_the_mean_of_the_track(play: Callable[..., PeopleResult]) -> None:
    turn = np.array([0.9, 0.436, 0, 0, 0, 0, 0, 0], np.float32)
    views = [turn / np.linalg.norm(turn), VECTOR]
    asked = Standing(views)
    config = PerceptionConfig(streams=(StreamRule(compute=("people", "identities"), freshness="all"),), embed_every_s=0)
    networks = PerceptionNetworks(asked, asked, SimpleNamespace(), "none")  # type: ignore[arg-type]
    index = SimpleNamespace(available=True, match=asked.match)
    step = PerceptionStep(config, networks, index, LoopStats())  # type: ignore[arg-type]
    for seq in range(40):
        play(step, seq, captured_at_ns=10**18 + round(seq * FRAME_S * 1e9))
    one, two, middle = (np.array([vectors[0] @ view for vectors in asked.matched]) for view in (*views, sum(views)))
    assert one[0] == pytest.approx(0.9, abs=0.01) or two[0] == pytest.approx(0.9, abs=0.01)  # a view of its own
    assert (middle[-20:] / np.linalg.norm(sum(views)) > 0.999).all()
