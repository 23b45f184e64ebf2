"""Batches of cropped, augmented sequences out of the files of `sequences`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        frames, motion, reference, factors = (np.stack([item[part] for item in chosen], 1) for part in range(4))
        referenced = self.stored[names[0]][3]
        return Batch(
            torch.from_numpy(frames).float(memory_format=torch.contiguous_format)
            * torch.from_numpy(factors)[..., None, None],
            torch.from_numpy(motion).float(memory_format=torch.contiguous_format),
            torch.from_numpy(reference).float(memory_format=torch.contiguous_format),
            referenced,
            torch.from_numpy(1 / factors[0, :, 0]).reshape(-1, 1, 1, 1),
        )

    def _length(self, name: str) -> int:
        return len(self.stored[name][0])

    def _sample(self, name: str, crop: int) -> tuple[NDArray[Any], ...]:
        """Frames, motion and reference as halves, which move in half the time, and each channel's factor [1, 19]."""
        rng = self.rng
        frames, motion, reference, _referenced = self.stored[name]
        height, width = frames.shape[2:]
        top, left = (2 * int(rng.integers(0, (side - crop) // 2 + 1)) for side in (height, width))
        window = np.s_[..., top : top + crop, left : left + crop]
        frames, motion, reference = (array[window] for array in (frames, motion, reference))
        if rng.random() < 0.5:
            frames, motion, reference = (array[..., ::-1] for array in (frames, motion, reference))
            motion = motion * np.array([-1, 1], np.float16)[:, None, None]
        if rng.random() < 0.5:
            frames, motion, reference = (array[..., ::-1, :] for array in (frames, motion, reference))
            motion = motion * np.array([1, -1], np.float16)[:, None, None]
        if rng.random() < 0.5:
            frames, motion, reference = (array.swapaxes(-1, -2) for array in (frames, motion, reference))
            motion = motion[:, ::-1]
        colours, axes = rng.permutation(3), rng.permutation(3)
        order = np.arange(frames.shape[1])
        for first, turned in ((0, colours), (4, colours), (7, axes), (10, colours), (13, colours)):
            order[first : first + 3] = first + turned
        factors = np.ones((1, frames.shape[1]), np.float32)
        factors[0, 7:10] = rng.choice([-1, 1], 3)
        traced = frames[:, 0:3].mean(dtype=np.float32) * 4
        factors[0, 0:3] = MEAN_RADIANCE / max(float(traced), 1e-3) * float(np.exp(rng.normal(0, 0.4)))
        return frames[:, order], motion, reference[:, colours], factors


def _channels(values: NDArray[np.generic]) -> NDArray[np.float16]:
    """[T, H, W] or [T, H, W, C] to [T, C, H, W]."""
    return np.asarray(values[:, None] if values.ndim == 3 else np.moveaxis(values, -1, 1), np.float16)
