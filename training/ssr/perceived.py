"""FLIP: how different two pictures look when they are flipped, by its authors' own library (Andersson et al. 2020)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.ssr.postprocess import encode_srgb

__all__ = ["flip"]


def flip(result: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Mean of 0 (the same) to 1 for linear pictures [H, W, 3], encoded and clamped, at the library's usual distance."""
    import flip_evaluator  # of the train extra; the rest of the evaluation goes without

    shown = [np.ascontiguousarray(encode_srgb(picture)) for picture in (reference, result)]
    _map, mean, _settings = flip_evaluator.evaluate(
        *shown, "LDR", inputsRGB=True, applyMagma=False, computeMeanError=True
    )
    return float(mean)
