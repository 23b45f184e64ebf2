"""How identities are judged, on people who are where the test says; and the scenes that are made for it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.identity_figures import Pairing, Seen, figures
from benchmarks.identity_scenes import campus
from benchmarks.visits import There, Visits
from streams.messages import Identity, PeopleResult, Person
from training.reid.data import CropSet

BOX = (10.0, 10.0, 50.0, 110.0)


def seen(who: str, visit: int, at_s: float, identity: str | None, track: int | None = 0) -> Seen:
    return Seen("door", at_s, There(who, visit, BOX), identity is not None, track, identity)


def test_a_visit_is_interpolated_and_played_again_it_is_another_one() -> None:
    visits = Visits({"Ada": [[[10, 0, 0, 10, 20], [20, 10, 0, 20, 20]], [[40, 0, 0, 10, 20], [41, 0, 0, 10, 20]]]})
    assert visits.at(9) == visits.at(21) == []
    assert visits.at(15) == [There("Ada", 0, (5, 0, 15, 20))]
    assert [one.visit for one in (*visits.at(40), *visits.at(15, play=1), *visits.at(40, play=1))] == [1, 2, 3]


@pytest.mark.parametrize("clip", ["one-by-one-person-detection.mp4", "store-aisle-detection.gif", "vtest.avi"])
def test_the_labels_are_sound(clip: str) -> None:
    there = [one for frame in range(1400) for one in Visits.of(clip).at(frame)]
    assert len({one.person for one in there}) >= 3
    for left, top, right, bottom in (one.box_xyxy for one in there):
        assert 0 <= left < right <= 768
        assert 0 <= top < bottom <= 576


def test_everyone_is_paired_with_the_box_most_like_his() -> None:
    def person(left: float, identity: Identity, track: int | None) -> Person:
        return Person(box_xyxy=(left, 10, left + 40, 110), score=0.9, track_id=track, identity=identity)

    strange = Identity(status="unknown", provisional="provisional-1")
    people = (person(20, strange, 3), person(12, Identity(status="known", identity_id="ada"), 4))
    result = PeopleResult(stream_id="door", seq=0, captured_at_ns=0, width=200, height=200, people=people)
    there = [There("Ada", 0, BOX), There("Bob", 0, (22, 10, 62, 110)), There("Cid", 0, (150, 10, 190, 110))]
    pairing = Pairing()
    ada, bob, cid = pairing.pair("door", 1.0, there, result)
    assert (ada.track, ada.identity) == (4, "ada")
    assert (bob.track, bob.identity) == (3, "provisional-1")
    assert (cid.found, cid.track, cid.identity) == (False, None, None)
    stranger = person(10, strange, 9)  # who stands right where Ada was, while she is 12 pixels further
    moved = result.model_copy(update={"people": (stranger, person(22, strange, 4))})
    [ada] = pairing.pair("door", 1.1, there[:1], moved)
    assert ada.track == 4
    [ada] = Pairing().pair("door", 1.1, there[:1], moved)
    assert ada.track == 9


def test_switches_and_returns_are_counted() -> None:
    rows = [seen("Ada", 0, at, one) for at, one in enumerate(["a", None, "a", "b", "a", "a"])]
    rows += [seen("Ada", 1, 20 + at, "a", track=5) for at in range(2)]
    rows += [seen("Bob", 0, 30 + at, "c", track=at) for at in range(2)]
    rows += [seen("Bob", 1, 40, "a"), seen("Bob", 2, 41, "d"), seen("Bob", 3, 42, None)]
    told = figures(rows, frame_s=1.0)
    assert told["people"] == 2
    assert told["stream_minutes_with_somebody"] == pytest.approx(13 / 60, abs=0.01)
    assert told["identity_switches"] == 2 + 2
    assert told["lasting_identity_switches_a_minute"] == 0  # Ada was "b" for a moment, Bob's visits are too short
    assert told["identity_switches_a_minute"] == pytest.approx(4 / 13 * 60, abs=0.01)
    assert told["by_person"]["Bob"]["track_switches"] == 1  # a new track at another visit is none
    assert told["by_person"]["Ada"]["returns"] == ["held"]
    assert told["by_person"]["Bob"]["returns"] == ["somebody else's", "new", "none"]
    assert told["identities_of_several_people"] == 1
    assert told["by_person"]["Ada"]["identities"] == {"i1": 6, "i2": 1}
    turned = figures([seen("Eve", 0, at, "a" if at < 3 else "b") for at in range(6)], frame_s=1.0)
    assert turned["by_person"]["Eve"]["lasting_identity_switches"] == 1


def test_on_the_campus_nobody_meets_and_everyone_is_seen_by_two_cameras() -> None:
    identities, cameras = np.repeat([1, 2, 3, 4], 6), np.tile(np.repeat([1, 2], 3), 4)
    cameras[-3:] = 1  # the fourth is seen by one camera only
    images = np.random.default_rng(0).integers(0, 255, (24, 128, 64, 3), np.uint8)
    names = tuple(f"{n:03d}.jpg" for n in range(24))
    streams = campus(CropSet(names, images, identities, cameras))
    assert [one.stream for one in streams] == ["camera-1", "camera-2"]
    moments = [list(one.moments) for one in streams]
    for some in moments:
        assert all(after.at_s > before.at_s for before, after in pairwise(some))
        assert all(len(one.there) <= 1 for one in some)
    who = [{one.there[0].person for one in some if one.there} for some in moments]
    assert who == [{"0001", "0002", "0003"}] * 2
    [first, second] = [
        [one for some in moments for one in some if one.there and one.there[0].visit == n] for n in (0, 1)
    ]
    assert max(one.at_s for one in first) < min(one.at_s for one in second)
