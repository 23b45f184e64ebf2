"""What is told of a face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.expression.spec import EXPRESSIONS

__all__ = ["Reading", "readings_of", "unreadable_reading"]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One face.

    `probabilities` float32 [7] in the order EXPRESSIONS, sum 1; `label` is the likeliest, None where the face is
    unreadable; `valence` (unpleasant to pleasant) and `arousal` (calm to excited) in [-1, 1]; `uncertainty` in [0, 1]
    is the calibrated chance that people would choose another label. `unreadable` says why a face is below the quality
    floor ("empty box", "too small", "out of frame", "no contrast", "too blurred"): then the probabilities are equal,
    valence and arousal 0, the uncertainty 1, so that nothing in it is a guess.
    """

    probabilities: NDArray[np.float32]
    label: str | None
    valence: float
    arousal: float
    uncertainty: float
    unreadable: str | None = None


def readings_of(outputs: Mapping[str, NDArray[Any]]) -> list[Reading]:
    """The network's outputs (probabilities [N, 7], valence_arousal [N, 2], uncertainty [N]) as readings."""
    # Half precision leaves sums a few thousandths off one.
    probabilities = np.clip(outputs["probabilities"].astype(np.float32), 0, 1)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    affect = np.clip(outputs["valence_arousal"], -1, 1)
    doubt = np.clip(outputs["uncertainty"], 0, 1)
    return [
        Reading(row, EXPRESSIONS[int(row.argmax())], float(valence), float(arousal), float(uncertainty))
        for row, (valence, arousal), uncertainty in zip(probabilities, affect, doubt, strict=True)
    ]


def unreadable_reading(why: str) -> Reading:
    """A face below the quality floor."""
    even = np.full(len(EXPRESSIONS), 1 / len(EXPRESSIONS), np.float32)
    return Reading(even, None, 0.0, 0.0, 1.0, why)
