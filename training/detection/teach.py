"""The missing labels: people on face pictures by YOLOX-nano, faces on people pictures and landmarks by YuNet.

Their labels teach; their weights are not ours. Sure ones count as labels, unsure ones are neither
object nor background.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.detection.peers import Peer
from models.tracking.association import box_iou
from training.detection.data import FACE, PERSON, Sample

__all__ = ["teach", "teach_landmarks"]

SURE = {PERSON: 0.55, FACE: 0.75}
UNSURE = {PERSON: 0.2, FACE: 0.35}
SAME_IOU = 0.5


def teach(samples: list[Sample], missing: int, teacher: Peer, cache: Path) -> None:
    """Add the missing class's labels to each sample, in place; what the peer said is kept in `cache`."""
    for sample, rows in _said(samples, teacher, cache):
        rows = rows[rows[:, 4] >= UNSURE[missing]]
        marks = np.full((len(rows), 5, 2), np.nan, np.float32)
        if missing == FACE and len(rows):
            marks = rows[:, 5:15].reshape(-1, 5, 2)
        sample.boxes = np.concatenate((sample.boxes, rows[:, :4]))
        sample.classes = np.concatenate((sample.classes, np.full(len(rows), missing)))
        sample.landmarks = np.concatenate((sample.landmarks, marks))
        sample.judged = np.concatenate((sample.judged, rows[:, 4] >= SURE[missing]))


def teach_landmarks(samples: list[Sample], teacher: Peer, cache: Path) -> None:
    """Add to labelled faces without landmarks those of the face that the peer surely saw there, in place."""
    for sample, rows in _said(samples, teacher, cache):
        rows = rows[rows[:, 4] >= SURE[FACE]]
        if not len(rows) or not len(sample.boxes):
            continue
        overlaps = box_iou(sample.boxes, rows[:, :4])
        best = overlaps.argmax(axis=1)
        unknown = np.isnan(sample.landmarks).any(axis=(1, 2)) & (sample.classes == FACE)
        unknown &= overlaps.max(axis=1) >= SAME_IOU
        sample.landmarks[unknown] = rows[best[unknown], 5:15].reshape(-1, 5, 2)


def _said(samples: list[Sample], teacher: Peer, cache: Path) -> Iterator[tuple[Sample, NDArray[np.float32]]]:
    """What the peer says of each picture, float32 [N, 15] or [N, 5]; what it said is kept in `cache`."""
    said = json.loads(cache.read_text()) if cache.is_file() else {}
    for sample in samples:
        if sample.name not in said:
            said[sample.name] = teacher(sample.image).tolist()
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(said))
    for sample in samples:
        if said[sample.name]:
            yield sample, np.array(said[sample.name], np.float32)
