"""What a replica remembers of one stream from frame to frame: who is on which track, and each track's expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.config import PerceptionConfig
from actors.decoding import DecodedFrame
from actors.events import FaceChange, FaceSeen, PersonSeen
from actors.steady import SteadyPeople
from models.expression.timeline import ExpressionTimeline
from models.tracking import Split, Tracker

__all__ = ["Following"]

FORGET_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class _Boxes:
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(slots=True)
class _Expressions:
    timeline: ExpressionTimeline
    last_s: float


class Following:
    """One stream's tracks; it lives and goes with the stream's partition."""

    def __init__(self, config: PerceptionConfig) -> None:
        self._tracker = Tracker(config.tracking)
        self._steady = SteadyPeople(config.embed_every_s, config.tracking.new_score, self._tracker.trust)
        self._expressions: dict[int, _Expressions] = {}

    def find_steady(self, frame: DecodedFrame, people: Sequence[PersonSeen]) -> None:
        """Before embedding, in the order of the frames: set `before` of those whose last embedding serves again."""
        self._steady.find(frame.record.captured_at_ns / 1e9, people)

    def follow(self, frame: DecodedFrame, people: Sequence[PersonSeen]) -> tuple[Split, ...]:
        """Number the people, by how they look as well where that is known; returns who is another one now.

        Only this frame's own embeddings are views; who was steady takes over the one before if he is on its track.
        """
        embedded = (person if person.before is None else person.before for person in people)
        known = next((person.embedding for person in embedded if person.embedding is not None), None)
        views = None if known is None else np.zeros((len(people), len(known)), np.float32)
        for row, person in enumerate(people):
            if views is not None and person.embedding is not None:
                views[row] = person.embedding
        self._number(frame, people, views)
        self._steady.carry(people)
        for person in people:
            person.track_looks = None if person.track_id is None else self._tracker.looks(person.track_id)
        return self._tracker.splits

    def follow_faces(self, frame: DecodedFrame, faces: Sequence[FaceSeen]) -> None:
        """The same for the faces of a stream that names no people: these numbers are the faces' own."""
        self._number(frame, faces, None)

    def smooth(self, frame: DecodedFrame, faces: Sequence[FaceSeen]) -> list[FaceChange]:
        """Smooth the readings over each track, and tell of the changes that are sure now."""
        at_s = frame.record.captured_at_ns / 1e9
        self._expressions = {
            number: one for number, one in self._expressions.items() if 0 <= at_s - one.last_s <= FORGET_AFTER_S
        }
        changes: list[FaceChange] = []
        done: set[int] = set()
        for face in sorted(faces, key=lambda one: -one.score):
            number = face.track_id
            if number is None or face.reading is None or number in done:
                continue  # of two faces on one person, the surer
            done.add(number)
            known = self._expressions.setdefault(number, _Expressions(ExpressionTimeline(), at_s))
            known.last_s = at_s
            smoothed, change = known.timeline.add(at_s, face.reading)
            face.smoothed = smoothed if face.reading.unreadable is None else None
            if change is not None:
                changes.append(FaceChange(number, change))
        return changes

    def close(self) -> None:
        """Forget all tracks."""
        self._tracker.reset()
        self._expressions.clear()

    def _number(
        self, frame: DecodedFrame, seen: Sequence[PersonSeen | FaceSeen], views: NDArray[np.float32] | None
    ) -> None:
        boxes = np.array([one.box_xyxy for one in seen], np.float32).reshape(-1, 4)
        scores = np.array([one.score for one in seen], np.float32)
        ids = self._tracker.update(
            _Boxes(boxes, scores),
            frame.image_bgr,
            frame.record.captured_at_ns / 1e9,
            embeddings=views,
            frame_scale=float(frame.reduce),
        )
        for one, track_id in zip(seen, ids, strict=True):
            one.track_id = int(track_id) if track_id >= 0 else None
