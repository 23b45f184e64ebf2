"""The missing labels: people on face pictures by YOLOX-nano, faces on people pictures by YuNet.

Their labels teach; their weights are not ours. Sure ones count as labels, unsure ones are neither
object nor background.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from training.detection.data import FACE, PERSON, Sample

__all__ = ["FaceTeacher", "PersonTeacher", "teach"]

SURE = {PERSON: 0.55, FACE: 0.75}
UNSURE = {PERSON: 0.2, FACE: 0.35}


class PersonTeacher:
    """YOLOX-nano at 416: image uint8 [H, W, 3] BGR -> rows (x1, y1, x2, y2, score)."""

    def __init__(self, path: Path) -> None:
        self._model = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1})
        grids, strides = [], []
        for stride in (8, 16, 32):
            side = 416 // stride
            grids.append(np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2))
            strides.append(np.full((side * side, 1), stride))
        self._grid, self._stride = np.concatenate(grids), np.concatenate(strides)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        ratio = 416 / max(image.shape[:2])
        canvas = np.full((416, 416, 3), 114, np.uint8)
        resized = cv2.resize(image, None, fx=ratio, fy=ratio)
        canvas[: resized.shape[0], : resized.shape[1]] = resized[:416, :416]
        out = self._model(canvas.transpose(2, 0, 1)[None].astype(np.float32))[0][0]
        scores = out[:, 4] * out[:, 5]
        keep = scores > 0.02
        centre = (out[keep, :2] + self._grid[keep]) * self._stride[keep]
        half = np.exp(out[keep, 2:4]) * self._stride[keep] / 2
        boxes = np.concatenate((centre - half, centre + half), 1) / ratio
        return _suppressed(boxes, scores[keep])


class FaceTeacher:
    """YuNet at the picture's own size: image BGR -> rows (x1, y1, x2, y2, score, five landmarks)."""

    def __init__(self, path: Path) -> None:
        self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.02, 0.45)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        scale = 640 / max(image.shape[:2])
        resized = cv2.resize(image, None, fx=scale, fy=scale)
        self._net.setInputSize((resized.shape[1], resized.shape[0]))
        found = self._net.detect(resized)[1]
        if found is None:
            return np.zeros((0, 15), np.float32)
        boxes = np.concatenate((found[:, :2], found[:, :2] + found[:, 2:4]), 1) / scale
        return np.concatenate((boxes, found[:, 14:15], found[:, 4:14] / scale), 1).astype(np.float32)


def teach(samples: list[Sample], missing: int, teacher: PersonTeacher | FaceTeacher, cache: Path) -> None:
    """Add the missing class's labels to each sample, in place; what the peer said is kept in `cache`."""
    said = json.loads(cache.read_text()) if cache.is_file() else {}
    for sample in samples:
        if sample.name not in said:
            said[sample.name] = teacher(sample.image).tolist()
        if not said[sample.name]:
            continue
        rows = np.array(said[sample.name], np.float32)
        rows = rows[rows[:, 4] >= UNSURE[missing]]
        marks = np.full((len(rows), 5, 2), np.nan, np.float32)
        if missing == FACE and len(rows):
            marks = rows[:, 5:15].reshape(-1, 5, 2)
        sample.boxes = np.concatenate((sample.boxes, rows[:, :4]))
        sample.classes = np.concatenate((sample.classes, np.full(len(rows), missing)))
        sample.landmarks = np.concatenate((sample.landmarks, marks))
        sample.judged = np.concatenate((sample.judged, rows[:, 4] >= SURE[missing]))
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(said))


def _suppressed(boxes: NDArray[np.floating], scores: NDArray[np.floating]) -> NDArray[np.float32]:
    wh = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)
    kept = cv2.dnn.NMSBoxes(wh.tolist(), scores.tolist(), 0.02, 0.6)
    index = np.asarray(kept, int).reshape(-1)
    return np.concatenate((boxes[index], scores[index, None]), 1).astype(np.float32)
