"""Who is beyond doubt the same person as in the frame before, so that his embedding serves again.

Embedding is the dearest part of a frame with several people, and a person looks in the next frame as in this one. So
he is embedded at intervals, in turn with the others; in each frame while his track is young, doubted, or cannot be told
from another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from actors.events import PersonSeen
from models.tracking.association import box_iou

__all__ = ["SteadyPeople"]

SAME_IOU, OTHER_SHARE = 0.5, 0.6
"""Boxes of frames in succession are one person's from that overlap on, if no other has more than the share of it."""
ALMOST = 0.999
"""Times of frames are not exact."""


@dataclass(slots=True)
class _Look:
    """Somebody in the newest frame: the number that his track should have, and when he was last embedded."""

    person: PersonSeen
    number: int | None
    embedded_at_s: float


class SteadyPeople:
    """The people of one stream's newest frame. A batch may hold several frames of a stream that are not tracked yet.

    `trust` says of a track's number for which share of `embed_every_s` an embedding serves. Who is seen less surely
    than `new_score` begins no track, and is trusted without one.
    """

    def __init__(self, embed_every_s: float, new_score: float, trust: Callable[[int], float]) -> None:
        self._embed_every_s = embed_every_s
        self._new_score = new_score
        self._trust = trust
        self._newest: list[_Look] = []
        self._newest_s = 0.0
        self._turns = 0.0

    def find(self, at_s: float, people: Sequence[PersonSeen]) -> None:
        """Set `before` of those who need not be embedded in this frame.

        People take turns, the longest unembedded first: were they embedded all at once, the frame would be a slow one.
        """
        before, since_s = self._newest, max(0.0, at_s - self._newest_s)
        self._newest, self._newest_s = [_Look(person, None, at_s) for person in people], at_s
        served: list[tuple[float, _Look, _Look]] = []
        for now, then in _pairs(self._newest, before):
            tracked = then.person.track_id
            now.number = tracked if tracked is not None else then.number
            lasts_s, age_s = self._embed_every_s * self._share(now), at_s - then.embedded_at_s
            if lasts_s > 0:
                self._turns += min(1.0, since_s / lasts_s)
            if 0 <= age_s < ALMOST * lasts_s:
                served.append((age_s / lasts_s, now, then))
            elif lasts_s > 0:
                self._turns -= 1
        served.sort(key=lambda one: -one[0])
        turns = min(len(served), int(max(0.0, self._turns) / ALMOST))
        self._turns = max(0.0, self._turns - turns)
        for _, now, then in served[turns:]:
            now.embedded_at_s = then.embedded_at_s
            now.person.before = then.person

    @staticmethod
    def carry(people: Sequence[PersonSeen]) -> None:
        """After tracking: take the embedding over from who turned out to be on the same track."""
        for person in people:
            before, person.before = person.before, None
            if before is not None and person.track_id == before.track_id:
                person.embedding = before.embedding

    def _share(self, look: _Look) -> float:
        if look.number is not None:
            return self._trust(look.number)
        return 1.0 if look.person.score < self._new_score else 0.0


def _pairs(now: Sequence[_Look], before: Sequence[_Look]) -> list[tuple[_Look, _Look]]:
    """Those of two frames who overlap well, and with anybody else far less."""
    if not now or not before:
        return []
    iou = box_iou(*(np.stack([look.person.box_xyxy for look in looks]) for looks in (now, before)))
    found = []
    for row, column in enumerate(iou.argmax(1)):
        best = iou[row, column]
        others = max(np.delete(iou[row], column).max(initial=0), np.delete(iou[:, column], row).max(initial=0))
        if best >= SAME_IOU and others <= OTHER_SHARE * best:
            found.append((now[row], before[column]))
    return found
