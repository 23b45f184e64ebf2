"""Follow people through one stream: a tracker of the `trackers` package (docs/adr/0003), with how people look."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.tracking.appearance import Appearances, Split
from models.tracking.association import LikenessIoU
from models.tracking.camera import CameraMotion
from models.tracking.config import TrackingConfig

__all__ = ["Boxes", "Tracker"]

UNCONFIRMED = -1
BUFFER_FPS = 30.0
"""The package counts its buffer of lost tracks in frames at this rate, whatever the stream's."""
SMALLEST_STEP_S = 1 / 240
"""Frames that were stamped as they arrived, in a burst, would otherwise seem to move at breakneck speed."""
EDGE = 0.01
"""Of the frame's width: a box that comes so near to it is cut."""


class Boxes(Protocol):
    """What a tracker needs of `models.detection.Detections`: boxes float32 [N, 4] in pixels, scores float32 [N]."""

    @property
    def boxes_xyxy(self) -> NDArray[np.float32]: ...

    @property
    def scores(self) -> NDArray[np.float32]: ...


class Tracker:
    """The tracks of one stream. Not for several threads at once."""

    def __init__(self, config: TrackingConfig | None = None) -> None:
        """Imports the package, which takes a second the first time in a process."""
        self.config = config or TrackingConfig()
        self._supervision = importlib.import_module("supervision")
        self._tracker = _make(self.config)
        self._camera: CameraMotion | None = None
        self._likeness: LikenessIoU | None = None
        if self.config.method == "botsort":
            self._likeness = self._tracker.iou = LikenessIoU(self._tracker, self.config)
            if self.config.camera_motion != "off":
                self._camera = self._tracker.cmc = CameraMotion(always=self.config.camera_motion == "always")
        self._appearances = Appearances(self.config)
        self._splits: list[Split] = []
        self._last_s: float | None = None
        self._shift_s = 0.0
        self._frames = 0
        self._now_s: float | None = None

    def update(
        self,
        detections: Boxes,
        frame_bgr: NDArray[np.uint8] | None = None,
        captured_at_s: float | None = None,
        *,
        embeddings: NDArray[np.float32] | None = None,
        frame_scale: float = 1.0,
    ) -> NDArray[np.int64]:
        """The track of each detection of the next frame.

        `frame_bgr` uint8 [H, W, 3] shows how the camera moves; `frame_scale` is how many pixels of the boxes one of its
        pixels is. `embeddings` float32 [N, D], unit norm, are how the detected people look; a row of zeros: not known.
        `captured_at_s` is the frame's capture time: motion is predicted over the time that really passed, so a dropped
        frame does no harm. Give it for every frame of a stream or for none. A time that hardly rises, or falls, is
        taken as just after the last; one that goes back by more than `lost_s` as a clock set anew.
        Returns: int64 [N] in the order of the detections; -1 where no track is confirmed. A number means one person: it
        is given again only to somebody who was lost and, by his looks, has come back; never after `reset`. `splits`
        tells of numbers whose track turned out to show somebody else.
        Raises: ValueError if boxes, scores and embeddings differ in number or are not finite.
        """
        boxes, scores = detections.boxes_xyxy, detections.scores
        count = len(scores)
        if boxes.shape != (count, 4) or not np.isfinite(boxes).all() or not np.isfinite(scores).all():
            raise ValueError(
                f"expected finite boxes [{count}, 4] and scores [{count}], got {boxes.shape} {scores.shape}"
            )
        if embeddings is not None and (len(embeddings) != count or not np.isfinite(embeddings).all()):
            raise ValueError(f"expected {count} finite embeddings, got {embeddings.shape}")
        if embeddings is not None and frame_bgr is not None:
            embeddings = _without_cut(embeddings, boxes, frame_scale * frame_bgr.shape[1])
        rows = self._supervision.Detections(
            xyxy=boxes.astype(np.float64),
            confidence=_stretched(scores.astype(np.float64), self.config.high_score),
            class_id=np.arange(count),  # the package changes the order and may leave rows out
        )
        if self._likeness is not None:
            self._likeness.look(rows.xyxy, scores, embeddings, self._appearances)
        if self._camera is not None:
            self._camera.scale = frame_scale
        at_s = self._rising(captured_at_s)
        tracked = self._tracker.update(rows, frame_bgr if self._camera is not None else None, at_s)
        ids = np.full(count, UNCONFIRMED, np.int64)
        if len(tracked):
            ids[tracked.class_id] = np.asarray(tracked.tracker_id, np.int64)
        self._frames += 1
        self._now_s = at_s if at_s is not None else self._frames / self.config.frame_rate
        numbers, self._splits = self._appearances.number(self._now_s, ids, boxes, embeddings)
        return numbers

    def trust(self, number: int) -> float:
        """How long one view of a number's track serves, as a share of the longest time: 0 where each is needed."""
        return 0.0 if self._now_s is None else self._appearances.trust(number, self._now_s)

    def looks(self, number: int) -> NDArray[np.float32] | None:
        """How a number's person looks over all clear views, float32 [D] of unit norm; None where that is not known."""
        return self._appearances.looks(number)

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those that the last update found."""
        return tuple(self._splits)

    def reset(self) -> None:
        """Forget every track, as after a cut or when a stream starts afresh; numbers go on."""
        self._tracker.reset()
        self._appearances = Appearances(self.config, self._appearances.next_number)
        self._splits = []
        self._last_s = None
        self._shift_s = 0.0

    def _rising(self, captured_at_s: float | None) -> float | None:
        """The package skips a frame whose time is before the last one's. A clock set back goes on from there."""
        if captured_at_s is None:
            return None
        at_s = captured_at_s + self._shift_s
        if self._last_s is not None and at_s < self._last_s + SMALLEST_STEP_S:
            if self._last_s - at_s > self.config.lost_s:
                self._shift_s += self._last_s + 1 / self.config.frame_rate - at_s
                at_s = captured_at_s + self._shift_s
            else:
                at_s = self._last_s + SMALLEST_STEP_S
        self._last_s = at_s
        return at_s


def _without_cut(
    embeddings: NDArray[np.float32], boxes: NDArray[np.float32], frame_width: float
) -> NDArray[np.float32]:
    """Zeros for people whom the frame's left or right edge cuts: who walks out looks less and less like himself."""
    margin = EDGE * frame_width
    cut = (boxes[:, 0] <= margin) | (boxes[:, 2] >= frame_width - margin)
    return np.where(cut[:, None], np.float32(0), embeddings)


def _stretched(scores: NDArray[np.float64], high_score: float) -> NDArray[np.float64]:
    """Scores by which a detector that is sure from `high_score` on counts like one that is from 0.5 on.

    The package weighs overlaps by scores and holds them against fixed thresholds: a detector whose scores are low
    would lose people for it.
    """
    low = 0.5 * scores / max(high_score, 1e-6)
    high = 0.5 + 0.5 * (scores - high_score) / max(1 - high_score, 1e-6)
    return np.where(scores < high_score, low, high)


def _make(config: TrackingConfig) -> Any:
    """The package's tracker with this configuration; its own names differ a little between trackers."""
    package = importlib.import_module("trackers")
    new_score = float(_stretched(np.array([config.new_score]), config.high_score)[0])
    common = {"lost_track_buffer": round(config.lost_s * BUFFER_FPS), "frame_rate": config.frame_rate}
    confirm = {"minimum_consecutive_frames": config.confirm_frames}
    high = {"high_conf_det_threshold": 0.5}
    new = {"track_activation_threshold": new_score}
    match config.method:
        case "bytetrack":
            return package.ByteTrackTracker(**common, **confirm, **high, **new)
        case "ocsort":
            return package.OCSORTTracker(**common, **confirm, **high)
        case "botsort":
            return package.BoTSORTTracker(
                **common,
                **confirm,
                **high,
                **new,
                enable_cmc=config.camera_motion != "off",
                instant_first_frame_activation=False,
            )
        case "cbiou":
            return package.CBIoUTracker(**common, **confirm, **high, **new, instant_first_frame_activation=False)
        case "sort":
            return package.SORTTracker(**common, **confirm, **new)
