"""The record of the expression network."""

from __future__ import annotations

from pathlib import Path

from models.spec import ModelSpec, Normalize, TensorSpec

__all__ = ["CROWD", "EXPRESSIONS", "EXPRESSION_NANO"]

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The order of the probabilities, that of FER2013."""
CROWD = (*EXPRESSIONS, "contempt")
"""The order of the crowd's shares: what FERPlus's ten people could say."""

EXPRESSION_NANO = ModelSpec(
    name="expression-nano",
    version=2,
    paper="LDLVA: Le et al., WACV 2023, section 3",
    inputs=(TensorSpec("faces", layout="NCHW", channels="GRAY", height=48, width=48, meaning="aligned grey faces"),),
    outputs=(
        TensorSpec(
            "probabilities", layout="NC", length=len(EXPRESSIONS), meaning="calibrated, in the order EXPRESSIONS"
        ),
        TensorSpec("valence_arousal", layout="NC", length=2, meaning="both in [-1, 1]"),
        TensorSpec(
            "uncertainty", layout="N", meaning="calibrated chance that the likeliest expression is wrong, [0, 1]"
        ),
        TensorSpec(
            "crowd", layout="NC", length=len(CROWD), meaning="how people's votes would divide, in the order CROWD"
        ),
    ),
    folder=Path(__file__).parent / "weights",
    licence="research use only: trained on FER2013 with the FERPlus votes (MIT)",
    card="models/expression/README.md",
    normalize=Normalize(mean=(0.5,), std=(0.25,), scale=1 / 255),
)
