"""The Market protocol on a compiled engine, ours or a peer's. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from models.engine import EngineConfig, load_engine, load_onnx
from models.engine.shapes import ShapeProfile
from models.reid.embedder import Embedder
from models.reid.preprocess import normalize_crops
from models.reid.spec import REID_NANO
from models.spec import TensorSpec
from training.reid.data import CropSet, development_split, read_crops
from training.reid.protocol import market_metrics, query_indices

__all__ = ["evaluate"]

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
PEER_SIZE_WH = (128, 256)
BATCH = 32


def evaluate(
    data: Path, config: EngineConfig, *, peer: Path | None = None, held_out_only: bool = False
) -> dict[str, float]:
    """mAP, rank1, rank5, rank10 and mINP in percent, with the number of queries and of gallery crops.

    `held_out_only` keeps the 120 identities of the development split; `peer` is an ONNX file that takes RGB crops
    256x128 by ImageNet's mean and std (as torchreid's do) in place of our network.
    Raises: NoCropsError, FileNotFoundError, EngineError.
    """
    crops = read_crops(data, REID_NANO.input.size_wh)
    if held_out_only:
        _, crops = development_split(crops)
    embed = _ours(config) if peer is None else _peer(peer, config)
    embeddings = np.concatenate([embed(crops.images[i : i + BATCH]) for i in range(0, len(crops.images), BATCH)])
    return _scored(embeddings, crops)


def _scored(embeddings: NDArray[np.float32], crops: CropSet) -> dict[str, float]:
    queries = query_indices(crops.names, crops.identities, crops.cameras)
    found = market_metrics(embeddings, crops.identities, crops.cameras, queries)
    return {name: round(value, 2) for name, value in found.items()}


def _ours(config: EngineConfig) -> Embed:
    return Embedder(load_engine(REID_NANO, config, from_uint8=True)).embed_crops


def _peer(path: Path, config: EngineConfig) -> Embed:
    width, height = PEER_SIZE_WH
    wanted = TensorSpec("input", layout="NCHW", channels="RGB", height=height, width=width)
    answer = TensorSpec("output", layout="NC", length=512)
    wanted, answer = _named(path, wanted, answer)
    profile = ShapeProfile({wanted.name: ((BATCH, BATCH, BATCH), (3, 3, 3), (height,) * 3, (width,) * 3)})
    engine = load_onnx(path.read_bytes(), path.stem, (wanted,), (answer,), profile, config)

    def embed(crops_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        larger = np.stack([cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR) for crop in crops_bgr])
        found = engine.run({wanted.name: normalize_crops(np.asarray(larger, np.uint8))})[answer.name]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    return embed


def _named(path: Path, wanted: TensorSpec, answer: TensorSpec) -> tuple[TensorSpec, TensorSpec]:
    """The same with the names that the file has."""
    graph = onnx.load(path).graph
    return (
        dataclasses.replace(wanted, name=graph.input[0].name),
        dataclasses.replace(answer, name=graph.output[0].name),
    )
