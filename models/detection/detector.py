"""People and faces in frames of many streams and sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.detection.detections import Detections
from models.detection.postprocess import decode_points
from models.detection.preprocess import Fit, fit_of, letterbox
from models.detection.spec import DETECTION_NANO, LONG_SIDES
from models.engine import Engine
from models.errors import InputShapeError
from models.spec import ModelSpec

__all__ = ["BATCHES", "Detector"]

BATCHES = (8, 4, 2, 1)
"""A batch is cut into these: an engine tunes itself for each size that it meets, so it should meet few."""


class Detector:
    """The detector behind arrays. `engine` is `load_engine(spec, ..., from_uint8=True)`.

    `long_side` is what a picture's longer side is scaled to (None: the network's usual one); `threshold` the least
    score; `overlap` the largest IoU of two boxes of one class.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        long_side: int | None = None,
        threshold: float = 0.25,
        overlap: float = 0.5,
        spec: ModelSpec = DETECTION_NANO,
    ) -> None:
        self._engine = engine
        self._input = spec.input.name
        self._output = spec.outputs[0].name
        self._long_side = long_side or LONG_SIDES[spec.name]
        self._threshold = threshold
        self._overlap = overlap

    @property
    def long_side(self) -> int:
        """What a picture's longer side is scaled to, pixels: nothing more than that need be decoded."""
        return self._long_side

    def detect(
        self, images_bgr: Sequence[NDArray[np.uint8]], frame_sizes_wh: Sequence[tuple[int, int]] | None = None
    ) -> list[Detections]:
        """Find people and faces in each picture, uint8 [H, W, 3] BGR 0-255 of any size.

        Boxes are in pixels of `frame_sizes_wh` where a picture was decoded smaller than its frame, else of the
        picture itself. Pictures of one padded size share a batch.
        Raises: InputShapeError, EngineError.
        """
        if frame_sizes_wh is not None and len(frame_sizes_wh) != len(images_bgr):
            raise InputShapeError(f"expected a size for each of {len(images_bgr)} pictures, got {len(frame_sizes_wh)}")
        groups: dict[tuple[int, int], list[tuple[int, Fit]]] = defaultdict(list)
        for index, image in enumerate(images_bgr):
            if image.ndim != 3 or image.size == 0:
                raise InputShapeError(f"picture {index}: expected uint8 [H, W, 3], got {list(image.shape)}")
            fit = fit_of((image.shape[1], image.shape[0]), self._long_side)
            groups[fit.padded_wh].append((index, fit))
        found = [Detections.none()] * len(images_bgr)
        for (width, height), members in groups.items():
            batch = np.empty((len(members), height, width, 3), np.uint8)
            for row, (index, fit) in enumerate(members):
                letterbox(images_bgr[index], fit, batch[row])
            for row, points in enumerate(self._points(batch)):
                index, fit = members[row]
                image = images_bgr[index]
                size_wh = frame_sizes_wh[index] if frame_sizes_wh is not None else (image.shape[1], image.shape[0])
                found[index] = decode_points(points, fit, size_wh, threshold=self._threshold, overlap=self._overlap)
        return found

    def _points(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        points: list[NDArray[np.float32]] = []
        for size in BATCHES:
            while len(batch) - len(points) >= size:
                part = batch[len(points) : len(points) + size]
                points.extend(self._engine.run({self._input: part})[self._output])
        return points
