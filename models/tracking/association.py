"""What a track and a detection have in common: overlap, and looks where these are known (BoT-SORT, section 3.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tracking.appearance import CLEAN, Appearances, Person, covered_share
from models.tracking.config import TrackingConfig

__all__ = ["LikenessIoU", "box_iou"]

NEAR = 0.7
"""With less overlap, looks bring nothing together here; who was lost is found by `Appearances`."""


class LikenessIoU:
    """In the package's IoU's place: the better of overlap and looks, looks only where near (Aharon et al., 2022)."""

    def __init__(self, tracker: Any, config: TrackingConfig) -> None:
        self._tracker = tracker
        self._config = config
        self._rows: dict[bytes, int] = {}
        self._views: NDArray[np.float32] | None = None
        self._clean: NDArray[np.bool_] = np.zeros(0, bool)
        self._appearances: Appearances | None = None

    def look(
        self,
        boxes: NDArray[np.float64],
        scores: NDArray[np.float32],
        views: NDArray[np.float32] | None,
        appearances: Appearances,
    ) -> None:
        """The detections of the frame that is matched next; weak and covered ones are matched by overlap alone."""
        self._rows = {box.tobytes(): row for row, box in enumerate(boxes)}
        self._views, self._appearances = views, appearances
        self._clean = (covered_share(boxes.astype(np.float32)) < CLEAN) & (scores >= self._config.high_score)
        if views is not None:
            self._clean &= views.any(axis=1)

    def compute(self, tracks: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes [T, 4] of tracks and [N, 4] of detections -> [T, N] in 0..1."""
        overlap = box_iou(tracks, boxes)
        if self._views is None or not len(tracks) or not len(boxes):
            return overlap
        people = {track.get_state_bbox().tobytes(): self._person(track.tracker_id) for track in self._tracker.tracks}
        rows = [self._rows[box.tobytes()] for box in boxes]
        for index, box in enumerate(tracks):
            person = people.get(box.tobytes())
            if person is None:
                continue
            cosines, clean = self._views[rows] @ person.mean, self._clean[rows]
            alike = (overlap[index] >= NEAR) & (cosines >= person.surely(self._config.same_cosine)) & clean
            overlap[index] = np.where(alike, np.maximum(overlap[index], (1 + cosines) / 2), overlap[index])
        return overlap

    def normalize_for_fusion(self, similarity: NDArray[np.float64]) -> NDArray[np.float64]:
        """As it is: it lies in 0..1 already."""
        return similarity

    def _person(self, package_id: int) -> Person | None:
        return None if package_id < 0 or self._appearances is None else self._appearances.person_of(int(package_id))


def box_iou(some: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Boxes xyxy [N, 4] and [M, 4] -> [N, M]."""
    corner = np.maximum(some[:, None, :2], others[None, :, :2])
    far = np.minimum(some[:, None, 2:], others[None, :, 2:])
    shared = np.clip(far - corner, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (some, others)]
    found: NDArray[np.float64] = shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-9)
    return found
