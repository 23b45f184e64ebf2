"""Faces made unrecognizable in pictures that leave: by blur or pixels, on the track of each face, with a margin.

A detector loses a face now and then, and finds it some frames late. So every place where a face was is hidden from
`BEFORE_S` before it was found until `AFTER_S` after it was last seen, and on the way between two sightings; pictures
come out that much later than they went in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.config import Privacy
from models.detection import FACE, PERSON, Detections, Detector
from models.detection.spec import DETECTION_SMALL
from models.engine import EngineConfig, load_engine

__all__ = ["FAINT_SCORE", "NEW_SCORE", "Veil", "faces_and_heads", "hidden_frames", "hide_faces"]

FAINT_SCORE, NEW_SCORE = 0.1, 0.3
"""From NEW_SCORE on a face is hidden; fainter ones keep a face hidden that is known, where they lie close to it."""
BEFORE_S, AFTER_S = 1.0, 1.0
MARGIN = 0.3
DRIFT_A_S = 0.5
"""How much of its size a face is taken to move in a second while it is not seen."""
CELLS = 4
HEAD_HIGH, HEAD_WIDE = 0.2, 0.6
FACE_WITHIN = 0.5
"""Of a person's box. The face of somebody who is cut off below the chest is low in it."""
Image = NDArray[np.uint8]
Box = NDArray[np.float32]
T = TypeVar("T")


def hide_faces(image_bgr: Image, boxes_xyxy: NDArray[np.float32], privacy: Privacy) -> Image:
    """A copy of uint8 [H, W, 3] with the boxes float32 [N, 4] (margin included by the caller) blurred or pixelated."""
    out = image_bgr.copy()
    if privacy == "none":
        return out
    height, width = image_bgr.shape[:2]
    for box in boxes_xyxy:
        left, top = (max(0, int(np.floor(value))) for value in box[:2])
        right, bottom = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
        if right <= left or bottom <= top:
            continue
        part = out[top:bottom, left:right]
        # Nothing finer than a quarter of the box is left, so the blur cannot be undone by sharpening.
        coarse = cv2.resize(part, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        smooth = cv2.INTER_NEAREST if privacy == "pixelate" else cv2.INTER_CUBIC
        out[top:bottom, left:right] = cv2.resize(coarse, (right - left, bottom - top), interpolation=smooth)
    return out


def hidden_frames(frames: Iterable[Image], fps: float, privacy: Privacy) -> Iterator[Image]:
    """The pictures of a clip, uint8 [H, W, 3], with every face hidden, found by our larger detector."""
    if privacy == "none":
        yield from frames
        return
    veil: Veil[None] = Veil(privacy)
    with load_engine(DETECTION_SMALL, EngineConfig(), from_uint8=True) as engine:
        detector = Detector(engine, threshold=FAINT_SCORE, spec=DETECTION_SMALL)
        for index, image in enumerate(frames):
            [found] = detector.detect([image])
            for picture, _ in veil.add(index / fps, image, faces_and_heads(found), None):
                yield picture
    for picture, _ in veil.finish():
        yield picture


def faces_and_heads(found: Detections) -> Detections:
    """The faces, and the heads of people whose face was not found: the top of their box, in the middle.

    A face is a person's where one is sure of it and its middle lies in the upper half of his box: what is taken for a
    face on somebody's chest or hand leaves the head to be hidden.
    """
    faces, people = found.of_class(FACE), found.of_class(PERSON)
    sure = faces.where(faces.scores >= NEW_SCORE).boxes_xyxy
    middles = (sure[:, :2] + sure[:, 2:]) / 2
    boxes = people.boxes_xyxy.copy()
    boxes[:, 3] = boxes[:, 1] + FACE_WITHIN * (boxes[:, 3] - boxes[:, 1])
    inside = (middles[None] >= boxes[:, None, :2]) & (middles[None] <= boxes[:, None, 2:])
    faceless = people.where(~np.any(np.all(inside, axis=2), axis=1))
    left, top, right, bottom = faceless.boxes_xyxy.T
    side = (1 - HEAD_WIDE) / 2 * (right - left)
    heads = np.stack((left + side, top, right - side, top + HEAD_HIGH * (bottom - top)), axis=1)
    both = np.concatenate((faces.boxes_xyxy, heads.astype(np.float32)))
    scores = np.concatenate((faces.scores, faceless.scores))
    marks = np.concatenate((faces.landmarks_xy, faceless.landmarks_xy))
    return Detections(both, scores, np.full(len(scores), FACE), marks)


@dataclass(slots=True)
class _Track:
    box: Box
    seen_s: float


@dataclass(slots=True)
class _Waiting(Generic[T]):
    time_s: float
    image_bgr: Image
    carried: T
    boxes: list[Box] = field(default_factory=list)


class Veil(Generic[T]):
    """Hides the faces of one clip or stream. Give every frame to `add`, in order; what was given with it comes out
    beside the hidden picture, `BEFORE_S` later, the rest at `finish`.
    """

    def __init__(self, privacy: Privacy, *, before_s: float = BEFORE_S, after_s: float = AFTER_S) -> None:
        self._privacy = privacy
        self._before_s, self._after_s = before_s, after_s
        self._waiting: deque[_Waiting[T]] = deque()
        self._tracks: list[_Track] = []

    def add(self, time_s: float, image_bgr: Image, faces: Detections, carried: T) -> list[tuple[Image, T]]:
        """A frame and every face in it from FAINT_SCORE on, best first -> the frames that are due. Times rise."""
        self._waiting.append(_Waiting(time_s, image_bgr, carried))
        if self._privacy != "none":
            self._follow(time_s, faces)
        due_s = time_s - (self._before_s if self._privacy != "none" else 0.0)
        out = []
        while self._waiting and (self._waiting[0].time_s < due_s or self._privacy == "none"):
            out.append(self._out())
        return out

    def finish(self) -> list[tuple[Image, T]]:
        """The frames that are still held back."""
        return [self._out() for _ in range(len(self._waiting))]

    def _out(self) -> tuple[Image, T]:
        frame = self._waiting.popleft()
        boxes = np.array(frame.boxes, np.float32).reshape(-1, 4)
        return hide_faces(frame.image_bgr, boxes, self._privacy), frame.carried

    def _follow(self, time_s: float, faces: Detections) -> None:
        self._tracks = [track for track in self._tracks if time_s - track.seen_s <= self._after_s]
        unseen = list(self._tracks)
        for face, score in zip(faces.boxes_xyxy, faces.scores, strict=True):
            track = max(unseen, key=lambda one: _nearness(one.box, face), default=None)
            if track is not None and _nearness(track.box, face) > 0:
                unseen = [one for one in unseen if one is not track]
                self._hide_between(track, time_s, face)
                track.box, track.seen_s = face, time_s
            elif score >= NEW_SCORE:
                self._hide_before(time_s, face)
                self._tracks.append(_Track(face, time_s))
        for track in unseen:
            self._waiting[-1].boxes.append(_grown(track.box, time_s - track.seen_s))

    def _hide_between(self, track: _Track, time_s: float, face: Box) -> None:
        """All the way from where the track was last seen to where it is now."""
        gap_s = time_s - track.seen_s
        for frame in self._waiting:
            if track.seen_s < frame.time_s <= time_s:
                share = (frame.time_s - track.seen_s) / gap_s if gap_s > 0 else 1.0
                nearest_s = min(frame.time_s - track.seen_s, time_s - frame.time_s)
                frame.boxes.append(_grown(track.box + np.float32(share) * (face - track.box), nearest_s))

    def _hide_before(self, time_s: float, face: Box) -> None:
        """A new face was there already before it was found."""
        for frame in self._waiting:
            if time_s - frame.time_s <= self._before_s:
                frame.boxes.append(_grown(face, time_s - frame.time_s))


def _grown(box: Box, unseen_s: float) -> Box:
    size = np.tile(box[2:] - box[:2], 2)
    signs = np.array((-1, -1, 1, 1), np.float32)
    return np.asarray(box + signs * size * np.float32(MARGIN + DRIFT_A_S * unseen_s), np.float32)


def _nearness(one: Box, other: Box) -> float:
    """1 for the same place; 0 and less where the middles are a face apart, or the sizes differ by far."""
    size_one, size_other = (float(np.sqrt(max(0.0, np.prod(box[2:] - box[:2])))) for box in (one, other))
    if min(size_one, size_other) <= 0 or max(size_one, size_other) > 2.5 * min(size_one, size_other):
        return -1.0
    apart = float(np.hypot(*((one[:2] + one[2:] - other[:2] - other[2:]) / 2)))
    return 1 - apart / max(size_one, size_other)
