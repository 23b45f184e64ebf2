"""Who is embedded again: nobody whose last embedding serves, and everybody about whom there may be doubt."""

from __future__ import annotations

import numpy as np
import pytest

from actors.events import PersonSeen
from actors.steady import SteadyPeople

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


@pytest.mark.parametrize(("trust", "every"), [(0.0, 1), (0.5, 3), (1.0, 5)])
def test_a_trusted_track_is_embedded_at_intervals(trust: float, every: int) -> None:
    steady = SteadyPeople(EVERY_S, NEW_SCORE, lambda number: trust)
    found = embedded(steady, [[person(100 + index), person(300)] for index in range(11)], [1, 2])
    assert found == [[index % every == 0] * 2 for index in range(11)]


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
