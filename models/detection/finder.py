"""The detector that a setting names: one of ours, or public ones, whose weights are not ours and never shipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.catalogue import PUBLIC
from models.detection.detections import Detections
from models.detection.detector import Detector
from models.detection.peers import PEER_FILES, find_as_ours
from models.detection.spec import DETECTORS
from models.engine import EngineConfig, load_engine
from models.errors import UnknownModelError, WeightsMissingError

__all__ = ["Finder", "PublicDetectors", "detector_files", "open_finder"]

JOIN = "+"
PUBLIC_LONG_SIDE = 640
"""Of the picture that public detectors get at least; each scales it to its own size."""


class Finder(Protocol):
    """What finds people and faces; see `Detector` for shapes."""

    @property
    def long_side(self) -> int: ...

    def detect(
        self, images_bgr: Sequence[NDArray[np.uint8]], frame_sizes_wh: Sequence[tuple[int, int]] | None = None
    ) -> list[Detections]: ...


class PublicDetectors:
    """Public detectors behind the form of ours, one picture after the other: one finds people, one faces."""

    long_side = PUBLIC_LONG_SIDE

    def __init__(self, finds: Sequence[Callable[[NDArray[np.uint8]], Detections]], threshold: float) -> None:
        self._finds = finds
        self._threshold = threshold

    def detect(
        self, images_bgr: Sequence[NDArray[np.uint8]], frame_sizes_wh: Sequence[tuple[int, int]] | None = None
    ) -> list[Detections]:
        """As `Detector.detect`."""
        sizes = frame_sizes_wh or [(image.shape[1], image.shape[0]) for image in images_bgr]
        return [self._of(image, size) for image, size in zip(images_bgr, sizes, strict=True)]

    def _of(self, image: NDArray[np.uint8], size_wh: tuple[int, int]) -> Detections:
        scale = np.array([size_wh[0] / image.shape[1], size_wh[1] / image.shape[0]], np.float32)
        parts = [find(image) for find in self._finds]
        found = Detections(
            np.concatenate([part.boxes_xyxy for part in parts]) * np.tile(scale, 2),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.landmarks_xy for part in parts]) * scale,
        )
        return found.where(found.scores >= self._threshold)


def detector_files(name: str, folder: Path) -> list[Path]:
    """The files of public detectors joined by +, none for one of ours.

    Raises: UnknownModelError, WeightsMissingError.
    """
    if name in DETECTORS:
        return []
    found = []
    for each in name.split(JOIN):
        if each not in PUBLIC:
            raise UnknownModelError(each, [*DETECTORS, *(one for one in PUBLIC if PUBLIC[one].file in PEER_FILES)])
        weights = PUBLIC[each]
        path = weights.find(folder)
        if path is None:
            raise WeightsMissingError(folder / weights.file, f"fetch it: foveal models pull {each}")
        found.append(path)
    return found


def open_finder(name: str, engine: EngineConfig, folder: Path, *, threshold: float) -> Finder:
    """`name`: one of `DETECTORS`, or public ones joined by +, whose files `foveal models pull` left in `folder`.

    Raises: UnknownModelError, WeightsMissingError, SpecError (a public network that is no detector), the errors of
    `load_engine`.
    """
    files = detector_files(name, folder)
    if files:
        return PublicDetectors([find_as_ours(path) for path in files], threshold)
    spec = DETECTORS[name]
    return Detector(load_engine(spec, engine, from_uint8=True), threshold=threshold, spec=spec)
