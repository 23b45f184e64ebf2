"""Open Image Denoise (package `pyoidn`): the prefilter of references, and the peer to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["denoise"]


def denoise(
    picture: NDArray[np.float32],
    albedo: NDArray[np.float32],
    normal: NDArray[np.float32],
    *,
    quality: str = "high",
) -> NDArray[Any]:
    """Denoise linear HDR [H, W, 3] with clean albedo and world normals of the same size.

    Raises: RuntimeError of OIDN; ImportError if pyoidn is not installed (`make setup-train`).
    """
    import pyoidn  # only training's environment has it

    arrays = [np.ascontiguousarray(values, np.float32) for values in (picture, albedo, normal)]
    result = pyoidn.denoise(arrays[0], albedo=arrays[1], normal=arrays[2], hdr=True, clean_aux=True, quality=quality)
    return np.asarray(result, np.float32)
