"""The ranges of a network's activations on training pictures, for `models.quantization`. Needs no torch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray

from models.engine.preprocess import fold_pixels
from models.quantization import convolution_inputs
from models.spec import ModelSpec, WeightsRecord
from models.weights import assemble_onnx

__all__ = ["batches_of", "record_ranges"]

DIGITS = 5
SAMPLE, BATCH = 320, 16


def batches_of(pictures: NDArray[np.uint8], seed: int = 0) -> Iterable[NDArray[np.uint8]]:
    """Some of the pictures, uint8 [N, H, W, C], in batches; the same ones each time."""
    chosen = np.random.default_rng(seed).permutation(len(pictures))[:SAMPLE]
    return (pictures[chosen[start : start + BATCH]] for start in range(0, len(chosen), BATCH))


def record_ranges(spec: ModelSpec, batches: Iterable[NDArray[np.uint8]]) -> WeightsRecord:
    """Measure in float32 and write into the network's record: the mean over batches of each one's least and largest.

    A mean, since the farthest value of all would take steps from all others. `batches` are uint8 [N, H, W, C], BGR or
    grey, of the sizes that the network will see. Raises: ValueError without a batch; as `assemble_onnx`.
    """
    assembled = assemble_onnx(spec)
    names = convolution_inputs(onnx.load_from_string(assembled))
    core = ov.Core()
    model = core.read_model(fold_pixels(assembled, spec))
    model.add_outputs(names)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for batch in batches:
        found: Any = compiled({spec.input.name: batch})
        for name in names:
            seen[name].append((float(found[name].min()), float(found[name].max())))
    if not seen:
        raise ValueError(f"{spec.stem}: no picture to measure the ranges of activations on")
    raw = json.loads(spec.record_path.read_text(encoding="utf-8"))
    raw["ranges"] = {name: [_short(value) for value in np.mean(limits, axis=0)] for name, limits in seen.items()}
    spec.record_path.write_text(json.dumps(raw, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return spec.record()


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
