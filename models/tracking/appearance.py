"""Who a track shows, by how people look: nobody's number passes to another, and who comes back gets his own again.

The tracker of the package follows boxes. Its tracks are given the numbers that are published here: a new track that
looks like somebody who was lost of late is that somebody; a track that has come to look like another person is split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.tracking.config import TrackingConfig

__all__ = ["Appearances", "Person", "Split", "covered_share"]

Vector = NDArray[np.float32]

CLEAN = 0.3
"""A person of whom more is covered by others' boxes looks partly like them."""
SPLIT_AFTER, SPLIT_TO_NEW_AFTER = 5, 10
"""Clear views in a row of somebody else who is known, or of nobody who is."""
WAIT_FRAMES, WAIT_VIEWS = 6, 3
"""So long a new track waits for clear views, where somebody is missing whom it could be."""
SURER_BY = 0.1
"""The best of those who are missing has to be liker than the next one by it."""
DROP = 0.35
"""So much less than usual like himself is a doubt, for `CONTACT_S` after a track met another person or was lost."""
CONTACT_S = 1.5
KNOWN_VIEWS = 5
MEAN_VIEWS = 2
GAP_S = 0.25
SPREADS, LEAST_SLACK, MOST_SLACK = 2.0, 0.05, 0.1
FAST, SLOW = 0.1, 0.02
REACH_HEIGHTS, REACH_HEIGHTS_PER_S = 2.0, 1.5
"""How far somebody may have come unseen, in his own heights."""
MOST_REMEMBERED = 256
NOTHING: Vector = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Split:
    """A track was found to show another person: `before` is its number until now, `after` from this frame on."""

    before: int
    after: int


@dataclass(slots=True)
class Person:
    """How the person of a number looks: `mean` float32 [D] of unit norm, and how like it his views usually are.

    Cameras differ: in one room two strangers are liker than one person's views in another. So a view is held against
    the person's own `usual` cosine, and `TrackingConfig.same_cosine` is only the least.
    """

    mean: Vector
    seen_s: float
    box: NDArray[np.float32]
    views: int = 0
    usual: float = 1.0
    variance: float = 0.0

    def look(self, view: Vector, same: float) -> None:
        """Let a clear view in; one that is not sure to be the same person weighs little."""
        self.views += 1
        if self.views == 1:
            self.mean = view
            return
        cosine = float(self.mean @ view)
        weight = max(1 / self.views, FAST)
        self.variance += weight * ((cosine - self.usual) ** 2 - self.variance) if self.views > 2 else 0.0
        self.usual += (weight if self.views > 2 else 1.0) * (cosine - self.usual)
        if cosine < same and self.views > 1 / FAST:
            weight = SLOW
        mixed = (1 - weight) * self.mean + weight * view
        self.mean = np.asarray(mixed / max(float(np.linalg.norm(mixed)), 1e-9), np.float32)

    def surely(self, same: float) -> float:
        """The cosine from which a view is his."""
        return max(same, self.usual - min(MOST_SLACK, max(LEAST_SLACK, SPREADS * math.sqrt(self.variance))))


@dataclass(slots=True)
class _Track:
    """A track of the package. `number` is None while it waits; `doubts` are clear views of somebody else, in a row."""

    seen_s: float
    number: int | None = None
    waited: int = 0
    views: list[Vector] = field(default_factory=list)
    doubts: list[Vector] = field(default_factory=list)
    contact_s: float = -np.inf


class Appearances:
    """The numbers of one stream's tracks. Not for several threads at once."""

    def __init__(self, config: TrackingConfig, first_number: int = 0) -> None:
        self._config = config
        self._next = first_number
        self._tracks: dict[int, _Track] = {}
        self._people: dict[int, Person] = {}

    @property
    def next_number(self) -> int:
        """No number from here on was given yet."""
        return self._next

    def person_of(self, package_id: int) -> Person | None:
        """Whom a package's track shows; None where it is not known how he looks."""
        track = self._tracks.get(package_id)
        person = None if track is None or track.number is None else self._people.get(track.number)
        return person if person is not None and person.views else None

    def looks(self, number: int) -> Vector | None:
        """The mean of the clear views of a number's person, float32 [D] of unit norm; None before there are some."""
        person = self._people.get(number)
        return person.mean if person is not None and person.views >= MEAN_VIEWS else None

    def trust(self, number: int, at_s: float) -> float:
        """How long one view of a track serves, as a share of the longest time.

        0 while it is doubted or its person hardly known, half for a while after it met another person.
        """
        person = self._people.get(number)
        track = next((one for one in self._tracks.values() if one.number == number), None)
        if person is None or track is None or track.doubts or person.views < KNOWN_VIEWS:
            return 0.0
        return 1.0 if at_s - track.contact_s > CONTACT_S else 0.5

    def number(
        self,
        at_s: float,
        package_ids: NDArray[np.int64],
        boxes: NDArray[np.float32],
        views: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.int64], list[Split]]:
        """The number of each package's track, -1 where there is none or it waits, and who turned out to be another.

        Shapes: package_ids int64 [N], -1 without a track; boxes float32 [N, 4]; views float32 [N, D], unit norm or 0.
        """
        self._forget(at_s)
        covered = covered_share(boxes)
        rows = [int(row) for row in np.flatnonzero(package_ids >= 0)]
        tracks = {row: self._tracks.setdefault(int(package_ids[row]), _Track(at_s)) for row in rows}
        clear = (
            {row: views[row] for row in rows if covered[row] < CLEAN and views[row].any()} if views is not None else {}
        )
        present = {track.number for track in tracks.values() if track.number is not None}
        for row, track in tracks.items():
            if covered[row] > 0 or at_s - track.seen_s > GAP_S:
                track.contact_s = at_s
            track.seen_s = at_s
            if track.number is None:
                self._begin(track, at_s, boxes[row], clear.get(row), present, compared=views is not None)
            elif row in clear:
                self._check(track, clear[row], at_s)
        splits = self._resolve([track for track in tracks.values() if track.doubts], at_s, present)
        numbers = np.full(len(package_ids), -1, np.int64)
        for row, track in tracks.items():
            if track.number is not None:
                numbers[row] = track.number
                person = self._people[track.number]
                person.seen_s, person.box = at_s, boxes[row]
                if row in clear and not track.doubts:
                    person.look(clear[row], self._config.same_cosine)
        return numbers, splits

    def _begin(
        self,
        track: _Track,
        at_s: float,
        box: NDArray[np.float32],
        view: Vector | None,
        present: set[int],
        *,
        compared: bool,
    ) -> None:
        missing = [number for number in self._people if number not in present and self._in_reach(number, box, at_s)]
        track.waited += 1
        if view is not None:
            track.views.append(view)
        if compared and missing and len(track.views) < WAIT_VIEWS and track.waited < WAIT_FRAMES:
            return
        looks = _mean(track.views) if track.views else None
        track.number = self._likest(looks, missing) if looks is not None else None
        if track.number is None:
            track.number = self._new(looks, at_s, box)
        else:
            self._take(track, track.number)
        track.views = []
        present.add(track.number)

    def _check(self, track: _Track, view: Vector, at_s: float) -> None:
        person = self._people[track.number] if track.number is not None else None
        met = bool(track.doubts) or at_s - track.contact_s <= CONTACT_S
        if person is not None and person.views:
            least = max(self._config.different_cosine, person.usual - DROP if met else -1.0)
            if float(person.mean @ view) < least:
                track.doubts.append(view)
                return
        track.doubts.clear()

    def _resolve(self, doubted: Sequence[_Track], at_s: float, present: set[int]) -> list[Split]:
        """Split the tracks that are sure to show somebody else; two that changed places get each other's number."""
        sure = [track for track in doubted if len(track.doubts) >= SPLIT_AFTER]
        splits: list[Split] = []
        while sure:
            track = sure.pop(0)
            view = _mean(track.doubts)
            others = [other for other in doubted if other is not track and other.number is not None]
            held = {other.number for other in others}
            free = [number for number in self._people if number not in present or number in held]
            before, after = track.number, self._likest(view, [number for number in free if number != track.number])
            if before is None or (after is None and len(track.doubts) < SPLIT_TO_NEW_AFTER):
                continue
            if after is not None and after in held:  # its holder is doubted too, and looked at with what is there
                other = next(one for one in others if one.number == after)
                other.number = None
                swapped = self._likest(_mean(other.doubts), [before]) is not None
                theirs = before if swapped else self._new(_mean(other.doubts), at_s, self._people[before].box)
                splits.append(Split(after, theirs))
                other.number, other.doubts = theirs, []
                present.add(theirs)
                sure = [one for one in sure if one is not other]
            if after is None:
                after = self._new(view, at_s, self._people[before].box)
            self._take(track, after)
            splits.append(Split(before, after))
            track.number, track.doubts = after, []
            present.add(after)
        return splits

    def _likest(self, view: Vector, numbers: Iterable[int]) -> int | None:
        """Of these, the one who surely looks like it."""
        known = [number for number in numbers if self._people[number].views]
        if not known:
            return None
        scores = np.array([float(self._people[number].mean @ view) for number in known])
        best = int(scores.argmax())
        second = float(np.delete(scores, best).max()) if len(scores) > 1 else -1.0
        least = self._people[known[best]].surely(self._config.same_cosine)
        return known[best] if scores[best] >= least and scores[best] - second >= SURER_BY else None

    def _take(self, track: _Track, number: int) -> None:
        """The number is this track's now; a lost track that had it begins anew should it come back."""
        for other in self._tracks.values():
            if other is not track and other.number == number:
                other.number, other.waited, other.views, other.doubts = None, 0, [], []

    def _new(self, view: Vector | None, at_s: float, box: NDArray[np.float32]) -> int:
        number, self._next = self._next, self._next + 1
        self._people[number] = Person(NOTHING if view is None else view, at_s, box, views=int(view is not None))
        return number

    def _in_reach(self, number: int, box: NDArray[np.float32], at_s: float) -> bool:
        person = self._people[number]
        height = max(1.0, float(person.box[3] - person.box[1]))
        far = np.hypot(*((box[:2] + box[2:]) / 2 - (person.box[:2] + person.box[2:]) / 2))
        return bool(far <= height * (REACH_HEIGHTS + REACH_HEIGHTS_PER_S * (at_s - person.seen_s)))

    def _forget(self, at_s: float) -> None:
        keep_s = self._config.lost_s + 1.0
        self._tracks = {key: track for key, track in self._tracks.items() if at_s - track.seen_s <= keep_s}
        held = {track.number for track in self._tracks.values()}
        newest = sorted(self._people.items(), key=lambda item: item[1].seen_s)[-MOST_REMEMBERED:]
        self._people = {
            number: person
            for number, person in newest
            if number in held or at_s - person.seen_s <= self._config.remember_s
        }
        for track in self._tracks.values():
            if track.number is not None and track.number not in self._people:
                track.number = None


def covered_share(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """float32 [N, 4] -> [N]: how much of each box lies under the one other that covers most of it."""
    corner = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    far = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(far - corner, 0, None).prod(axis=2).astype(np.float64)
    np.fill_diagonal(shared, 0)
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-6)
    share: NDArray[np.float64] = shared.max(axis=1, initial=0) / area
    return share


def _mean(views: Sequence[Vector]) -> Vector:
    total = np.sum(views, axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), np.float32)
