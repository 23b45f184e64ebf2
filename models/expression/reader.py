"""Faces of many frames to readings, in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.engine import Engine
from models.errors import InputShapeError
from models.expression.postprocess import Reading, framed_by_box, readings_of, unreadable_reading
from models.expression.preprocess import (
    align_face,
    check_frame,
    flaw_of_box,
    flaw_of_face,
    flaw_of_place,
    normalize_faces,
)
from models.expression.spec import EXPRESSION_NANO
from models.spec import ModelSpec

__all__ = ["BATCHES", "ExpressionReader"]

BATCHES = (1, 2, 4, 8, 12, 16, 24, 32)
"""Sizes a batch is filled up to: an engine tunes itself for each size that it meets, so it should meet few."""


class ExpressionReader:
    """The expression network behind arrays.

    `engine` is `load_engine(EXPRESSION_NANO, ...)`, with `from_uint8=True` (cheaper) or without.
    """

    def __init__(self, engine: Engine, spec: ModelSpec = EXPRESSION_NANO) -> None:
        self._engine = engine
        self._spec = spec
        self._takes_pixels = engine.inputs[0].dtype == "uint8"

    def read(
        self,
        frames_bgr: Sequence[NDArray[np.uint8]],
        boxes_xyxy: Sequence[NDArray[np.float32]],
        landmarks_xy: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> list[Reading]:
        """Read every face of every frame; faces below the quality floor never reach the network.

        Shapes: frames uint8 [H, W, 3] BGR 0-255, each of its own size; boxes float32 [Ni, 4] pixels of their frame;
        landmarks float32 [Ni, 5, 2] pixels or None, a frame (a row with NaN: none for that face, and a less sure
        reading) -> sum Ni readings, frame by frame.
        Raises: InputShapeError, EngineError.
        """
        landmarks = landmarks_xy if landmarks_xy is not None else [None] * len(frames_bgr)
        if not len(frames_bgr) == len(boxes_xyxy) == len(landmarks):
            raise InputShapeError(
                f"expected boxes and landmarks for each of {len(frames_bgr)} frames, "
                f"got {len(boxes_xyxy)} and {len(landmarks)}"
            )
        faces: list[NDArray[np.uint8]] = []
        by_box: list[bool] = []
        readings: list[Reading | None] = []
        for index, (frame, boxes, points) in enumerate(zip(frames_bgr, boxes_xyxy, landmarks, strict=True)):
            check_frame(frame, index)
            if boxes.shape != (len(boxes), 4) or (points is not None and points.shape != (len(boxes), 5, 2)):
                raise InputShapeError(
                    f"frame {index}: expected boxes [N, 4] and landmarks [N, 5, 2], "
                    f"got {boxes.shape} and {None if points is None else points.shape}"
                )
            for row, box in enumerate(boxes):
                size_wh, marks = (frame.shape[1], frame.shape[0]), None if points is None else points[row]
                flaw = flaw_of_box(size_wh, box) or flaw_of_place(size_wh, box, marks)
                if flaw is None:
                    face = align_face(frame, box, marks, self._spec)
                    flaw = flaw_of_face(face)
                if flaw is None:
                    faces.append(face)
                    by_box.append(marks is None or not np.isfinite(marks).all())
                readings.append(None if flaw is None else unreadable_reading(flaw))
        found = self.read_faces(np.stack(faces)) if faces else []
        read = iter([framed_by_box(one) if alone else one for one, alone in zip(found, by_box, strict=True)])
        return [reading if reading is not None else next(read) for reading in readings]

    def read_faces(self, faces: NDArray[np.uint8]) -> list[Reading]:
        """Read aligned grey faces uint8 [N, 48, 48] as they are, without the quality floor. Raises: EngineError."""
        readings: list[Reading] = []
        for start in range(0, len(faces), BATCHES[-1]):
            part = faces[start : start + BATCHES[-1]]
            size = next(size for size in BATCHES if size >= len(part))
            filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            batch = filled[..., None] if self._takes_pixels else normalize_faces(filled, self._spec)
            outputs = self._engine.run({self._spec.input.name: batch})
            readings += readings_of({name: values[: len(part)] for name, values in outputs.items()})
        return readings
