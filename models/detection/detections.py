"""What a detector found in one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputShapeError

__all__ = ["CLASSES", "FACE", "PERSON", "Detections"]

CLASSES = ("person", "face")
PERSON, FACE = 0, 1

_SHAPES: Mapping[str, tuple[tuple[int, ...], type[np.generic]]] = {
    "boxes_xyxy": ((4,), np.float32),
    "scores": ((), np.float32),
    "classes": ((), np.int64),
    "landmarks_xy": ((5, 2), np.float32),
}


@dataclass(frozen=True, slots=True)
class Detections:
    """People and faces of one frame, by falling score within a class, people first.

    Shapes: boxes_xyxy float32 [N, 4] pixels of the frame, clipped to it; scores float32 [N] in [0, 1]; classes int64
    [N], 0 person, 1 face; landmarks_xy float32 [N, 5, 2] pixels (the eye that is left in the picture, the right one,
    nose, left and right corner of the mouth), NaN for people.
    Raises: InputShapeError where a dtype or shape differs.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    landmarks_xy: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        for name, (rest, kind) in _SHAPES.items():
            array = getattr(self, name)
            if array.dtype != kind or array.shape != (count, *rest):
                raise InputShapeError(
                    f"detections.{name}: expected {np.dtype(kind)} {[count, *rest]}, got {array.dtype} "
                    f"{list(array.shape)}; every array has one row a detection"
                )

    @classmethod
    def none(cls) -> Detections:
        """A frame in which nothing was found."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            np.zeros((0, 5, 2), np.float32),
        )

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def __getitem__(self, chosen: NDArray[Any] | slice) -> Detections:
        """The detections of a mask, of indices, or of a slice."""
        return Detections(self.boxes_xyxy[chosen], self.scores[chosen], self.classes[chosen], self.landmarks_xy[chosen])

    @property
    def people(self) -> Detections:
        return self[self.classes == PERSON]

    @property
    def faces(self) -> Detections:
        return self[self.classes == FACE]
