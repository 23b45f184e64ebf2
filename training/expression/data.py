"""FER2013 with the FERPlus votes, or any folder of faces: reading, the validation split. Needs no torch.

Goodfellow et al., 2013; Barsoum et al., ICMI 2016 (votes).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.expression.spec import EXPRESSIONS

__all__ = ["VOTED", "FaceSet", "NoFacesError", "read_faces", "validation_split"]

VOTED = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown", "not-a-face")
"""The columns of the FERPlus votes."""
SIDE = 48


class NoFacesError(ValueError):
    """A file or folder holds no labelled face."""


@dataclass(frozen=True, slots=True)
class FaceSet:
    """Faces in memory.

    Shapes: images uint8 [N, 48, 48] grey; labels int64 [N], an index of EXPRESSIONS; votes int64 [N, 10] in the order
    of VOTED, -1 in a whole row where nobody was asked.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    votes: NDArray[np.int64]

    def take(self, keep: NDArray[np.bool_]) -> FaceSet:
        """The faces where `keep` (bool [N]) is true."""
        return FaceSet(self.images[keep], self.labels[keep], self.votes[keep])


def read_faces(source: Path) -> FaceSet:
    """An npz with `images` and `labels` (and `votes`), or a folder a class named as in EXPRESSIONS.

    Raises: NoFacesError where there is none; FileNotFoundError; ValueError naming what is wrong with the file.
    """
    if source.is_dir():
        return _read_folders(source)
    with np.load(source) as kept:
        absent = {"images", "labels"} - set(kept.files)
        if absent:
            raise ValueError(f"{source}: expected arrays images and labels, {', '.join(sorted(absent))} is not there")
        images, labels = kept["images"], kept["labels"].astype(np.int64)
        votes = kept["votes"].astype(np.int64) if "votes" in kept.files else np.full((len(labels), len(VOTED)), -1)
    if images.ndim not in (3, 4) or images.dtype != np.uint8 or len(images) != len(labels) or not len(labels):
        raise ValueError(
            f"{source}: expected images uint8 [N, H, W] or [N, H, W, 3] and as many labels, got {images.shape}"
        )
    if labels.min() < 0 or labels.max() >= len(EXPRESSIONS):
        raise ValueError(f"{source}: expected labels 0 to {len(EXPRESSIONS) - 1} in the order {', '.join(EXPRESSIONS)}")
    return FaceSet(np.stack([_grey(image) for image in images]), labels, votes)


def validation_split(faces: FaceSet, percent: int = 10) -> tuple[FaceSet, FaceSet]:
    """Training and validation faces, by the hash of the pixels: copies of one picture stay on one side."""
    held = np.array([hashlib.sha256(image.tobytes()).digest()[0] * 100 // 256 < percent for image in faces.images])
    return faces.take(~held), faces.take(held)


def _read_folders(source: Path) -> FaceSet:
    images, labels = [], []
    for label, name in enumerate(EXPRESSIONS):
        for path in sorted((source / name).rglob("*")):
            if path.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
                continue
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f"{path}: no picture that OpenCV reads; take it out or restore it")
            images.append(_grey(np.asarray(image, np.uint8)))
            labels.append(label)
    if not images:
        raise NoFacesError(f"{source}: no picture in folders named {', '.join(EXPRESSIONS)}")
    return FaceSet(np.stack(images), np.array(labels, np.int64), np.full((len(labels), len(VOTED)), -1))


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    if grey.shape != (SIDE, SIDE):
        shrinks = min(grey.shape) >= SIDE
        grey = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(grey, np.uint8)
