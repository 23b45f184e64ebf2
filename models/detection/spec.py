"""The record of the detector."""

from __future__ import annotations

from pathlib import Path

from models.spec import ModelSpec, Normalize, TensorSpec

__all__ = ["DETECTION_NANO", "GEOMETRY", "STRIDES"]

STRIDES = (8, 16, 32)
"""Pixels between the cells of the three levels, in the order in which the outputs list them."""

GEOMETRY = 18
"""Numbers a cell: person box 4, face box 4, landmarks 10; `models.detection.postprocess` says how they are coded."""

DETECTION_NANO = ModelSpec(
    name="detection-nano",
    version=1,
    paper="cells and box code of YOLOX, Ge et al., 2021, section 2.1; landmarks of YuNet, Wu et al., MIR 2023",
    inputs=(
        TensorSpec(
            "images",
            layout="NCHW",
            channels="BGR",
            height_multiple=32,
            width_multiple=32,
            meaning="letterboxed frames, 416x416 as a rule",
        ),
    ),
    outputs=(
        TensorSpec("scores", layout="NLC", channels=2, meaning="a cell's score as person and as face, in [0, 1]"),
        TensorSpec("geometry", layout="NLC", channels=GEOMETRY, meaning="boxes and landmarks, in cells"),
    ),
    folder=Path(__file__).parent / "weights",
    licence="research use only: trained on COCO, VOC, Penn-Fudan, HELEN, AFW, FDDB and mask photographs",
    card="models/detection/README.md",
    normalize=Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), scale=1 / 255),
)
