"""What a detector found in one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Detections"]


@dataclass(frozen=True, slots=True)
class Detections:
    """People and faces of one frame, best first.

    boxes_xyxy float32 [N, 4] in pixels of the frame, inside it; scores float32 [N] in 0..1; classes int64 [N], 0 a
    person, 1 a face; landmarks_xy float32 [N, 5, 2]: left eye as seen, right eye, nose, left and right mouth corner,
    NaN for people.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    landmarks_xy: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def of_class(self, which: int) -> Detections:
        """Only the people (0) or only the faces (1)."""
        return self.where(self.classes == which)

    def where(self, keep: NDArray[np.bool_]) -> Detections:
        """Those that a bool [N] names."""
        return Detections(self.boxes_xyxy[keep], self.scores[keep], self.classes[keep], self.landmarks_xy[keep])

    @classmethod
    def none(cls) -> Detections:
        """Nobody."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            np.zeros((0, 5, 2), np.float32),
        )
