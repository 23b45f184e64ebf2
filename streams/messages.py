"""The messages that Foveal sends, version 1: frozen, with no field that the schema does not name.

Pixels never enter pydantic: a render's image is the record's value, and `RenderResult` describes it in the header
`foveal-render`. Who reads these messages uses `streams.cloudevents.parse_result`, which lets fields of a later
release pass. Boxes and landmarks are in pixels of the whole frame, x to the right and y down.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from streams.headers import OutputFormat

__all__ = [
    "EXPRESSIONS",
    "DeadLetter",
    "DeadOffset",
    "DropReason",
    "DroppedOffset",
    "Expression",
    "ExpressionChange",
    "ExpressionName",
    "ExpressionsResult",
    "Face",
    "FrameResult",
    "Identity",
    "IdentityStatus",
    "Message",
    "Outcome",
    "PeopleResult",
    "Person",
    "RenderResult",
    "ResetReason",
    "TrackSplit",
]

ExpressionName = Literal["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
IdentityStatus = Literal["known", "unknown", "unavailable", "off"]
ResetReason = Literal["first_frame", "cut", "gap", "size", "scene", "requested", "rebalance"]

EXPRESSIONS: tuple[ExpressionName, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

# Seven float32 probabilities of a softmax, each rounded to four decimals, stay within this of a sum of one.
SUM_TOLERANCE = 1e-3

Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
Point = tuple[FiniteFloat, FiniteFloat]
Unit = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]
Offset = Annotated[int, Field(ge=0)]


class DropReason(StrEnum):
    """Why a sound record was not worked on."""

    STALE = "stale"
    AWAIT_KEYFRAME = "await_keyframe"
    DUPLICATE = "duplicate"


class Message(BaseModel):
    """A part of a message: frozen, and a name it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FrameResult(Message):
    """What every result says of its frame. `captured_at_ns` is the producer's `captured-at`."""

    schema_version: Literal[1] = 1
    stream_id: str = Field(min_length=1)
    seq: int = Field(ge=0)
    captured_at_ns: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class Identity(Message):
    """Who a person is in a gallery.

    `unknown` means that the gallery was asked and nobody in it is near enough; `unavailable` that it could not be
    asked; `off` that the stream has no gallery. `margin` is how far `score` is above the next identity's; `probability`
    that the best identity is the right one, where the gallery is calibrated. `provisional` is the id under which the
    gallery remembers somebody unknown, where it does. `off` with `unreadable`: so little shows of the person that
    nobody was asked.
    """

    status: IdentityStatus
    gallery: str | None = None
    identity_id: str | None = None
    name: str | None = None
    score: FiniteFloat | None = None
    margin: FiniteFloat | None = None
    probability: FiniteFloat | None = None
    provisional: str | None = None
    unreadable: str | None = None

    @model_validator(mode="after")
    def _only_the_known_are_named(self) -> Self:
        if (self.status == "known") != (self.identity_id is not None):
            raise ValueError(f"status {self.status!r}: identity_id goes with 'known', and only with it")
        if self.provisional is not None and self.status != "unknown":
            raise ValueError(f"status {self.status!r}: provisional goes with 'unknown' only")
        if self.unreadable is not None and self.status != "off":
            raise ValueError(f"status {self.status!r}: unreadable goes with 'off' only")
        return self


class Person(Message):
    """One person in one frame; `track_id` is None until the track is confirmed."""

    box_xyxy: Box
    score: Unit
    track_id: int | None = Field(default=None, ge=0)
    identity: Identity


class TrackSplit(Message):
    """A track turned out to show another person than before: from this frame on it has another number."""

    track_id: int = Field(ge=0)
    new_track_id: int = Field(ge=0)


class PeopleResult(FrameResult):
    """`foveal.people`: the people of one frame."""

    people: tuple[Person, ...]
    splits: tuple[TrackSplit, ...] = ()


class Expression(Message):
    """One face's expression as a distribution. `uncertainty`: 0 sure, 1 knows nothing."""

    probabilities: dict[ExpressionName, Unit] = Field(min_length=len(EXPRESSIONS), max_length=len(EXPRESSIONS))
    label: ExpressionName
    valence: Signed
    arousal: Signed
    uncertainty: Unit

    @model_validator(mode="after")
    def _probabilities_are_a_distribution(self) -> Self:
        total = math.fsum(self.probabilities.values())
        if abs(total - 1) > SUM_TOLERANCE:
            raise ValueError(f"probabilities: expected a sum of 1 within {SUM_TOLERANCE}, got {total:.6f}")
        if self.probabilities[self.label] < max(self.probabilities.values()):
            raise ValueError(f"label: expected the most probable expression, got {self.label!r}")
        return self


class Face(Message):
    """One face in one frame. Landmarks: the left eye in the picture, the right one, nose, mouth left, mouth right.

    Exactly one of `expression`, what was read of this frame alone, and `unreadable` (why it could not be read) is
    given. `smoothed` is the reading over the track, where there is one and this frame's face is readable. `track_id`
    is the person's; in a stream that computes no people it is the face's own.
    """

    box_xyxy: Box
    score: Unit
    landmarks_xy: tuple[Point, Point, Point, Point, Point] | None = None
    track_id: int | None = Field(default=None, ge=0)
    expression: Expression | None = None
    unreadable: str | None = None
    smoothed: Expression | None = None

    @model_validator(mode="after")
    def _read_or_unreadable(self) -> Self:
        if (self.expression is None) == (self.unreadable is None):
            raise ValueError("a face has either an expression or a reason in 'unreadable'")
        if self.smoothed is not None and self.expression is None:
            raise ValueError("smoothed: expected none where the face is unreadable")
        return self

    @property
    def shown(self) -> Expression | None:
        """What to show somebody: the reading over the track where there is one, for single frames flicker."""
        return self.smoothed or self.expression


class ExpressionChange(Message):
    """Another expression has led a track's smoothed reading for long enough; it took the lead at `at_ns`, in the
    producer's `captured-at`. `before` is None for a track's first."""

    track_id: int = Field(ge=0)
    at_ns: int = Field(ge=0)
    before: ExpressionName | None = None
    after: ExpressionName


class ExpressionsResult(FrameResult):
    """`foveal.expressions`: the faces of one frame, and the changes that became sure with it."""

    faces: tuple[Face, ...]
    changes: tuple[ExpressionChange, ...] = ()


class RenderResult(FrameResult):
    """`foveal.renders`, header `foveal-render`: describes the image in the record's value.

    `history_frames` is how many frames before it the image draws on; `reset_reason` says why that is none.
    `half` is little-endian float16 [height, width, 3], RGB, linear, row by row; `exr` is linear, too.
    """

    content: OutputFormat
    history_frames: int = Field(ge=0)
    reset_reason: ResetReason | None = None
    scene: str | None = None
    exposure: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _a_reset_has_no_history(self) -> Self:
        if self.reset_reason is not None and self.history_frames:
            raise ValueError("history_frames: expected 0 where there is a reset_reason")
        return self


class DroppedOffset(Message):
    """One input offset that was dropped; `age_ms` is from its append to the decision."""

    offset: Offset
    reason: DropReason
    age_ms: int = Field(ge=0)


class DeadOffset(Message):
    """One input offset that went to the dead letters; `error` is the error's class."""

    offset: Offset
    error: str


class Outcome(Message):
    """`foveal.outcomes`: what one transaction ended on one partition. Each offset is in exactly one of the three.

    `results` are runs of offsets, first and last inclusive, ascending. A frame in parts ends all its offsets.
    """

    schema_version: Literal[1] = 1
    group: str = Field(min_length=1)
    input_topic: str = Field(min_length=1)
    partition: int = Field(ge=0)
    results: tuple[tuple[Offset, Offset], ...]
    drops: tuple[DroppedOffset, ...]
    deadletters: tuple[DeadOffset, ...]
    ended_at_ns: int = Field(ge=0)

    @model_validator(mode="after")
    def _each_offset_once(self) -> Self:
        last = -1
        for run in self.results:
            if not last < run[0] <= run[1]:
                raise ValueError(f"results: expected ascending runs (first, last), got {run} after {last}")
            last = run[1]
        single = [drop.offset for drop in self.drops] + [dead.offset for dead in self.deadletters]
        if len(set(single)) != len(single):
            raise ValueError("drops and deadletters: an offset is named twice")
        if any(first <= offset <= last for offset in single for first, last in self.results):
            raise ValueError("results: an offset is in drops or deadletters as well")
        return self

    @property
    def offset_count(self) -> int:
        """How many input offsets this ends."""
        return sum(last - first + 1 for first, last in self.results) + len(self.drops) + len(self.deadletters)


class DeadLetter(Message):
    """What the headers `foveal-origin`, `foveal-error` and `foveal-error-message` of a dead letter say.

    Key, value and all other headers of the record in `foveal.deadletters` are as they came.
    """

    origin: str
    error: str
    message: str
