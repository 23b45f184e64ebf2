"""Batched augmentation of grey faces: flip, turn, zoom and shift in one resampling, light, low resolution, blur, noise,
JPEG, erasing, and a few faces ruined on purpose, so that the uncertainty sees what cannot be read.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["augment_faces", "normalize_faces"]

MEAN, STD = 0.5, 0.25
TURN, ZOOM, SHIFT = math.radians(11), 0.1, 0.06
CONTRAST, LIGHT = 0.3, 0.25
P_LIGHT, P_SMALL, P_BLUR, P_NOISE, P_JPEG, P_ERASE, P_RUINED = 0.5, 0.08, 0.06, 0.07, 0.07, 0.25, 0.03


def normalize_faces(faces: Tensor) -> Tensor:
    """uint8 [N, H, W] to normalized float [N, 1, H, W]."""
    return (faces[:, None].float() / 255 - MEAN) / STD


def augment_faces(faces: Tensor, generator: torch.Generator, *, geometry_only: bool = False) -> tuple[Tensor, Tensor]:
    """uint8 [N, H, W] to augmented, normalized float [N, 1, H, W] and which were ruined, bool [N].

    `geometry_only` leaves all but the flip, turn, zoom and shift, and ruins none.
    """
    count, side = len(faces), faces.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    def chance(probability: float) -> Tensor:
        return torch.rand(count, generator=generator) < probability

    if geometry_only:
        whole = torch.zeros(count, dtype=torch.bool)
        return _resample(normalize_faces(faces), uniform, chance(0.5), whole), whole
    jpeg = chance(P_JPEG)
    if jpeg.any():
        faces = faces.clone()
        for index in jpeg.nonzero().flatten().tolist():
            quality = int(torch.randint(15, 70, (1,), generator=generator))
            packed = cv2.imencode(".jpg", faces[index].numpy(), (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
            faces[index] = torch.from_numpy(np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)))
    ruined = chance(P_RUINED)
    out = _resample(normalize_faces(faces), uniform, chance(0.5), ruined)
    for chosen, target in ((chance(P_SMALL), 20), (ruined & chance(0.5), 7)):
        if chosen.any():
            small = F.interpolate(out[chosen], size=(target, target), mode="area")
            out[chosen] = F.interpolate(small, size=(side, side), mode="bilinear")
    blurred = chance(P_BLUR)
    if blurred.any():
        kernel = torch.tensor((1.0, 4.0, 6.0, 4.0, 1.0)) / 16
        out[blurred] = F.conv2d(out[blurred], (kernel[:, None] * kernel[None])[None, None], padding=2)
    light = chance(P_LIGHT).float().view(-1, 1, 1, 1)
    out = out * (1 + light * uniform(-CONTRAST, CONTRAST).view(-1, 1, 1, 1))
    out = out + light * uniform(-LIGHT, LIGHT).view(-1, 1, 1, 1) / STD
    noisy = chance(P_NOISE).float().view(-1, 1, 1, 1) * uniform(0.0, 0.3).view(-1, 1, 1, 1)
    out = out + noisy * torch.randn(out.shape, generator=generator)
    return _erase(out, chance(P_ERASE), generator), ruined


def _resample(faces: Tensor, uniform: object, flipped: Tensor, ruined: Tensor) -> Tensor:
    """One rotation, zoom, shift and flip a face; ruined ones are turned and shifted out of their frame."""
    turn = uniform(-TURN, TURN) * torch.where(ruined, 4.0, 1.0)  # type: ignore[operator]
    zoom = 1 + uniform(-ZOOM, ZOOM)  # type: ignore[operator]
    shift = torch.where(ruined, 8.0, 1.0)
    theta = torch.zeros(len(faces), 2, 3)
    mirror = torch.where(flipped, -1.0, 1.0)
    theta[:, 0, 0], theta[:, 0, 1] = mirror * zoom * turn.cos(), -zoom * turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = mirror * zoom * turn.sin(), zoom * turn.cos()
    theta[:, 0, 2] = 2 * uniform(-SHIFT, SHIFT) * shift  # type: ignore[operator]
    theta[:, 1, 2] = 2 * uniform(-SHIFT, SHIFT) * shift  # type: ignore[operator]
    grid = F.affine_grid(theta, list(faces.shape), align_corners=False)
    return F.grid_sample(faces, grid, align_corners=False, padding_mode="zeros")


def _erase(faces: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    side = faces.shape[-1]
    for index in chosen.nonzero().flatten().tolist():
        high, wide, top, left, value = torch.rand(5, generator=generator).tolist()
        box_h, box_w = int(side * (0.1 + 0.3 * high)), int(side * (0.1 + 0.3 * wide))
        y, x = int(top * (side - box_h)), int(left * (side - box_w))
        faces[index, :, y : y + box_h, x : x + box_w] = (value - MEAN) / STD
    return faces
