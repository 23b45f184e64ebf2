"""The teacher's points are ours one for one, and agreeing with it costs nothing."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")

MIRROR = Path(os.environ.get("FOVEAL_MODEL_MIRROR", "../shared/data/peers"))
SIDE = 416


def test_the_teacher_says_at_its_points_what_the_peer_says_of_the_picture() -> None:
    from foveal.demo.inputs import talking_face
    from models.detection.peers import YoloxNano
    from training.detection.distill import Teacher

    path = MIRROR / "yolox_nano.onnx"
    if not path.is_file():
        pytest.skip("YOLOX-nano's file is not there: FOVEAL_MODEL_MIRROR names no folder that has it")
    _, frame = cv2.VideoCapture(str(talking_face())).read()
    square = cv2.resize(frame, (SIDE, SIDE))
    sure, boxes, neck = Teacher(path)(np.stack([square, square[::-1].copy()]))
    best = YoloxNano(path)(square)[0]
    surest = int(sure[0].argmax())
    assert sure.shape == (2, (SIDE // 8) ** 2 + (SIDE // 16) ** 2 + (SIDE // 32) ** 2)
    assert [map.shape[2] for map in neck] == [SIDE // 8, SIDE // 16, SIDE // 32]
    assert best[4] > 0.5
    assert float(sure[0, surest]) == pytest.approx(best[4], abs=0.02)
    np.testing.assert_allclose(boxes[0, surest], best[:4], atol=4.0)  # half precision moves edges by a pixel or two


def test_who_agrees_with_the_teacher_is_not_corrected() -> None:
    from training.detection.distill import NECK_CHANNELS, Distillation

    torch.manual_seed(0)
    size, channels = 64, 8
    count = (size // 8) ** 2 + (size // 16) ** 2 + (size // 32) ** 2
    distillation = Distillation(channels)
    neck = [torch.randn(2, channels, size // stride, size // stride) for stride in (8, 16, 32)]
    with torch.no_grad():
        theirs = [5 + 3 * adapter(one) for adapter, one in zip(distillation.adapters, neck, strict=True)]
    assert [one.shape[1] for one in theirs] == list(NECK_CHANNELS)
    points = torch.zeros(2, count, 16)
    points[..., :2] = -6.0
    points[:, 9, 0], points[..., 2:6] = 2.0, 1.0
    sure = points[..., 0].sigmoid()
    boxes = torch.zeros(2, count, 4)
    boxes[:, 9] = torch.tensor([4.0, 4.0, 20.0, 20.0])  # row 1, column 1 of stride 8: a stride to each side of (12, 12)
    _, agreed = distillation(points, neck, (sure, boxes, theirs), size)
    assert agreed["taught_class"] < 1e-6
    assert agreed["taught_box"] < 1e-4
    assert agreed["taught_neck"] < 1e-3
    loss, parts = distillation(points, neck, (1 - sure, boxes + 8, [-one for one in theirs]), size)
    assert parts["taught_class"] > 0.1
    assert parts["taught_box"] > 0.1
    assert parts["taught_neck"] > 1.5
    loss.backward()
    assert all(parameter.grad is not None for parameter in distillation.parameters())
