"""What a public detector sees at every point of a training picture, and the loss that teaches ours to see it.

Labels say where people are; a teacher also says how sure it is everywhere else, and on pictures that augmentation
made up. YOLOX-nano and ours have the same strides, so that its points are ours one for one. Its weights are not ours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.detection.network import STRIDES
from models.engine.openvino import shared_core
from training.detection.data import PERSON
from training.detection.loss import BOX_WEIGHT, ciou, decode

__all__ = ["Distillation", "Teacher"]

READINGS = ("Concat_331", "Concat_364", "Concat_397")
"""By stride, before the graph flattens them: box (dx, dy, log w, log h), objectness, 80 classes (a person first)."""
NECK = ("Conv_244", "Conv_270", "Conv_296")
NECK_CHANNELS = (64, 128, 256)
LEAST_SURE = 0.1
FEATURE_WEIGHT = 2.0


class Teacher:
    """YOLOX-nano (Ge et al., 2021) on one thread."""

    def __init__(self, path: Path) -> None:
        core = shared_core()
        model = core.read_model(path)
        operations = {one.get_friendly_name(): one for one in model.get_ops()}
        model.add_outputs([operations[name].output(0) for name in (*READINGS, *NECK)])
        model.reshape([-1, 3, -1, -1])
        self._run = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})

    def __call__(self, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """uint8 BGR [N, S, S, 3], S a multiple of 32 -> how sure it is of a person [N, A], boxes xyxy [N, A, 4], neck.

        The points come in the order of our network's; boxes are in pixels of the pictures.
        """
        said = self._run(np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32))
        maps = [torch.from_numpy(np.array(said[index])) for index in range(1, 1 + len(READINGS) + len(NECK))]
        sure, boxes = [], []
        for reading, stride in zip(maps, STRIDES, strict=False):
            rows, columns = torch.meshgrid(*(torch.arange(side) for side in reading.shape[2:]), indexing="ij")
            corner = torch.stack((columns, rows))
            centre = (reading[:, :2] + corner) * stride
            half = reading[:, 2:4].exp() * (stride / 2)
            boxes.append(torch.cat((centre - half, centre + half), 1).flatten(2))
            sure.append((reading[:, 4] * reading[:, 5]).flatten(1))
        return torch.cat(sure, 1), torch.cat(boxes, 2).transpose(1, 2), maps[len(READINGS) :]


class Distillation(nn.Module):
    """Class scores and boxes point for point, and the neck up to a linear map.

    The neck by correlation, channel for channel (Cao et al., PKD, NeurIPS 2022, section 3.2), as the two networks'
    features differ in scale. The linear maps are learned with the network and do not ship.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(nn.Conv2d(channels, wide, 1) for wide in NECK_CHANNELS)

    def forward(
        self, points: Tensor, neck: list[Tensor], said: tuple[Tensor, Tensor, list[Tensor]], size: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch: our points [N, A, 16] and neck beside what the teacher said of pictures of `size`."""
        sure, their_boxes, their_neck = said
        logits, boxes, _, _, _ = decode(points, size)
        person = logits[..., PERSON]
        total = sure.sum().clamp(min=1.0)
        off = (person.sigmoid() - sure).abs().pow(2).detach()
        class_loss = (F.binary_cross_entropy_with_logits(person, sure, reduction="none") * off * 2).sum() / total
        seen = sure > LEAST_SURE
        box_loss = ((1 - ciou(boxes[seen], their_boxes[seen])) * sure[seen]).sum() / total
        pairs = zip(self.adapters, neck, their_neck, strict=True)
        feature_loss = torch.stack([_unlike(adapter(ours.float()), theirs) for adapter, ours, theirs in pairs]).mean()
        loss = class_loss + BOX_WEIGHT * box_loss + FEATURE_WEIGHT * feature_loss
        parts = {"taught_class": class_loss.item(), "taught_box": box_loss.item(), "taught_neck": feature_loss.item()}
        return loss, parts


def _unlike(ours: Tensor, theirs: Tensor) -> Tensor:
    """One minus the correlation of [N, C, H, W] over all but the channels, in the mean."""
    return 1 - (_standard(ours) * _standard(theirs)).mean()


def _standard(features: Tensor) -> Tensor:
    flat = features.transpose(0, 1).flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    return centred / centred.pow(2).mean(1, keepdim=True).add(1e-6).sqrt()
