"""People of many frames to unit vectors, in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.engine import Engine
from models.errors import InputShapeError
from models.reid.preprocess import crop_people, normalize_crops
from models.reid.spec import REID_NANO
from models.spec import ModelSpec

__all__ = ["BATCHES", "Embedder"]

BATCHES = (1, 2, 4, 8, 12, 16, 24, 32)
"""Sizes a batch is filled up to: an engine tunes itself for each size that it meets, so it should meet few."""


class Embedder:
    """The ReID network behind arrays.

    `engine` is `load_engine(REID_NANO, ...)`, with `from_uint8=True` for the cheaper way of the pixels, or without.
    """

    def __init__(self, engine: Engine, spec: ModelSpec = REID_NANO, *, mirrored: bool = False) -> None:
        """`mirrored` embeds each crop's mirror image too and takes the mean: surer, at twice the cost."""
        self._engine = engine
        self._mirrored = mirrored
        self._spec = spec
        self._takes_pixels = engine.inputs[0].dtype == "uint8"

    @property
    def dimension(self) -> int:
        """The length of an embedding."""
        return int(self._spec.outputs[0].length or 0)

    def embed(
        self, frames_bgr: Sequence[NDArray[np.uint8]], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Embed every box of every frame.

        Shapes: frames uint8 [H, W, 3] BGR 0-255, each of its own size; boxes float32 [Ni, 4] pixels of their frame,
        may reach outside -> float32 [sum Ni, 512], unit norm, frame by frame; compare by dot product.
        Raises: EmptyBoxError (frame and index on the error), InputShapeError, EngineError.
        """
        if len(frames_bgr) != len(boxes_xyxy):
            raise InputShapeError(f"expected boxes for each of {len(frames_bgr)} frames, got {len(boxes_xyxy)} arrays")
        pairs = zip(frames_bgr, boxes_xyxy, strict=True)
        crops = [crop_people(image, boxes, self._spec, frame) for frame, (image, boxes) in enumerate(pairs)]
        width, height = self._spec.input.size_wh
        return self.embed_crops(np.concatenate([np.empty((0, height, width, 3), np.uint8), *crops]))

    def embed_crops(self, crops_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed what `crop_people` cut: uint8 [N, 128, 64, 3] BGR -> float32 [N, 512]. Raises: EngineError."""
        done = [np.empty((0, self.dimension), np.float32)]
        for start in range(0, len(crops_bgr), BATCHES[-1]):
            some = crops_bgr[start : start + BATCHES[-1]]
            found = self._embed_batch(some)
            done.append(found + self._embed_batch(some[:, :, ::-1]) if self._mirrored else found)
        found = np.concatenate(done)
        # Half precision leaves norms a few thousandths off.
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)

    def _embed_batch(self, crops_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(crops_bgr)
        size = next(size for size in BATCHES if size >= count)
        filled = np.concatenate([crops_bgr, np.repeat(crops_bgr[-1:], size - count, axis=0)])
        batch = filled if self._takes_pixels else normalize_crops(filled, self._spec)
        answer = self._engine.run({self._spec.input.name: batch})
        return np.asarray(answer[self._spec.outputs[0].name][:count], np.float32)
