"""What is told of a face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.expression.spec import EXPRESSIONS

__all__ = ["KEPT_BY_BOX", "Reading", "framed_by_box", "readings_of", "unreadable_reading"]

KEPT_BY_BOX = 0.965
"""Of the right readings, what is left where the framing is off by as much as a box's: `conditions --held-out`."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One face.

    `probabilities` float32 [7] in the order EXPRESSIONS, sum 1; `label` is the likeliest, None where the face is
    unreadable; `valence` (unpleasant to pleasant) and `arousal` (calm to excited) in [-1, 1]; `uncertainty` in [0, 1]
    is the calibrated chance that people would choose another label. `unreadable` says why a face is below the quality
    floor ("empty box", "too small", "out of frame", "no contrast", "too blurred"): then the probabilities are equal,
    valence and arousal 0, the uncertainty 1, so that nothing in it is a guess. `crowd` float32 [8] in the order CROWD
    is how the votes of people who are asked would divide, None where nobody's are foretold.
    """

    probabilities: NDArray[np.float32]
    label: str | None
    valence: float
    arousal: float
    uncertainty: float
    unreadable: str | None = None
    crowd: NDArray[np.float32] | None = None


def readings_of(outputs: Mapping[str, NDArray[Any]]) -> list[Reading]:
    """The network's probabilities [N, 7], valence_arousal [N, 2], uncertainty [N] and crowd [N, 8] as readings."""
    # Half precision leaves sums a few thousandths off one.
    probabilities, crowd = (np.clip(outputs[name].astype(np.float32), 0, 1) for name in ("probabilities", "crowd"))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    crowd /= crowd.sum(axis=1, keepdims=True)
    affect = np.clip(outputs["valence_arousal"], -1, 1)
    doubt = np.clip(outputs["uncertainty"], 0, 1)
    return [
        Reading(row, EXPRESSIONS[int(row.argmax())], float(valence), float(arousal), float(uncertainty), crowd=votes)
        for row, (valence, arousal), uncertainty, votes in zip(probabilities, affect, doubt, crowd, strict=True)
    ]


def unreadable_reading(why: str) -> Reading:
    """A face below the quality floor."""
    even = np.full(len(EXPRESSIONS), 1 / len(EXPRESSIONS), np.float32)
    return Reading(even, None, 0.0, 0.0, 1.0, why)


def framed_by_box(reading: Reading) -> Reading:
    """The same, less sure: without landmarks the face is neither upright nor in its place."""
    even = (1 - KEPT_BY_BOX) / len(EXPRESSIONS)
    probabilities = np.asarray(KEPT_BY_BOX * reading.probabilities + even, np.float32)
    return replace(reading, probabilities=probabilities, uncertainty=1 - KEPT_BY_BOX * (1 - reading.uncertainty))
