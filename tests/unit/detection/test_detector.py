"""Frames of many sizes through one engine: grouped, cut into batches, and answered in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.detection import PERSON, Detector
from models.errors import InputShapeError


class BrightSpots:
    """Stands in for the network: a person of 32 x 32 at each stride-32 point on whose pixel the picture is white."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        pixels = inputs["images"]
        assert pixels.dtype == np.uint8
        self.batches.append(pixels.shape)
        count, height, width, _ = pixels.shape
        fine = height * width // 64 + height * width // 256
        points = np.zeros((count, fine + height * width // 1024, 16), np.float32)
        points[..., :2] = -12
        spots = pixels[:, 16::32, 16::32, 0] > 200
        points[:, fine:, PERSON] = np.where(spots.reshape(count, -1), 3.0, -12.0)
        points[..., 2:6] = 0.5
        return {"points": points}


@pytest.fixture
def engine() -> BrightSpots:
    return BrightSpots()


@pytest.fixture
def detector(engine: BrightSpots) -> Detector:
    return Detector(engine, long_side=320)  # type: ignore[arg-type]


def picture(width: int, height: int, spot: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), np.uint8)
    if spot is not None:
        image[spot[1] * 32 : spot[1] * 32 + 32, spot[0] * 32 : spot[0] * 32 + 32] = 255
    return image


def test_sizes_are_mixed_and_answers_stay_in_order(detector: Detector, engine: BrightSpots) -> None:
    wide, tall = (320, 192), (192, 320)
    images = [picture(*(wide if index % 2 else tall), spot=(index % 5, 1)) for index in range(10)]
    found = detector.detect(images)
    assert sorted(engine.batches) == [(1, 192, 320, 3), (1, 320, 192, 3), (4, 192, 320, 3), (4, 320, 192, 3)]
    for index, one in enumerate(found):
        left = 32.0 * (index % 5)
        np.testing.assert_allclose(one.boxes_xyxy, [(left, 32, left + 32, 64)], atol=1e-3)


def test_nothing_is_asked_about_no_picture(detector: Detector, engine: BrightSpots) -> None:
    assert detector.detect([]) == []
    assert engine.batches == []


def test_a_picture_decoded_smaller_is_answered_in_the_frame_s_pixels(detector: Detector) -> None:
    (found,) = detector.detect([picture(320, 192, spot=(2, 3))], [(1280, 768)])
    np.testing.assert_allclose(found.boxes_xyxy, [(256, 384, 384, 512)], atol=1e-3)


@pytest.mark.parametrize(
    "image",
    [np.zeros((32, 32), np.uint8), np.zeros((0, 32, 3), np.uint8), np.zeros((32, 32, 3), np.float32)],
    ids=["grey", "empty", "float"],
)
def test_what_is_no_picture_is_refused(detector: Detector, image: NDArray[np.uint8]) -> None:
    with pytest.raises(InputShapeError, match=r"expected .*uint8 \[H, W, 3\]"):
        detector.detect([picture(320, 192), image])


def test_sizes_must_be_as_many_as_pictures(detector: Detector) -> None:
    with pytest.raises(InputShapeError, match="a size for each of 2 pictures, got 1"):
        detector.detect([picture(320, 192)] * 2, [(320, 192)])
