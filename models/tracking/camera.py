"""How the picture moves as a whole between two frames, by the sparse optical flow of the package `trackers`."""

from __future__ import annotations

import importlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CameraMotion"]

LONG_SIDE = 240
"""Of the picture that is looked at: a quarter of the time of the whole, and as good for boxes."""
CORNERS, CORNERS_APART_PX = 200, 4
MOVED_PX = 0.5
"""In that picture; a mounted camera's noise stays under a fifth of it."""
THUMBNAIL_WH, CHANGED = (32, 18), 1.0
"""Half of a thumbnail's grey values have to change by so much: people alone change fewer."""
STILL_AFTER = 30
STILL = np.eye(2, 3, dtype=np.float32)
Image = NDArray[np.uint8]


class CameraMotion:
    """The affine motion from the last frame to this one, for `trackers.BoTSORTTracker.cmc`.

    With `always` the flow of every frame is computed. Without, only while the picture changes as a whole: a mounted
    camera costs little.
    """

    def __init__(self, *, always: bool) -> None:
        package = importlib.import_module("trackers.utils.cmc")
        self._flow: Any = package.CMC(
            package.CMCConfig(downscale=1, sof_max_corners=CORNERS, sof_min_distance=CORNERS_APART_PX)
        )
        self._always = always
        self.scale = 1.0
        """Pixels of the boxes to one of the pictures that come."""
        self.reset()

    @property
    def moving(self) -> bool:
        """Whether the camera moved of late."""
        return self._still_for < STILL_AFTER

    def reset(self) -> None:
        """Forget the last frame."""
        self._last: Image | None = None
        self._thumbnail: NDArray[np.float32] | None = None
        self._flows = False
        self._still_for = STILL_AFTER

    def estimate(self, frame_bgr: Image, _boxes: object = None) -> NDArray[np.float32]:
        """float32 [2, 3]: where a point of the last frame is in this one, in pixels of the boxes."""
        small = _small(frame_bgr)
        last, self._last = self._last, small
        if last is None or last.shape != small.shape or not (self._always or self.moving or self._changed(small)):
            self._flows = False
            return STILL
        if not self._flows:  # what the flow remembers is not the frame before
            self._flow.reset()
            self._flow.estimate(cv2.cvtColor(last, cv2.COLOR_GRAY2BGR))
            self._flows = True
        found = np.array(self._flow.estimate(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)), np.float32)
        corners = np.array([[0, 0, 1], [small.shape[1], 0, 1], [0, small.shape[0], 1]], np.float32)
        moved = float(np.abs(corners @ found.T - corners[:, :2]).max())
        self._still_for = 0 if moved >= MOVED_PX else self._still_for + 1
        found[:, 2] *= self.scale * frame_bgr.shape[1] / small.shape[1]
        return found if self.moving else STILL

    def _changed(self, small: Image) -> bool:
        """Since the last time that it had changed, so that a slow pan adds up."""
        grey = np.asarray(cv2.resize(small, THUMBNAIL_WH, interpolation=cv2.INTER_AREA), np.float32)
        if self._thumbnail is not None and float(np.median(np.abs(grey - self._thumbnail))) < CHANGED:
            return False
        self._thumbnail = grey
        return True


def _small(frame_bgr: Image) -> Image:
    """Its green, uint8 [h, w], at most LONG_SIDE long; leaving pixels out first costs a tenth of a mean."""
    step = max(1, max(frame_bgr.shape[:2]) // (2 * LONG_SIDE))
    green = np.ascontiguousarray(frame_bgr[::step, ::step, 1])
    ratio = min(1.0, LONG_SIDE / max(green.shape))
    return np.asarray(cv2.resize(green, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA), np.uint8)
