"""Accuracy, calibration and agreement with a crowd on a compiled engine. Needs no torch.

Expected calibration error with 15 bins of equal width: Guo et al., ICML 2017, section 2. FERPlus by majority: Barsoum
et al., ICMI 2016: faces on which more than half of the votes fall on one of eight emotions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.engine import EngineConfig, load_engine
from models.expression.reader import ExpressionReader
from models.expression.spec import CROWD, EXPRESSION_NANO, EXPRESSIONS
from training.expression.data import VOTED, FaceSet

__all__ = ["SET_ASIDE", "Answers", "calibration_error", "crowd_figures", "evaluate", "read_all"]

BINS = 15
SET_ASIDE = (10, 20, 30)
Answers = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Probabilities [N, 7], uncertainty [N], the crowd's shares [N, 8]."""


def evaluate(faces: FaceSet, config: EngineConfig, *, flip: bool = False) -> dict[str, float]:
    """Accuracy, balanced accuracy and ECE in percent, `n`, and the accuracy without the most uncertain 10, 20, 30 %.

    With `flip` the probabilities are the mean of each face and its mirror image. No face is left out as unreadable.
    Where the data has votes, `crowd_figures` besides.
    Raises: EngineError.
    """
    reader = ExpressionReader(load_engine(EXPRESSION_NANO, config, from_uint8=True))
    probabilities, uncertainty, crowd = read_all(reader, faces.images)
    if flip:
        mirrored = read_all(reader, np.ascontiguousarray(faces.images[:, :, ::-1]))
        probabilities, uncertainty, crowd = (
            (one + other) / 2 for one, other in zip((probabilities, uncertainty, crowd), mirrored, strict=True)
        )
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
    percents = {name: round(100 * share, 2) for name, share in shares.items()}
    return {**percents, **crowd_figures(faces, crowd), "n": len(right)}


def crowd_figures(faces: FaceSet, crowd: NDArray[np.float32]) -> dict[str, float]:
    """`ferplus_accuracy` in percent on the `ferplus_n` faces with a majority, and there `ferplus_kl`, the divergence of
    the votes' shares from ours in nats; nothing where the data has no votes. `crowd` float32 [N, 8].
    """
    votes = np.clip(faces.votes, 0, None)
    emotions = votes[:, [VOTED.index(name) for name in CROWD]].astype(np.float64)
    clear = emotions.max(axis=1) * 2 > np.maximum(1, votes.sum(axis=1))
    if not clear.any():
        return {}
    shares = emotions[clear] / emotions[clear].sum(axis=1, keepdims=True)
    ours = np.clip(crowd[clear].astype(np.float64), 1e-6, 1)
    divergence = np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-12) / ours), 0).sum(axis=1)
    right = ours.argmax(axis=1) == shares.argmax(axis=1)
    return {
        "ferplus_accuracy": round(100 * float(right.mean()), 2),
        "ferplus_kl": round(float(divergence.mean()), 4),
        "ferplus_n": int(clear.sum()),
    }


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error, a share of 1; confidence in [0, 1] and right bool, both [N]."""
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    gaps = np.bincount(index, weights=confidence, minlength=bins) - np.bincount(index, weights=right, minlength=bins)
    return float(np.abs(gaps).sum() / max(count.sum(), 1))


def read_all(reader: ExpressionReader, faces: NDArray[np.uint8]) -> Answers:
    """What the network says of faces uint8 [N, 48, 48], none left out."""
    readings = reader.read_faces(faces)
    probabilities = np.stack([reading.probabilities for reading in readings])
    crowd = np.stack([reading.crowd for reading in readings if reading.crowd is not None])
    return probabilities, np.array([reading.uncertainty for reading in readings], np.float32), crowd
