"""Follow people through one stream with a tracker of the `trackers` package (docs/adr/0003)."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.tracking.config import TrackingConfig

__all__ = ["Boxes", "Tracker"]

UNCONFIRMED = -1
BUFFER_FPS = 30.0
"""The package counts its buffer of lost tracks in frames at this rate, whatever the stream's."""
SMALLEST_STEP_S = 1e-3


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
        self._first_id = 0  # what the package's 0 is called here
        self._next_id = 0
        self._last_s: float | None = None
        self._shift_s = 0.0

    def update(
        self, detections: Boxes, frame_bgr: NDArray[np.uint8] | None = None, captured_at_s: float | None = None
    ) -> NDArray[np.int64]:
        """The track of each detection of the next frame.

        `frame_bgr` uint8 [H, W, 3] is used with `camera_motion` only. `captured_at_s` is the frame's
        capture time: motion is predicted over the time that really passed, so a dropped frame does no harm. Give it
        for every frame of a stream or for none. A time that does not rise is taken as just after the last; one
        that goes back by more than `lost_s` as a clock set anew.
        Returns: int64 [N] in the order of the detections; -1 where no track is confirmed. A number is never given to
        a second track of the stream, not even after `reset`.
        Raises: ValueError if boxes and scores differ in number or are not finite.
        """
        boxes, scores = detections.boxes_xyxy, detections.scores
        count = len(scores)
        if boxes.shape != (count, 4) or not np.isfinite(boxes).all() or not np.isfinite(scores).all():
            raise ValueError(
                f"expected finite boxes [{count}, 4] and scores [{count}], got {boxes.shape} {scores.shape}"
            )
        rows = self._supervision.Detections(
            xyxy=boxes.astype(np.float64),
            confidence=scores.astype(np.float64),
            class_id=np.arange(count),  # the package changes the order and may leave rows out
        )
        tracked = self._tracker.update(rows, self._frame(frame_bgr), self._rising(captured_at_s))
        ids = np.full(count, UNCONFIRMED, np.int64)
        if len(tracked):
            own = np.asarray(tracked.tracker_id, np.int64)
            ids[tracked.class_id] = np.where(own < 0, UNCONFIRMED, own + self._first_id)
            self._next_id = max(self._next_id, int(ids.max()) + 1)
        return ids

    def reset(self) -> None:
        """Forget every track, as after a cut or when a stream starts afresh; numbers go on."""
        self._tracker.reset()
        self._first_id = self._next_id
        self._last_s = None
        self._shift_s = 0.0

    def _frame(self, frame_bgr: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
        return frame_bgr if self.config.camera_motion else None  # trackers without it warn about a frame

    def _rising(self, captured_at_s: float | None) -> float | None:
        """The package skips a frame whose time is before the last one's. A clock set back goes on from there."""
        if captured_at_s is None:
            return None
        at_s = captured_at_s + self._shift_s
        if self._last_s is not None and at_s <= self._last_s:
            if self._last_s - at_s > self.config.lost_s:
                self._shift_s += self._last_s + 1 / self.config.frame_rate - at_s
                at_s = captured_at_s + self._shift_s
            else:
                at_s = self._last_s + SMALLEST_STEP_S
        self._last_s = at_s
        return at_s


def _make(config: TrackingConfig) -> Any:
    """The package's tracker with this configuration; its own names differ a little between trackers."""
    package = importlib.import_module("trackers")
    common = {"lost_track_buffer": round(config.lost_s * BUFFER_FPS), "frame_rate": config.frame_rate}
    confirm = {"minimum_consecutive_frames": config.confirm_frames}
    high = {"high_conf_det_threshold": config.high_score}
    new = {"track_activation_threshold": config.new_score}
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
                enable_cmc=config.camera_motion,
                instant_first_frame_activation=False,
            )
        case "cbiou":
            return package.CBIoUTracker(**common, **confirm, **high, **new, instant_first_frame_activation=False)
        case "sort":
            return package.SORTTracker(**common, **confirm, **new)
