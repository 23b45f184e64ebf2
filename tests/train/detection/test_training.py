"""A few steps of training on drawn pictures; the loss where nobody is; the exported topology against torch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.detection.spec import DETECTION_NANO, FACE, PERSON
from models.engine import EngineConfig, load_engine
from models.spec import ModelSpec

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")

AGREEMENT = 2e-3
"""Largest difference of an output (logits and strides, of size 1 to 30) between the engine in float32 and torch."""


def drawn(number: int, people: int = 2) -> Any:
    """A picture of bright bars (people) with a dark dot (face) on a noisy ground."""
    from training.detection.data import Sample

    rng = np.random.default_rng(number)
    image = rng.integers(60, 90, (160, 160, 3), dtype=np.uint8)
    boxes, classes, marks = [], [], []
    for _ in range(people):
        x, y = rng.integers(4, 110), rng.integers(4, 80)
        image[y : y + 70, x : x + 30] = (200, 220, 240)
        image[y + 5 : y + 25, x + 5 : x + 25] = (20, 30, 40)
        boxes += [(x, y, x + 30, y + 70), (x + 5, y + 5, x + 25, y + 25)]
        classes += [PERSON, FACE]
        marks += [np.full((5, 2), np.nan), np.array([[x + 10, y + 10]] * 5)]
    return Sample(
        f"{number}.png",
        image,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.array(marks, np.float32).reshape(-1, 5, 2),
        np.ones(len(boxes), bool),
    )


def targets(boxes: list[Any], kinds: list[int], state: list[int]) -> tuple[Any, ...]:
    count = len(boxes)
    return (
        torch.tensor(boxes, dtype=torch.float32).reshape(1, count, 4),
        torch.tensor(kinds).reshape(1, count),
        torch.full((1, count, 5, 2), float("nan")),
        torch.tensor(state).reshape(1, count),
    )


def test_training_learns_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.detection import train as module

    monkeypatch.setattr(module, "SIDES", (128,))
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "WARMUP_STEPS", 5)
    monkeypatch.setattr(module, "LOG_EVERY", 10)
    samples = [drawn(number) for number in range(6)]
    checkpoint = module.train(samples, tmp_path, minutes=0.4)
    first = torch.load(checkpoint, weights_only=True)
    module.train(samples, tmp_path, minutes=0.55)
    second = torch.load(checkpoint, weights_only=True)
    assert second["step"] > first["step"] >= 20
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]


def test_a_picture_without_anybody_only_teaches_background() -> None:
    from models.detection.network import DetectorNet
    from training.detection.loss import DetectionLoss

    torch.manual_seed(0)
    network = DetectorNet()
    points = network(torch.randn(1, 3, 64, 64))
    loss, parts = DetectionLoss()(points, 64, *targets([(0, 0, 0, 0)], [0], [-1]))
    assert parts["box"] == parts["landmark"] == 0.0
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_what_is_neither_object_nor_background_teaches_nothing() -> None:
    from training.detection.loss import DetectionLoss

    points = torch.zeros(1, 84, 16)
    points[..., :2] = -4.0
    points[0, 9, PERSON] = 4.0  # stride 8, row 1, column 1: centre (12, 12)
    nobody = targets([(0, 0, 0, 0)], [PERSON], [-1])
    unsure = targets([(2, 2, 30, 30)], [PERSON], [0])
    wrong, _ = DetectionLoss()(points, 64, *nobody)
    spared, _ = DetectionLoss()(points, 64, *unsure)
    assert spared < 0.2 * wrong


def test_a_tiny_box_still_has_a_point() -> None:
    from training.detection.loss import DetectionLoss

    points = torch.zeros(1, 84, 16)
    points[..., 2:6] = 1.0  # as the network begins: a box of two strides
    _, parts = DetectionLoss()(points, 64, *targets([(8.5, 8.5, 11, 11)], [FACE], [1]))
    assert parts["box"] > 0


def test_the_exported_network_agrees_with_torch_at_two_sizes(tmp_path: Path) -> None:
    from models.detection.network import DetectorNet
    from training.export import export, load_network

    spec: ModelSpec = dataclasses.replace(DETECTION_NANO, folder=tmp_path)
    torch.manual_seed(0)
    export(DetectorNet().eval(), spec, (torch.zeros(2, 3, 96, 128),))
    network = load_network(DetectorNet(), spec).eval()
    normalize = spec.normalize
    assert normalize is not None
    with load_engine(spec, EngineConfig(compiler="openvino", precision="f32"), from_uint8=True) as engine:
        for height, width in ((64, 96), (160, 128)):
            pixels = np.random.default_rng(height).integers(0, 256, (3, height, width, 3), np.uint8)
            came = engine.run({"images": pixels})["points"]
            ready = (pixels.astype(np.float32) - normalize.mean[0]) / normalize.std[0]
            with torch.inference_mode():
                wanted = network(torch.from_numpy(ready.transpose(0, 3, 1, 2).copy())).numpy()
            assert came.shape == (3, height * width * (64 // 4 + 4 + 1) // 1024, 16)
            np.testing.assert_allclose(came, wanted, atol=AGREEMENT)


def test_the_peers_labels_are_added_sure_or_unsure(tmp_path: Path) -> None:
    from training.detection.teach import teach

    said = [[10.0, 10, 40, 90, 0.9], [50, 10, 80, 90, 0.3], [90, 10, 95, 20, 0.05]]
    asked = []

    def teacher(image: Any) -> Any:
        asked.append(image.shape)
        return np.array(said, np.float32)

    for _ in range(2):  # the second time it is remembered
        sample = drawn(0, people=0)
        teach([sample], PERSON, teacher, tmp_path / "said.json")
        assert sample.judged.tolist() == [True, False]
        assert sample.classes.tolist() == [PERSON, PERSON]
        np.testing.assert_allclose(sample.boxes, [row[:4] for row in said[:2]])
        assert np.isnan(sample.landmarks).all()
    assert asked == [(160, 160, 3)]


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_augmented_boxes_stay_on_what_was_drawn(mosaic: float) -> None:
    from training.detection.data import augment

    samples = [drawn(number, people=1) for number in range(4)]
    rng = np.random.default_rng(0)
    for _ in range(20):
        picture = augment(samples, 0, 128, rng, mosaic=mosaic)
        assert picture.image.shape == (128, 128, 3)
        assert (picture.boxes >= 0).all()
        assert (picture.boxes <= 128).all()
        for box, kind, judged in zip(picture.boxes, picture.classes, picture.judged, strict=True):
            x1, y1, x2, y2 = box.round().astype(int)
            inside = picture.image[y1:y2, x1:x2].astype(float).mean(2)
            if judged and kind == PERSON and min(inside.shape) > 8:
                assert inside[-inside.shape[0] // 3 :].mean() > picture.image.mean()


def test_faces_without_landmarks_get_those_of_the_face_that_the_peer_saw_there(tmp_path: Path) -> None:
    from training.detection.teach import teach_landmarks

    sample = drawn(0)
    faces = np.flatnonzero(sample.classes == FACE)
    known = sample.landmarks[faces[0]].copy()
    sample.landmarks[faces[1]] = np.nan
    marks = np.arange(10, dtype=np.float32)
    said = [[*(sample.boxes[face] + 1), sure, *marks] for face, sure in zip(faces, (0.9, 0.9), strict=True)]
    teach_landmarks([sample], lambda image: np.array(said, np.float32), tmp_path / "peer.json")
    assert (sample.landmarks[faces[0]] == known).all()
    assert (sample.landmarks[faces[1]] == marks.reshape(5, 2)).all()
    assert np.isnan(sample.landmarks[sample.classes == PERSON]).all()

    unsure = drawn(1)
    unsure.landmarks[:] = np.nan
    teach_landmarks([unsure], lambda image: np.array([[*unsure.boxes[1], 0.5, *marks]], np.float32), tmp_path / "b")
    assert np.isnan(unsure.landmarks).all()


def test_a_wider_network_begins_as_the_narrow_one() -> None:
    from models.detection.network import DetectorNet
    from training.detection.widen import widen

    torch.manual_seed(0)
    narrow, wide = DetectorNet("nano"), DetectorNet("small")
    for one in narrow.modules():
        if isinstance(one, torch.nn.BatchNorm2d):  # as after some training
            torch.nn.init.uniform_(one.weight, 0.5, 1.5)
            torch.nn.init.uniform_(one.running_mean, -0.5, 0.5)
    widen(wide, narrow)
    pictures = torch.rand(2, 3, 96, 64)
    with torch.inference_mode():
        torch.testing.assert_close(wide.eval()(pictures), narrow.eval()(pictures), atol=1e-4, rtol=1e-4)
    wide.train()(pictures).square().mean().backward()
    listened = wide.stage8[0][0].weight
    assert listened.grad is not None
    assert listened.grad[:, -1].abs().max() > 0  # to channels that the narrow one lacks, from the first step on
