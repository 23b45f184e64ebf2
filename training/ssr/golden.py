"""The golden tensors of the shipped network: two made-up frames and what torch makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.ssr.network import FRAME_CHANNELS, HISTORY_CHANNELS, SsrNetwork

__all__ = ["GOLDEN_FILE", "golden_inputs", "write_golden"]

GOLDEN_FILE = Path(__file__).parents[2] / "tests" / "golden" / "ssr" / "ssr.npz"
SIDE = 32


def golden_inputs() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Frame [2, 15, 32, 32] and history [2, 8, 32, 32] in the ranges that they really have."""
    rng = np.random.default_rng(3)
    frame = rng.random((2, FRAME_CHANNELS, SIDE, SIDE), np.float32)
    frame[:, 0:3] = rng.exponential(0.3, (2, 3, SIDE, SIDE))
    frame[:, 3] = 0
    frame[:, 3, ::2, ::2] = 1
    frame[:, 7:10] /= np.linalg.norm(frame[:, 7:10], axis=1, keepdims=True)
    frame[:, 0:3] *= frame[:, 3:4]
    history = rng.random((2, HISTORY_CHANNELS, SIDE, SIDE), np.float32)
    history[:, 7] = rng.random((2, SIDE, SIDE)) > 0.2
    history[:, :7] *= history[:, 7:]
    history[1] = 0
    return frame.astype(np.float16).astype(np.float32), history.astype(np.float16).astype(np.float32)


def write_golden(network: SsrNetwork) -> Path:
    """Beside the tests, whenever the network is exported."""
    frame, history = golden_inputs()
    with torch.inference_mode():
        radiance, after = network(torch.from_numpy(frame), torch.from_numpy(history))
    GOLDEN_FILE.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        GOLDEN_FILE,
        frame=frame.astype(np.float16),
        history=history.astype(np.float16),
        radiance=radiance.numpy(),
        history_out=after.numpy().astype(np.float16),
    )
    return GOLDEN_FILE
