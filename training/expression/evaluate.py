"""Accuracy and calibration on a compiled engine. Needs no torch.

Expected calibration error with 15 bins of equal width: Guo et al., ICML 2017, section 2.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.engine import EngineConfig, load_engine
from models.expression.reader import ExpressionReader
from models.expression.spec import EXPRESSION_NANO, EXPRESSIONS
from training.expression.data import read_faces

__all__ = ["calibration_error", "evaluate"]

BINS = 15
SET_ASIDE = (10, 20, 30)


def evaluate(data: Path, config: EngineConfig, *, flip: bool = False) -> dict[str, float]:
    """Accuracy, balanced accuracy and ECE in percent, `n`, and the accuracy without the most uncertain 10, 20, 30 %.

    With `flip` the probabilities are the mean of each face and its mirror image. No face is left out as unreadable.
    Raises: NoFacesError, FileNotFoundError, ValueError (the data), EngineError.
    """
    faces = read_faces(data)
    reader = ExpressionReader(load_engine(EXPRESSION_NANO, config, from_uint8=True))
    probabilities, uncertainty = _read(reader, faces.images)
    if flip:
        mirrored, also = _read(reader, np.ascontiguousarray(faces.images[:, :, ::-1]))
        probabilities, uncertainty = (probabilities + mirrored) / 2, (uncertainty + also) / 2
    right = probabilities.argmax(axis=1) == faces.labels
    present = [label for label in range(len(EXPRESSIONS)) if (faces.labels == label).any()]
    each = {EXPRESSIONS[label]: float(right[faces.labels == label].mean()) for label in present}
    surest_first = np.argsort(uncertainty, kind="stable")
    kept = {
        f"accuracy_without_{percent}_percent": float(right[surest_first[: len(right) * (100 - percent) // 100]].mean())
        for percent in SET_ASIDE
    }
    shares = {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(list(each.values()))),
        "ece": calibration_error(probabilities.max(axis=1), right),
        "uncertainty_ece": calibration_error(1 - uncertainty, right),
        **kept,
        **{f"recall_{name}": share for name, share in each.items()},
    }
    return {**{name: round(100 * share, 2) for name, share in shares.items()}, "n": len(right)}


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error, a share of 1; confidence in [0, 1] and right bool, both [N]."""
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    gaps = np.bincount(index, weights=confidence, minlength=bins) - np.bincount(index, weights=right, minlength=bins)
    return float(np.abs(gaps).sum() / max(count.sum(), 1))


def _read(reader: ExpressionReader, faces: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    readings = reader.read_faces(faces)
    probabilities = np.stack([reading.probabilities for reading in readings])
    return probabilities, np.array([reading.uncertainty for reading in readings], np.float32)
