"""Crops keep people unsqueezed, pad with the mean colour, and name a box that shows nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputShapeError
from models.reid import EmptyBoxError, crop_people
from models.reid.preprocess import normalize_crops

MEAN_BGR = (104, 116, 124)


def frame(height: int = 200, width: int = 300) -> np.ndarray:
    ys, xs = np.mgrid[:height, :width]
    return np.stack([xs % 256, ys % 256, (xs + ys) % 256], axis=2).astype(np.uint8)


def test_a_box_of_one_to_two_fills_the_crop() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    picture[50:250, 100:200] = 255
    crop = crop_people(picture, np.array([[100, 50, 200, 250]], np.float32))[0]
    assert crop.shape == (128, 64, 3)
    assert (crop[4:-4, 4:-4] == 255).all()
    assert crop[0].max() < 128  # the margin of 5 %


def test_a_wide_box_is_not_squeezed() -> None:
    picture = np.zeros((400, 400, 3), np.uint8)
    picture[150:250, 150:250] = 255  # a square stays a square
    crop = crop_people(picture, np.array([[150, 150, 250, 250]], np.float32))[0, ..., 0]
    rows, columns = np.flatnonzero(crop.max(axis=1) > 127), np.flatnonzero(crop.max(axis=0) > 127)
    assert abs(len(rows) - len(columns)) <= 2  # each edge is on a whole pixel


def test_outside_the_frame_is_the_mean_colour() -> None:
    crop = crop_people(np.full((100, 100, 3), 255, np.uint8), np.array([[-50, 0, 50, 200]], np.float32))[0]
    assert tuple(crop[10, 4]) == MEAN_BGR
    assert tuple(crop[-4, -4]) == MEAN_BGR
    assert tuple(crop[30, 50]) == (255, 255, 255)
    assert abs(normalize_crops(crop[None])[0, :, 10, 4]).max() < 0.01  # zero for the network


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 50),
        (10, 50, 40, 20),
        (400, 10, 450, 90),
        (-90, -90, -1, -1),
        (np.nan, 0, 10, 10),
        (0, 0, np.inf, 10),
        (299.9, 0, 320, 90),
    ],
)
def test_a_box_without_area_is_named(box: tuple[float, ...]) -> None:
    boxes = np.array([(10, 10, 60, 110), box], np.float32)
    with pytest.raises(EmptyBoxError, match="box 1 of frame 3") as caught:
        crop_people(frame(), boxes, frame=3)
    assert (caught.value.index, caught.value.frame) == (1, 3)


@pytest.mark.parametrize("picture", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.uint16)])
def test_a_frame_of_another_form_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(InputShapeError, match="uint8"):
        crop_people(picture, np.zeros((0, 4), np.float32))


coordinates = st.floats(-1000, 1300, width=32)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), min_size=1, max_size=1))
def test_any_finite_box_gives_a_crop_or_its_name(boxes: list[tuple[float, ...]]) -> None:
    try:
        crops = crop_people(frame(), np.array(boxes, np.float32))
    except EmptyBoxError:
        return
    assert crops.shape == (1, 128, 64, 3)
