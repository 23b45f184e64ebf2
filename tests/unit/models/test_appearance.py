"""Numbers mean people: who comes back has his own again, and a track that shows somebody else is split."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.tracking import run, street
from models.tracking import Split, Tracker, TrackingConfig
from models.tracking.appearance import Appearances
from models.tracking.camera import CameraMotion

FPS = 25
CONFIG = TrackingConfig(frame_rate=FPS)


@dataclass
class Seen:
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]


def people(*centres_x: float) -> Seen:
    boxes = [(x - 20, 100, x + 20, 220) for x in centres_x]
    return Seen(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))


class Looks:
    """Views of people who differ, with the spread that views of one person have under one camera."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._of = np.linalg.qr(self._random.normal(size=(64, 8)))[0].T

    def __call__(self, *who: int) -> NDArray[np.float32]:
        noise = self._random.normal(size=(len(who), 64)) / 8
        views = self._of[list(who)] + 0.5 * noise
        return np.asarray(views / np.linalg.norm(views, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize(("comes_back", "same"), [(0, True), (1, False)])
def test_after_seconds_unseen_looks_decide(comes_back: int, same: bool) -> None:
    tracker, looks = Tracker(CONFIG), Looks()
    before = [tracker.update(people(100 + i), None, i / FPS, embeddings=looks(0))[0] for i in range(25)][-1]
    for i in range(25, 125):  # four seconds, more than a lost track is kept for by motion
        tracker.update(people(), None, i / FPS, embeddings=looks())
    after = [tracker.update(people(230 + i), None, (125 + i) / FPS, embeddings=looks(comes_back))[0] for i in range(9)]
    assert before >= 0
    assert after[-1] >= 0
    assert (after[-1] == before) == same
    assert set(after) <= {-1, after[-1]}  # a number is not changed once given


def test_without_looks_a_long_absence_ends_a_track() -> None:
    tracker = Tracker(CONFIG)
    before = [tracker.update(people(100), None, i / FPS)[0] for i in range(5)][-1]
    after = [tracker.update(people(100), None, 4 + i / FPS)[0] for i in range(5)][-1]
    assert before != after


def test_a_track_that_passes_to_somebody_new_is_split() -> None:
    tracker, looks = Tracker(CONFIG), Looks()
    numbers, splits = [], []
    for i in range(60):
        who = 0 if i < 25 else 1  # the box goes on without a jerk
        numbers.append(int(tracker.update(people(100 + i), None, i / FPS, embeddings=looks(who))[0]))
        splits += [(i, split) for split in tracker.splits]
    [(at, split)] = splits
    assert 25 < at <= 40
    assert split == Split(before=numbers[24], after=numbers[-1])
    assert set(numbers[2:at]) == {split.before}
    assert set(numbers[at:]) == {split.after}


def test_a_track_that_passes_to_somebody_known_gets_his_number() -> None:
    tracker, looks = Tracker(CONFIG), Looks()
    first = [tracker.update(people(100), None, i / FPS, embeddings=looks(1))[0] for i in range(20)][-1]
    second = [tracker.update(people(500), None, (i + 20) / FPS, embeddings=looks(0))[0] for i in range(60)][-1]
    assert first != second
    last = [tracker.update(people(500), None, (i + 80) / FPS, embeddings=looks(1))[0] for i in range(20)][-1]
    assert last == first


def test_two_tracks_that_change_places_get_each_others_number() -> None:
    """The package's tracks 0 and 1 go on, and from frame 30 each shows the other person."""
    looks, numbers = Looks(), Appearances(CONFIG)
    ids = np.array([0, 1])
    apart = people(100, 400).boxes_xyxy
    splits: list[Split] = []
    for i in range(60):
        crossing = 26 <= i < 30
        boxes = people(200, 210).boxes_xyxy if crossing else apart
        given, found = numbers.number(i / FPS, ids, boxes, looks(*((0, 1) if i < 30 else (1, 0))))
        splits += found
        if i == 25:
            before = given.tolist()
    assert sorted((one.before, one.after) for one in splits) == [(before[0], before[1]), (before[1], before[0])]
    assert given.tolist() == before[::-1]


def test_who_turns_round_stays_himself() -> None:
    """Views drift to something quite different, without anybody near: no split."""
    looks, numbers = Looks(), Appearances(CONFIG)
    front, back = looks(0)[0], looks(1)[0]
    given, splits = set(), 0
    for i in range(100):
        view = (1 - i / 100) * front + i / 100 * back
        view = np.asarray(view / np.linalg.norm(view), np.float32)
        found, some = numbers.number(i / FPS, np.array([0]), people(100).boxes_xyxy, view[None])
        given.add(int(found[0]))
        splits += len(some)
    assert (len(given), splits) == (1, 0)


def test_numbers_are_never_used_twice_after_a_reset() -> None:
    tracker, looks = Tracker(CONFIG), Looks()
    before = [tracker.update(people(100), None, i / FPS, embeddings=looks(0))[0] for i in range(5)][-1]
    tracker.reset()
    after = [tracker.update(people(100), None, 1 + i / FPS, embeddings=looks(0))[0] for i in range(5)][-1]
    assert after > before


def test_embeddings_are_one_for_each_person() -> None:
    with pytest.raises(ValueError, match="expected 2 finite embeddings"):
        Tracker(CONFIG).update(people(100, 300), embeddings=Looks()(0))


def test_looks_carry_people_through_a_wall() -> None:
    """A floor well under what `python -m benchmarks.tracking` measures; no less where people are embedded seldom."""
    scene = street(3, walkers=6, frames=250, wall_px=280)
    always, served, without = (run(Tracker(CONFIG), scene, looks) for looks in ("each frame", "as served", "none"))
    assert min(always["IDF1"], served["IDF1"]) > max(0.8, without["IDF1"] + 0.05)
    assert served["embedded"] < 0.7 < always["embedded"] == 1.0


def panned(step_px: int, count: int) -> list[NDArray[np.uint8]]:
    world = np.random.default_rng(0).integers(0, 255, (120, 100, 3), np.uint8)
    world = cv2.resize(world, (1200, 480), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(world[60:420, 20 + i * step_px : 660 + i * step_px]) for i in range(count)]


@pytest.mark.parametrize(("mode", "kept"), [("auto", True), ("always", True), ("off", False)])
def test_a_panning_camera_is_made_up_for(mode: str, kept: bool) -> None:
    tracker = Tracker(TrackingConfig(frame_rate=FPS, camera_motion=mode))  # type: ignore[arg-type]
    numbers = []
    for i, frame in enumerate([*panned(0, 12), *panned(28, 16)[1:]]):
        moved = max(0, i - 11) * 28  # narrow people, who stand still: each frame moves them by more than half of a box
        numbers.append(int(tracker.update(people(560 - moved), frame, i / FPS)[0]))
    assert (set(numbers[2:]) == {numbers[2]}) == kept


def test_motion_is_told_in_pixels_of_the_boxes() -> None:
    motion = CameraMotion(always=True)
    motion.scale = 2.0  # the picture was decoded at half of the frame's size
    found = [motion.estimate(frame) for frame in panned(6, 4)]
    assert found[-1][0, 2] == pytest.approx(-12, abs=1)
    assert found[-1][1, 2] == pytest.approx(0, abs=1)


def test_a_mounted_camera_costs_little() -> None:
    motion = CameraMotion(always=False)
    looked = []
    flow = motion._flow.estimate
    motion._flow.estimate = lambda frame: looked.append(1) or flow(frame)
    random = np.random.default_rng(0)
    [still] = panned(0, 1)
    for _ in range(50):
        noisy = np.clip(still.astype(np.int16) + random.integers(-6, 7, still.shape), 0, 255).astype(np.uint8)
        noisy[100:300, 200:260] = random.integers(0, 255)  # somebody walks past
        assert (motion.estimate(noisy) == np.eye(2, 3)).all()
    assert len(looked) <= 2
    assert not motion.moving


def test_who_is_cut_by_the_frames_side_is_not_judged_by_looks() -> None:
    """Somebody walks out, and what is left of him looks like somebody else: no split, his looks stay what they were."""
    tracker, looks, frame = Tracker(CONFIG), Looks(), np.zeros((300, 640, 3), np.uint8)
    for i in range(20):
        tracker.update(people(560), frame, i / FPS, embeddings=looks(0))
    for i in range(20, 40):  # the box's right edge is the frame's
        tracker.update(people(620), frame, i / FPS, embeddings=looks(1))
        assert tracker.splits == ()
    for i in range(40, 110):
        tracker.update(people(), frame, i / FPS, embeddings=looks())
    back = [tracker.update(people(600), frame, i / FPS, embeddings=looks(0))[0] for i in range(110, 118)][-1]
    assert back == 0
