"""How accuracy and uncertainty fare when faces get smaller, blurred, compressed or turned. Needs no torch."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.engine import EngineConfig, load_engine
from models.expression.reader import ExpressionReader
from models.expression.spec import EXPRESSION_NANO
from training.expression.data import FaceSet
from training.expression.evaluate import calibration_error, read_all

__all__ = ["CONDITIONS", "measure_conditions"]

Face = NDArray[np.uint8]
COLUMNS = ("condition", "level", "accuracy", "ece", "uncertainty")
JITTER = np.array((12.0, 0.08, 0.08, 0.12))
"""Degrees, shares of the side, zoom: the most that a box is off where landmarks are right."""
COVERAGES = tuple(range(10, 101, 5))


def _shrunk(face: Face, side: float) -> Face:
    small = cv2.resize(face, (int(side), int(side)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, face.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _blurred(face: Face, sigma: float) -> Face:
    return face if sigma == 0 else np.asarray(cv2.GaussianBlur(face, (0, 0), sigma), np.uint8)


def _compressed(face: Face, quality: float) -> Face:
    packed = cv2.imencode(".jpg", face, (cv2.IMWRITE_JPEG_QUALITY, int(quality)))[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)


def _misframed(face: Face, share: float) -> Face:
    """Turned, shifted and zoomed by chance, as a box without landmarks frames it; the same chance at every level."""
    generator = np.random.default_rng(list(face[::8, ::8].tobytes()))
    turn, shift_x, shift_y, zoom = share * generator.uniform(-1, 1, 4) * JITTER
    side = face.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), turn, 1 + zoom)
    matrix[:, 2] += (shift_x * side, shift_y * side)
    return np.asarray(cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _turned(face: Face, degrees: float) -> Face:
    side = face.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)


CONDITIONS: dict[str, tuple[Callable[[Face, float], Face], tuple[float, ...]]] = {
    "resolution, px": (_shrunk, (8, 12, 16, 20, 24, 32, 48)),
    "blur, sigma px": (_blurred, (0, 0.5, 1, 1.5, 2, 3)),
    "JPEG quality": (_compressed, (5, 10, 20, 30, 50, 70, 90)),
    "framing, share of a box's error": (_misframed, (0, 0.5, 1, 1.5)),
    "rotation, degrees": (_turned, (-45, -30, -20, -10, 0, 10, 20, 30, 45)),
}


def measure_conditions(faces: FaceSet, config: EngineConfig, out: Path) -> dict[str, Any]:
    """Write `conditions.csv` and `conditions.png` (with the risk-coverage curve) into `out`; returns both as numbers.

    Accuracy, ECE and mean uncertainty in percent. Raises: EngineError.
    """
    with load_engine(EXPRESSION_NANO, config, from_uint8=True) as engine:
        reader = ExpressionReader(engine)
        rows = []
        for name, (change, levels) in CONDITIONS.items():
            for level in levels:
                changed = np.stack([change(face, level) for face in faces.images])
                probabilities, uncertainty, _ = read_all(reader, changed)
                rows.append({"condition": name, "level": level, **_figures(probabilities, uncertainty, faces.labels)})
        probabilities, uncertainty, _ = read_all(reader, faces.images)
    right = (probabilities.argmax(axis=1) == faces.labels)[np.argsort(uncertainty, kind="stable")]
    coverage = {
        percent: round(100 * float(right[: max(1, len(right) * percent // 100)].mean()), 2) for percent in COVERAGES
    }
    out.mkdir(parents=True, exist_ok=True)
    with (out / "conditions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    _plot(rows, coverage, out / "conditions.png")
    return {"conditions": rows, "accuracy_at_coverage": coverage, "n": len(right)}


def _figures(
    probabilities: NDArray[np.float32], uncertainty: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, float]:
    right = probabilities.argmax(axis=1) == labels
    shares = {
        "accuracy": float(right.mean()),
        "ece": calibration_error(probabilities.max(axis=1), right),
        "uncertainty": float(uncertainty.mean()),
    }
    return {name: round(100 * share, 2) for name, share in shares.items()}


def _plot(rows: list[dict[str, Any]], coverage: dict[int, float], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(CONDITIONS) + 1, sharey=True)
    for axis, name in zip(axes, CONDITIONS, strict=False):
        found = [row for row in rows if row["condition"] == name]
        levels = [row["level"] for row in found]
        for column, colour in (("accuracy", "#0072B2"), ("uncertainty", "#D55E00")):
            axis.plot(levels, [row[column] for row in found], marker="o", ms=3, color=colour, label=column)
        axis.set_xlabel(name)
    axes[-1].plot(list(coverage), list(coverage.values()), marker="o", ms=3, color="#0072B2")
    axes[-1].set_xlabel("% kept, the surest first")
    axes[0].set_ylabel("%")
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_ylim(0, 100)
    figure.savefig(path, dpi=110)
