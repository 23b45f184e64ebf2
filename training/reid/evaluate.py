"""The Market protocol on a compiled engine, ours or a peer's. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from models.engine import EngineConfig, load_engine, load_onnx
from models.engine.shapes import ShapeProfile
from models.reid.attributes import GROUPS
from models.reid.embedder import Embedder
from models.reid.preprocess import normalize_crops
from models.reid.spec import REID_NANO
from models.reid.words import Words
from models.spec import TensorSpec
from training.reid.attributes import read_attributes
from training.reid.codes import compact_codes, learn_mask, mask_path, read_mask
from training.reid.data import JUNK_IDENTITY, CropSet, development_split, read_crops
from training.reid.describing import attribute_accuracy, search_by_words
from training.reid.protocol import market_metrics, query_indices

__all__ = ["evaluate", "export_mask"]

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
PEER_SIZE_WH = (128, 256)
BATCH = 32
SUBGROUPS = ("gender", "age", "hair")
FEWEST_QUERIES = 20
"""Of a subgroup: fewer say nothing."""


def evaluate(
    data: Path,
    config: EngineConfig,
    *,
    peer: Path | None = None,
    held_out_only: bool = False,
    rerank: bool = False,
    mirrored: bool = False,
) -> dict[str, Any]:
    """mAP, rank1, rank5, rank10 and mINP in percent, with the number of queries and of gallery crops.

    `held_out_only` keeps the 120 identities of the development split; `peer` is an ONNX file that takes RGB crops
    256x128 by ImageNet's mean and std (as torchreid's do) in place of our network; `mirrored` embeds both images of a
    crop. `codes` is for a gallery kept small; with `rerank` the same after k-reciprocal re-ranking is under `reranked`.
    Where attributes.csv lies beside the data, and the network is ours: `attributes`, `words` and `groups` too.
    Raises: NoCropsError, FileNotFoundError, EngineError.
    """
    crops = read_crops(data, REID_NANO.input.size_wh)
    if held_out_only:
        _, crops = development_split(crops)
    embed = _ours(config, mirrored) if peer is None else _peer(peer, config)
    embeddings = _embeddings(embed, crops)
    queries = query_indices(crops.names, crops.identities, crops.cameras)
    found: dict[str, Any] = _rounded(market_metrics(embeddings, crops.identities, crops.cameras, queries))
    if rerank:
        again = market_metrics(embeddings, crops.identities, crops.cameras, queries, rerank=True)
        found["reranked"] = _rounded(again)
    mask = read_mask() if peer is None else None
    found["codes"] = compact_codes(embeddings, crops.identities, crops.cameras, queries, mask)
    attributes = data.parent / "attributes.csv"
    if peer is None and attributes.is_file():
        told = read_attributes(attributes, crops.identities)
        known = (told >= 0).all(axis=1)
        words = Words()
        found["attributes"] = _rounded(attribute_accuracy(words, embeddings[known], told[known]))
        found["words"] = search_by_words(words, embeddings[known], crops.identities[known], told[known])
        found["groups"] = _by_group(embeddings, crops, queries, told)
    return found


def export_mask(data: Path, config: EngineConfig) -> Path:
    """Learn the binary mask of the network in use on the training identities, and write it beside the weights."""
    crops, _ = development_split(read_crops(data, REID_NANO.input.size_wh))
    mask = learn_mask(_embeddings(_ours(config, mirrored=False), crops), crops.identities)
    mask_path().write_text(json.dumps(mask.tolist()) + "\n", encoding="utf-8")
    return mask_path()


def _embeddings(embed: Embed, crops: CropSet) -> NDArray[np.float32]:
    return np.concatenate([embed(crops.images[i : i + BATCH]) for i in range(0, len(crops.images), BATCH)])


def _by_group(
    embeddings: NDArray[np.float32], crops: CropSet, queries: NDArray[np.int64], told: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """mAP and rank1 of the queries of each gender, age and hair, ranked among everybody, and the largest gap of mAP."""
    found: dict[str, dict[str, float]] = {}
    for column, group in enumerate(GROUPS):
        if group.name not in SUBGROUPS:
            continue
        rows: dict[str, float] = {}
        for index, label in enumerate(group.labels):
            asked = queries[told[queries, column] == index]
            if len(asked) < FEWEST_QUERIES:
                continue
            # Other people's queries stay out of the ranking, as in the whole.
            others = np.setdiff1d(queries, asked)
            identities = crops.identities.copy()
            identities[others] = JUNK_IDENTITY
            scores = market_metrics(embeddings, identities, crops.cameras, asked)
            rows |= {f"{label.name} {name}": scores[name] for name in ("mAP", "rank1", "queries")}
        precisions = [value for name, value in rows.items() if name.endswith("mAP")]
        if len(precisions) > 1:
            found[group.name] = _rounded(rows | {"largest_gap_mAP": max(precisions) - min(precisions)})
    return found


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in found.items()}


def _ours(config: EngineConfig, mirrored: bool) -> Embed:
    return Embedder(load_engine(REID_NANO, config, from_uint8=True), mirrored=mirrored).embed_crops


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
