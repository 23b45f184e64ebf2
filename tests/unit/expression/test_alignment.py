"""Faces land on the template whatever their place, size and tilt, and poor ones are named."""

import cv2
import numpy as np
import pytest

from models.expression.preprocess import TEMPLATE_XY, align_face, flaw_of_box, flaw_of_face


def drawn(scale: float, degrees: float, centre: complex, size: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame with dots where a turned and scaled template has its landmarks, with box [4] and landmarks [5, 2]."""
    turn = scale * np.exp(1j * np.deg2rad(degrees))
    points = turn * (TEMPLATE_XY[:, 0] - 24 + 1j * (TEMPLATE_XY[:, 1] - 24)) + centre
    frame = np.full((size, size, 3), 40, np.uint8)
    landmarks = np.stack([points.real, points.imag], axis=1)
    for x, y in landmarks:
        cv2.circle(frame, (round(x * 16), round(y * 16)), round(1.5 * scale * 16), (230, 230, 230), -1, cv2.LINE_AA, 4)
    half = np.array([18.8, 24.4]) * scale
    middle = np.array([centre.real, centre.imag])
    return frame, np.concatenate([middle - half, middle + half]).astype(np.float32), landmarks.astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 2.3, 7.0])
@pytest.mark.parametrize("degrees", [0.0, -35.0, 60.0])
def test_landmarks_land_on_the_template(scale: float, degrees: float) -> None:
    frame, box, landmarks = drawn(scale, degrees, 300 + 280j)
    face = align_face(frame, box, landmarks).astype(np.float64)
    for x, y in TEMPLATE_XY:
        ys, xs = np.mgrid[int(y) - 3 : int(y) + 5, int(x) - 3 : int(x) + 5]
        weight = face[ys, xs] - 39
        # Pixel centres are half a pixel into a pixel.
        assert abs((weight * (xs + 0.5)).sum() / weight.sum() - (x + 0.5 / scale)) < 0.7
        assert abs((weight * (ys + 0.5)).sum() / weight.sum() - (y + 0.5 / scale)) < 0.7


def test_an_upright_face_looks_alike_with_and_without_landmarks() -> None:
    frame, box, landmarks = drawn(3.0, 0.0, 300 + 300j)
    by_landmarks, by_box = align_face(frame, box, landmarks), align_face(frame, box, None)
    lacking = landmarks.copy()
    lacking[2] = np.nan
    np.testing.assert_array_equal(align_face(frame, box, lacking), by_box)
    assert np.corrcoef(by_landmarks.ravel(), by_box.ravel())[0, 1] > 0.8


def test_folded_landmarks_give_way_to_the_box() -> None:
    frame, box, _ = drawn(3.0, 0.0, 300 + 300j)
    folded = np.full((5, 2), 300, np.float32) + np.arange(10, dtype=np.float32).reshape(5, 2) / 50
    np.testing.assert_array_equal(align_face(frame, box, folded), align_face(frame, box, None))


def test_beyond_the_frame_it_is_grey() -> None:
    frame = np.zeros((60, 60, 3), np.uint8)
    face = align_face(frame, np.array([20, 30, 80, 110], np.float32), None)
    assert face[-1, -1] == 127
    assert face[2, 2] == 0


@pytest.mark.parametrize(
    ("box", "flaw"),
    [
        ((10, 10, 60, 70), None),
        ((10, 10, 24, 70), "too small"),
        ((70, 10, 130, 70), "out of frame"),
        ((200, 10, 260, 70), "out of frame"),
        ((0, 10, 30, 70), "out of frame"),  # the right half of a face, and the upper half of one
        ((10, 70, 60, 100), "out of frame"),
        ((0, 10, 50, 70), None),
        ((20, 10, 50, 70), None),  # narrow, as faces from aside are
        ((10, 10, 10, 70), "empty box"),
        ((60, 10, 10, 70), "empty box"),
        ((np.nan, 10, 60, 70), "empty box"),
    ],
)
def test_boxes_that_cannot_be_read_say_why(box: tuple[float, ...], flaw: str | None) -> None:
    assert flaw_of_box((100, 100), np.array(box, np.float32)) == flaw


def test_faces_that_cannot_be_read_say_why() -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    assert flaw_of_face(sharp) is None
    assert flaw_of_face(np.full((48, 48), 90, np.uint8)) == "no contrast"
    blurred = cv2.GaussianBlur(sharp.astype(np.float32), (0, 0), 6)
    spread = cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX)
    assert flaw_of_face(np.asarray(spread, np.uint8)) == "too blurred"
