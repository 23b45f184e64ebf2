"""The records of the detectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from models.spec import ModelSpec, Normalize, TensorSpec

__all__ = ["CLASSES", "DETECTION_NANO", "DETECTION_SMALL", "DETECTORS", "FACE", "LONG_SIDES", "PERSON", "STRIDES"]

PERSON, FACE = 0, 1
CLASSES = ("person", "face")
STRIDES = (8, 16, 32)
LONG_SIDES = {"detector-nano": 416, "detector-small": 480}
"""What a picture's longer side is scaled to, pixels: the larger one as far as it takes no more time than YOLOX-nano."""

DETECTION_NANO = ModelSpec(
    name="detector-nano",
    version=2,
    paper="after Ge et al., YOLOX, 2021; assignment of Feng et al., TOOD, ICCV 2021",
    inputs=(
        TensorSpec(
            "images",
            layout="NCHW",
            channels="BGR",
            height_multiple=STRIDES[-1],
            width_multiple=STRIDES[-1],
            meaning="pictures padded to multiples of 32, never squeezed",
        ),
    ),
    outputs=(
        TensorSpec(
            "points",
            layout="NLC",
            channels=16,
            meaning="logits of person and face; distances l, t, r, b and five landmarks (dx, dy) in strides",
        ),
    ),
    folder=Path(__file__).parent / "weights",
    licence="research use only: trained on photographs of HELEN, AFW, FDDB, COCO, VOC2012 and Penn-Fudan",
    card="models/detection/README.md",
    normalize=Normalize(mean=(114.0, 114.0, 114.0), std=(58.0, 58.0, 58.0)),
)

DETECTION_SMALL = replace(DETECTION_NANO, name="detector-small", version=2)

DETECTORS = {spec.name: spec for spec in (DETECTION_NANO, DETECTION_SMALL)}
