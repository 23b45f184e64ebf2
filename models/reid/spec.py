"""The record of the ReID embedder."""

from __future__ import annotations

from pathlib import Path

from models.spec import ModelSpec, Normalize, TensorSpec

__all__ = ["REID_NANO"]

REID_NANO = ModelSpec(
    name="reid-nano",
    version=3,
    paper="Luo et al., CVPRW 2019, section 3; GPS, CVPRW 2021",
    inputs=(TensorSpec("crops", layout="NCHW", channels="RGB", height=128, width=64, meaning="people, padded to 1:2"),),
    outputs=(TensorSpec("embedding", layout="NC", length=512, unit_norm=True, meaning="compare by dot product"),),
    folder=Path(__file__).parent / "weights",
    licence="research use only: trained on Market-1501",
    card="models/reid/README.md",
    normalize=Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), scale=1 / 255),
)
