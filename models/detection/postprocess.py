"""The network's points to boxes: only points above the threshold are decoded, then overlaps of a class are removed."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detection.detections import Detections
from models.detection.preprocess import Fit
from models.detection.spec import CLASSES, FACE, STRIDES

__all__ = ["decode_points"]

MAX_CANDIDATES = 600
MAX_DETECTIONS = 300
CLASS_COUNT = len(CLASSES)


def decode_points(
    points: NDArray[np.float32], fit: Fit, frame_wh: tuple[int, int], *, threshold: float, overlap: float
) -> Detections:
    """points float32 [A, 16] of one picture -> detections in pixels of the frame, best first.

    `threshold` is on the score; of two boxes of a class with an IoU above `overlap` the weaker goes.
    """
    logits = points[:, :CLASS_COUNT]
    # The logit of the threshold: a sigmoid for every point would cost more than the rest together.
    at, classes = np.nonzero(logits > np.log(threshold / (1 - threshold)))
    if not len(at):
        return Detections.none()
    scores = 1 / (1 + np.exp(-logits[at, classes].astype(np.float32)))
    if len(at) > MAX_CANDIDATES:
        best = np.argpartition(-scores, MAX_CANDIDATES)[:MAX_CANDIDATES]
        at, classes, scores = at[best], classes[best], scores[best]
    centres, strides = _grid(fit.padded_wh)
    centre, stride = centres[at], strides[at, None]
    distances = points[at, CLASS_COUNT : CLASS_COUNT + 4] * stride
    boxes = np.concatenate((centre - distances[:, :2], centre + distances[:, 2:]), 1)
    wh = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)
    kept = cv2.dnn.NMSBoxesBatched(wh.tolist(), scores.tolist(), classes.tolist(), threshold, overlap)
    index = np.asarray(kept, np.int64).reshape(-1)[:MAX_DETECTIONS]
    index = index[np.argsort(-scores[index], kind="stable")]
    marks = points[at[index], CLASS_COUNT + 4 :].reshape(-1, 5, 2) * stride[index, :, None] + centre[index, None]
    marks[classes[index] != FACE] = np.nan
    factor = np.array([frame_wh[0] / fit.scaled_wh[0], frame_wh[1] / fit.scaled_wh[1]], np.float32)
    limit = np.array(frame_wh, np.float32)
    corners = np.clip(boxes[index].reshape(-1, 2, 2) * factor, 0, limit).reshape(-1, 4).astype(np.float32)
    inside = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])  # padding can look like somebody
    found = Detections(
        corners, scores[index].astype(np.float32), classes[index].astype(np.int64), (marks * factor).astype(np.float32)
    )
    return found if inside.all() else found.where(inside)


@lru_cache(maxsize=64)
def _grid(padded_wh: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres float32 [A, 2] in input pixels and strides float32 [A], scale by scale, row by row."""
    centres, strides = [], []
    for stride in STRIDES:
        x, y = np.meshgrid(
            (np.arange(padded_wh[0] // stride) + 0.5) * stride, (np.arange(padded_wh[1] // stride) + 0.5) * stride
        )
        centres.append(np.stack((x, y), -1).reshape(-1, 2))
        strides.append(np.full(x.size, stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(strides).astype(np.float32)
