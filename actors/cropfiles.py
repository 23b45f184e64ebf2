"""Kept crops as an embedder takes them, off the stream loop: for adapting to a site and for embedding anew."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from actors.pictures import decode_picture
from models.engine import EngineConfig, load_engine
from models.reid import Embedder, crop_people
from models.spec import ModelSpec

__all__ = ["CropEmbedder", "crops_of"]


def crops_of(encoded: Sequence[bytes], network: ModelSpec) -> NDArray[np.uint8]:
    """Encoded pictures, each one person from edge to edge, as uint8 [N, 128, 64, 3] BGR.

    Raises: PictureError, EmptyBoxError.
    """
    width, height = network.input.size_wh
    found = [np.empty((0, height, width, 3), np.uint8)]
    for number, data in enumerate(encoded):
        image = decode_picture(data, f"crop {number}")
        whole = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
        found.append(crop_people(image, whole, network, number))
    return np.concatenate(found)


class CropEmbedder:
    """`gallery.reembedding.EmbedCrops` by one network; a context manager closes its engine."""

    def __init__(self, network: ModelSpec, engine: EngineConfig) -> None:
        """Raises: the errors of `models.engine.load_engine`."""
        self._network = network
        self._engine = load_engine(network, engine, from_uint8=True)
        self._embedder = Embedder(self._engine, network)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._engine.close()

    def embed(self, encoded: Sequence[bytes]) -> NDArray[np.float32]:
        """Embeddings [N, 512], unit norm. Raises: PictureError, EngineError."""
        return self._embedder.embed_crops(crops_of(encoded, self._network))
