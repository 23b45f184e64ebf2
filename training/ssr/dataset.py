"""Batches of cropped, augmented sequences out of the files of `sequences`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.ssr.network import FRAME_CHANNELS
from models.ssr.preprocess import FRAME_SLOTS, MEAN_RADIANCE
from training.ssr.sequences import load_planes
from training.ssr.validation import held_out

__all__ = ["Batch", "SequenceStore"]

SHORT_SHARE = 0.3
"""Most batches are of the longest sequences: a network that saw short ones only drifts on long streams."""
WHOLE_SHARE = 0.2
HISTORY_FRAMES = (2, 13)
"""Most batches begin so many frames before the first reference, since frames without one cost time, too."""


class Batch:
    """Frames [T, N, 15, H, W], motion [T, N, 2, H, W] pixels, reference [R, N, 3, H, W], referenced frame numbers.

    `radiance_scale` [N, 1, 1, 1] brings the network's radiance back to where white is 1.
    """

    def __init__(self, frames: Tensor, motion: Tensor, reference: Tensor, referenced: list[int], scale: Tensor) -> None:
        self.frames, self.motion, self.reference = frames, motion, reference
        self.referenced, self.radiance_scale = referenced, scale


class SequenceStore:
    """All sequences of a folder in memory as half floats; new files are found by `refresh`."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        """Sequences that `validation.held_out` names are left alone."""
        self.folder = folder
        self.begin(seed)
        self.stored: dict[str, tuple[Tensor, Tensor, Tensor, list[int]]] = {}
        self.refresh()

    def begin(self, seed: int) -> None:
        """The batches that follow are those of this seed."""
        self.rng = np.random.default_rng(seed)

    def refresh(self) -> int:
        """Load what is new; how many sequences there are."""
        for file in sorted(self.folder.glob("*.npz")):
            if file.name in self.stored or held_out(file.stem):
                continue
            planes = load_planes(file)
            frames = torch.cat([_slot(planes[name], len(slot)) for name, slot in FRAME_SLOTS.items()], 1)
            depth = frames[:, FRAME_SLOTS["depth"].start]
            depth /= max(float(depth.float().mean()), 1e-6)
            entry = frames, _channels(planes["motion"]), _channels(planes["reference"]), planes["referenced"].tolist()
            self.stored[file.name] = entry
        return len(self.stored)

    def batch(self, size: int, crop: int) -> Batch:
        """A random batch; crops are squares, a multiple of 16. `referenced` counts from the batch's first frame."""
        everything = list(self.stored)
        like = max(map(self._length, everything))
        if self.rng.random() < SHORT_SHARE:
            like = self._length(everything[int(self.rng.integers(len(everything)))])
        names = [name for name in everything if self._length(name) == like]  # a batch has one length
        referenced = self.stored[names[0]][3]
        first = max(0, referenced[0] - int(self.rng.integers(*HISTORY_FRAMES, endpoint=True)))
        first = 0 if self.rng.random() < WHOLE_SHARE else first
        count = like - first
        frames, motion = torch.empty(count, size, FRAME_CHANNELS, crop, crop), torch.empty(count, size, 2, crop, crop)
        reference, scale = torch.empty(len(referenced), size, 3, crop, crop), torch.empty(size, 1, 1, 1)
        for place, index in enumerate(self.rng.choice(len(names), size)):
            cut, factors = self._sample(names[index], crop, first)
            for target, part in zip((frames, motion, reference), cut, strict=True):
                target[:, place] = part
            frames[:, place] *= factors
            scale[place] = 1 / factors[0]
        return Batch(frames, motion, reference, [index - first for index in referenced], scale)

    def _length(self, name: str) -> int:
        return len(self.stored[name][0])

    def _sample(self, name: str, crop: int, first: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Frames, motion and reference as halves, which move in half the time, and each channel's factor [15, 1, 1]."""
        rng = self.rng
        frames, motion, reference, _referenced = self.stored[name]
        height, width = frames.shape[2:]
        top, left = (2 * int(rng.integers(0, (side - crop) // 2 + 1)) for side in (height, width))
        colours, axes = rng.permutation(3), rng.permutation(3)
        order = np.arange(FRAME_CHANNELS)
        for start, turned in ((0, colours), (4, colours), (7, axes)):
            order[start : start + 3] = start + turned
        flipped = [axis for axis in (-1, -2) if rng.random() < 0.5]
        turn = rng.random() < 0.5
        signs = torch.tensor([-1.0 if -1 in flipped else 1.0, -1.0 if -2 in flipped else 1.0]).half()
        places = torch.from_numpy(order), torch.tensor([1, 0] if turn else [0, 1]), torch.from_numpy(colours)
        cut = []
        for layers, chosen in zip((frames[first:], motion[first:], reference), places, strict=True):
            part = layers[..., top : top + crop, left : left + crop]
            part = part * signs[:, None, None] if part.shape[1] == 2 else part
            part = part[:, chosen].flip(flipped)
            cut.append(part.transpose(-1, -2) if turn else part)
        factors = torch.ones(FRAME_CHANNELS, 1, 1)
        factors[7:10, 0, 0] = torch.from_numpy(rng.choice([-1.0, 1.0], 3)).float()
        traced = float(cut[0][:, 0:3].float().mean()) * 4
        factors[0:3] = MEAN_RADIANCE / max(traced, 1e-3) * float(np.exp(rng.normal(0, 0.4)))
        return (cut[0], cut[1], cut[2]), factors


def _slot(values: NDArray[np.generic], channels: int) -> Tensor:
    """A plane's channels of the frame tensor: itself, or the mean of its colours."""
    whole = _channels(values)
    return whole if whole.shape[1] == channels else whole.float().mean(1, keepdim=True).half()


def _channels(values: NDArray[np.generic]) -> Tensor:
    """[T, H, W] or [T, H, W, C] to halves [T, C, H, W]."""
    ordered = values[:, None] if values.ndim == 3 else np.moveaxis(values, -1, 1)
    return torch.from_numpy(np.ascontiguousarray(ordered, np.float16))
