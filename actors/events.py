"""What the networks found, as the messages of the wire contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.config import StreamRule
from gallery.schema import Match
from models.expression import EXPRESSIONS, Reading
from models.expression.timeline import Change
from models.tracking import Split
from streams.cloudevents import result_record
from streams.messages import (
    Expression,
    ExpressionChange,
    ExpressionsResult,
    Face,
    Identity,
    PeopleResult,
    Person,
    TrackSplit,
)
from streams.outcomes import ResultRecord
from streams.records import FrameRecord

__all__ = [
    "NO_GALLERY",
    "UNAVAILABLE",
    "FaceChange",
    "FaceSeen",
    "PersonSeen",
    "expression_message",
    "frame_results",
    "rounded_box",
]

UNAVAILABLE = Match("unavailable")
# There is no such gallery: nobody could be asked. On the wire that is `off`.
NO_GALLERY: Match | None = None

BOX_DECIMALS = 2
SCORE_DECIMALS = 4


@dataclass(slots=True)
class PersonSeen:
    """One person; `box_xyxy` float32 [4] in pixels of the whole frame."""

    box_xyxy: NDArray[np.float32]
    score: float
    track_id: int | None = None
    match: Match | None = None
    embedding: NDArray[np.float32] | None = None
    """float32 [D] of unit norm; None where the stream names no identities, or the person is unreadable."""
    track_looks: NDArray[np.float32] | None = None
    """The mean over his track; None where there is no track, or too little of it."""
    fresh: bool = False
    """The embedding is of this very frame."""
    before: PersonSeen | None = None
    """The same person one frame ago, where that is beyond doubt and his embedding is to serve again."""
    unreadable: str | None = None
    """Why nobody could be recognized here."""

    @property
    def looks(self) -> NDArray[np.float32] | None:
        """What the gallery is asked by: the mean over his track where there is one, else this frame's embedding."""
        return self.embedding if self.embedding is None or self.track_looks is None else self.track_looks


@dataclass(slots=True)
class FaceSeen:
    """One face; `landmarks_xy` float32 [5, 2] in pixels of the whole frame, NaN where not found."""

    box_xyxy: NDArray[np.float32]
    score: float
    landmarks_xy: NDArray[np.float32]
    track_id: int | None = None
    reading: Reading | None = None
    smoothed: Reading | None = None
    """Over the track; None without one, and where the face is unreadable in this frame."""


@dataclass(frozen=True, slots=True)
class FaceChange:
    """Another expression leads on a track."""

    track_id: int
    change: Change


def frame_results(
    record: FrameRecord,
    rule: StreamRule,
    people: list[PersonSeen],
    faces: list[FaceSeen],
    splits: Sequence[Split] = (),
    changes: Sequence[FaceChange] = (),
) -> list[ResultRecord]:
    """One record for each topic that the stream asks for, also where nobody was found."""
    frame: dict[str, Any] = {
        "stream_id": record.stream_id,
        "seq": record.seq,
        "captured_at_ns": record.captured_at_ns,
        "width": record.width,
        "height": record.height,
    }
    records: list[ResultRecord] = []
    if "people" in rule.compute:
        found = PeopleResult(
            **frame,
            people=tuple(_person(person, rule) for person in people),
            splits=tuple(TrackSplit(track_id=one.before, new_track_id=one.after) for one in splits),
        )
        records.append(result_record(record, found))
    if "expressions" in rule.compute:
        read = ExpressionsResult(
            **frame,
            faces=tuple(_face(face) for face in faces),
            changes=tuple(_change(one, record) for one in changes),
        )
        records.append(result_record(record, read))
    return records


def rounded_box(box: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """float32 [4] -> the numbers that are sent."""
    left, top, right, bottom = (round(float(edge), BOX_DECIMALS) for edge in box)
    return left, top, right, bottom


def expression_message(reading: Reading) -> Expression:
    """A readable face's reading, rounded as it is sent."""
    probabilities = {
        name: round(float(value), SCORE_DECIMALS)
        for name, value in zip(EXPRESSIONS, reading.probabilities, strict=True)
    }
    # Rounded values may tie where the network's do not; the label is the likeliest of what is sent.
    label = max(probabilities, key=lambda name: (probabilities[name], name == reading.label))
    return Expression.model_validate(
        {
            "probabilities": probabilities,
            "label": label,
            "valence": round(reading.valence, SCORE_DECIMALS),
            "arousal": round(reading.arousal, SCORE_DECIMALS),
            "uncertainty": round(reading.uncertainty, SCORE_DECIMALS),
        }
    )


def _person(person: PersonSeen, rule: StreamRule) -> Person:
    return Person(
        box_xyxy=rounded_box(person.box_xyxy),
        score=round(person.score, SCORE_DECIMALS),
        track_id=person.track_id,
        identity=_identity(person, rule),
    )


def _identity(person: PersonSeen, rule: StreamRule) -> Identity:
    match = person.match
    if match is None:
        gallery = rule.gallery if "identities" in rule.compute else None
        return Identity(status="off", gallery=gallery, unreadable=person.unreadable)
    return Identity(
        status=match.status,
        gallery=rule.gallery,
        identity_id=match.identity_id,
        name=match.name,
        score=None if match.score is None else round(match.score, SCORE_DECIMALS),
        margin=None if match.margin is None else round(match.margin, SCORE_DECIMALS),
        probability=None if match.probability is None else round(match.probability, SCORE_DECIMALS),
        provisional=match.provisional,
    )


def _face(face: FaceSeen) -> Face:
    points = face.landmarks_xy
    landmarks = tuple((round(float(x), BOX_DECIMALS), round(float(y), BOX_DECIMALS)) for x, y in points)
    reading = face.reading
    readable = reading is not None and reading.unreadable is None and reading.label is not None
    return Face(
        box_xyxy=rounded_box(face.box_xyxy),
        score=round(face.score, SCORE_DECIMALS),
        landmarks_xy=landmarks if np.isfinite(points).all() else None,  # type: ignore[arg-type]
        track_id=face.track_id,
        expression=expression_message(reading) if readable and reading is not None else None,
        unreadable=None if readable else (reading.unreadable if reading is not None else None) or "not read",
        smoothed=None if face.smoothed is None else expression_message(face.smoothed),
    )


def _change(one: FaceChange, record: FrameRecord) -> ExpressionChange:
    return ExpressionChange.model_validate(
        {
            "track_id": one.track_id,
            "at_ns": min(record.captured_at_ns, round(one.change.at_s * 1e9)),
            "before": one.change.before,
            "after": one.change.after,
        }
    )
