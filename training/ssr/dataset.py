"""Batches of cropped, augmented sequences out of the files of `sequences`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.ssr.preprocess import MEAN_RADIANCE, PLANE_ORDER
from training.ssr.sequences import load_planes

__all__ = ["Batch", "SequenceStore"]

SHORT_SHARE = 0.3
"""Most batches are of the longest sequences: a network that saw short ones only drifts on long streams."""


class Batch:
    """Frames [T, N, 19, H, W], motion [T, N, 2, H, W] pixels, reference [R, N, 3, H, W], referenced frame numbers.

    `radiance_scale` [N, 1, 1, 1] brings the network's radiance back to where white is 1.
    """

    def __init__(self, frames: Tensor, motion: Tensor, reference: Tensor, referenced: list[int], scale: Tensor) -> None:
        self.frames, self.motion, self.reference = frames, motion, reference
        self.referenced, self.radiance_scale = referenced, scale


class SequenceStore:
    """All sequences of a folder in memory as half floats; new files are found by `refresh`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = np.random.default_rng(seed)
        self.stored: dict[str, tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float16], list[int]]] = {}
        self.refresh()

    def refresh(self) -> int:
        """Load what is new; how many sequences there are."""
        for file in sorted(self.folder.glob("*.npz")):
            if file.name in self.stored:
                continue
            planes = load_planes(file)
            stacked = [_channels(planes[name]) for name in PLANE_ORDER]
            frames = np.concatenate(stacked, 1)
            frames[:, 16] /= max(float(frames[:, 16].astype(np.float32).mean()), 1e-6)
            entry = frames, _channels(planes["motion"]), _channels(planes["reference"]), planes["referenced"].tolist()
            self.stored[file.name] = entry
        return len(self.stored)

    def batch(self, size: int, crop: int) -> Batch:
        """A random batch; crops are squares, a multiple of 16."""
        everything = list(self.stored)
        like = max(map(self._length, everything))
        if self.rng.random() < SHORT_SHARE:
            like = self._length(everything[int(self.rng.integers(len(everything)))])
        names = [name for name in everything if self._length(name) == like]  # a batch has one length
        chosen = [self._sample(names[index], crop) for index in self.rng.choice(len(names), size)]
        frames, motion, reference, scale = (np.stack([item[part] for item in chosen], 1) for part in range(4))
        referenced = self.stored[names[0]][3]
        return Batch(
            *(torch.from_numpy(np.ascontiguousarray(array)) for array in (frames, motion, reference)),
            referenced,
            torch.from_numpy(scale.reshape(-1, 1, 1, 1)),
        )

    def _length(self, name: str) -> int:
        return len(self.stored[name][0])

    def _sample(self, name: str, crop: int) -> tuple[NDArray[np.float32], ...]:
        rng = self.rng
        frames, motion, reference, _referenced = self.stored[name]
        height, width = frames.shape[2:]
        top, left = (2 * int(rng.integers(0, (side - crop) // 2 + 1)) for side in (height, width))
        window = np.s_[..., top : top + crop, left : left + crop]
        frames, motion, reference = (array[window].astype(np.float32) for array in (frames, motion, reference))
        if rng.random() < 0.5:
            frames, motion, reference = (array[..., ::-1] for array in (frames, motion, reference))
            motion = motion * np.array([-1, 1], np.float32)[:, None, None]
        if rng.random() < 0.5:
            frames, motion, reference = (array[..., ::-1, :] for array in (frames, motion, reference))
            motion = motion * np.array([1, -1], np.float32)[:, None, None]
        if rng.random() < 0.5:
            frames, motion, reference = (array.swapaxes(-1, -2) for array in (frames, motion, reference))
            motion = motion[:, ::-1]
        frames = frames.copy()
        colours = rng.permutation(3)
        for first in (0, 4, 10, 13):
            frames[:, first : first + 3] = frames[:, first : first + 3][:, colours]
        reference = reference[:, colours]
        frames[:, 7:10] = frames[:, 7:10][:, rng.permutation(3)] * rng.choice([-1, 1], 3)[:, None, None]
        traced = frames[:, 0:3].mean() * 4
        scale = MEAN_RADIANCE / max(float(traced), 1e-3) * float(np.exp(rng.normal(0, 0.4)))
        frames[:, 0:3] *= scale
        return frames, motion, reference, np.array([1 / scale], np.float32)


def _channels(values: NDArray[np.generic]) -> NDArray[np.float16]:
    """[T, H, W] or [T, H, W, C] to [T, C, H, W]."""
    return np.asarray(values[:, None] if values.ndim == 3 else np.moveaxis(values, -1, 1), np.float16)
