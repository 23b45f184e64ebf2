"""Track numbers line up with the detections, are stable, and are never used twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.tracking import run, street
from models.tracking import Tracker, TrackingConfig
from models.tracking.config import Method


@dataclass
class Seen:
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]


def people(*centres_x: float, score: float = 0.9) -> Seen:
    boxes = [(x - 20, 100, x + 20, 220) for x in centres_x]
    return Seen(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), score, np.float32))


@pytest.mark.parametrize("method", get_args(Method))
def test_numbers_follow_people_whatever_their_order(method: Method) -> None:
    tracker = Tracker(TrackingConfig(method=method, frame_rate=25))
    random = np.random.default_rng(0)
    numbers: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for index in range(20):
        order = random.permutation(3)
        centres = np.array([100 + 3 * index, 400 - 3 * index, 700.0])
        ids = tracker.update(people(*centres[order]), captured_at_s=index / 25)
        assert ids.dtype == np.int64
        assert ids.shape == (3,)
        for who, number in zip(order, ids, strict=True):
            if number >= 0:
                numbers[int(who)].add(int(number))
    assert all(len(given) == 1 for given in numbers.values())
    assert len(set.union(*numbers.values())) == 3


def test_the_first_sight_is_not_confirmed() -> None:
    tracker = Tracker(TrackingConfig(confirm_frames=3))
    first = [tracker.update(people(100 + i)).tolist() for i in range(4)]
    assert first[0] == [-1]
    assert first[-1][0] >= 0


def test_numbers_are_never_used_twice_not_even_after_a_reset() -> None:
    tracker = Tracker()
    given: list[set[int]] = []
    for _ in range(3):
        found = {int(n) for i in range(5) for n in tracker.update(people(100 + i, 500 - i))}
        given.append(found - {-1})
        tracker.reset()
    assert all(len(numbers) == 2 for numbers in given)
    assert len(set.union(*given)) == 6


def test_a_hidden_person_keeps_the_number() -> None:
    tracker = Tracker(TrackingConfig(lost_s=1.0))
    before = [tracker.update(people(100 + 4 * i), captured_at_s=i / 25) for i in range(10)][-1]
    for i in range(10, 18):
        assert tracker.update(people(), captured_at_s=i / 25).shape == (0,)
    after = tracker.update(people(100 + 4 * 18), captured_at_s=18 / 25)
    assert after.tolist() == before.tolist()


def test_after_a_long_gap_it_is_somebody_new() -> None:
    tracker = Tracker(TrackingConfig(lost_s=1.0))
    before = [tracker.update(people(100), captured_at_s=i / 25) for i in range(5)][-1]
    after = [tracker.update(people(100), captured_at_s=60 + i / 25) for i in range(5)][-1]
    assert before[0] >= 0
    assert after[0] >= 0
    assert after[0] != before[0]


def test_a_clock_that_stands_or_goes_back_loses_nobody() -> None:
    tracker = Tracker()
    times = [0.0, 0.04, 0.08, 0.08, 0.02, 0.12, 0.16]
    ids = [tracker.update(people(100 + i), captured_at_s=at)[0] for i, at in enumerate(times)]
    assert set(ids[2:]) == {ids[2]}
    assert ids[2] >= 0


def test_a_clock_set_back_does_not_stop_time() -> None:
    tracker = Tracker(TrackingConfig(lost_s=1.0, frame_rate=25))
    before = [tracker.update(people(100 + i), captured_at_s=1e6 + i / 25)[0] for i in range(5)]
    after = [tracker.update(people(105 + i), captured_at_s=i / 25)[0] for i in range(5)]
    assert set(after) == {before[-1]}
    later = [tracker.update(people(110), captured_at_s=60 + i / 25)[0] for i in range(3)][-1]
    assert later >= 0
    assert later != before[-1]  # a minute has passed on the new clock


def test_weak_detections_begin_nothing() -> None:
    tracker = Tracker()
    assert all((tracker.update(people(100 + i, score=0.3)) == -1).all() for i in range(5))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_boxes_that_are_not_finite_are_refused(bad: float) -> None:
    seen = people(100)
    seen.boxes_xyxy[0, 2] = bad
    with pytest.raises(ValueError, match="finite boxes"):
        Tracker().update(seen)


def test_a_moving_camera_is_made_up_for_only_by_botsort() -> None:
    with pytest.raises(ValueError, match="camera_motion"):
        TrackingConfig(method="sort", camera_motion="always")
    tracker = Tracker(TrackingConfig(camera_motion="always"))
    frame = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    assert [tracker.update(people(100), frame).tolist() for _ in range(3)][-1] == [0]


def test_scores_in_disorder_are_refused() -> None:
    with pytest.raises(ValueError, match=r"new_score: expected at least high_score"):
        TrackingConfig(high_score=0.8, new_score=0.5)


def test_the_street_is_followed_well() -> None:
    """A floor well under what `python -m benchmarks.tracking` measures, so that a worse default is noticed."""
    result = run(Tracker(TrackingConfig(frame_rate=25)), street(0, walkers=8, frames=120), "none")
    assert result["IDF1"] > 0.75
    assert result["switches"] <= 6


def test_a_detector_whose_scores_are_low_is_followed_as_well() -> None:
    """Half the scores under half the thresholds: the same tracks."""
    scene = street(1, walkers=6, frames=60)
    sure, shy = (
        Tracker(TrackingConfig(frame_rate=25)),
        Tracker(TrackingConfig(frame_rate=25, high_score=0.25, new_score=0.4)),
    )
    for frame in scene:
        low = np.where(frame.scores < 0.5, frame.scores / 2, 0.25 + (frame.scores - 0.5) * 1.5).astype(np.float32)
        there = sure.update(frame, captured_at_s=frame.captured_at_s)
        here = shy.update(Seen(frame.boxes_xyxy, low), captured_at_s=frame.captured_at_s)
        np.testing.assert_array_equal(there, here)


def test_a_burst_of_frames_stamped_on_arrival_loses_nobody() -> None:
    tracker = Tracker(TrackingConfig())
    numbers = []
    for index in range(20):
        narrow = Seen(np.array([[4 + index, 10, 16 + index, 40]], np.float32), np.array([0.9], np.float32))
        late_s = 0.1 if index >= 17 else 0.0  # the sender was held up, and stamped what it then sent at once
        numbers.append(tracker.update(narrow, captured_at_s=index * 6e-4 + late_s)[0])
    assert numbers[5] >= 0
    assert set(numbers[5:]) == {numbers[5]}
