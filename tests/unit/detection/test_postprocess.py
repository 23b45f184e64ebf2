"""The network's points, written by hand, to detections."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.detection import FACE, PERSON, Detections
from models.detection.postprocess import decode_points
from models.detection.preprocess import Fit, fit_of

NOBODY = -12.0
SURE = 3.0  # a score of 0.953
FIT = fit_of((640, 480), 320)  # scaled by a half, not padded: 320 x 256 holds 320 x 240


class Points:
    """An answer of the network in which nobody is, until `put`."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        columns, rows = (side // 8 for side in fit.padded_wh)
        self.columns = columns
        count = columns * rows + columns * rows // 4 + columns * rows // 16
        self.values = np.zeros((count, 16), np.float32)
        self.values[:, :2] = NOBODY

    def put(
        self,
        box_xyxy: tuple[float, float, float, float],
        kind: int,
        logit: float = SURE,
        marks_xy: NDArray[np.float32] | None = None,
        shift: int = 0,
    ) -> None:
        """Let the point of stride 8 that is nearest to a box's middle (in the network's pixels) stand for it."""
        x1, y1, x2, y2 = box_xyxy
        column = min(self.columns - 1, int((x1 + x2) / 2 // 8) + shift)
        row = min(self.fit.padded_wh[1] // 8 - 1, int((y1 + y2) / 2 // 8))
        centre = np.array([column + 0.5, row + 0.5]) * 8
        at = row * self.columns + column
        self.values[at, kind] = logit
        self.values[at, 2:4] = (centre - (x1, y1)) / 8
        self.values[at, 4:6] = (np.array([x2, y2]) - centre) / 8
        if marks_xy is not None:
            self.values[at, 6:] = ((marks_xy - centre) / 8).reshape(-1)

    def decode(self, frame_wh: tuple[int, int] = (640, 480), **options: float) -> Detections:
        chosen = {"threshold": 0.4, "overlap": 0.6} | options
        return decode_points(self.values, self.fit, frame_wh, **chosen)


@given(
    width=st.integers(40, 4000),
    height=st.integers(40, 4000),
    middle=st.tuples(st.floats(0.25, 0.75), st.floats(0.25, 0.75)),
    size=st.tuples(st.floats(0.1, 0.45), st.floats(0.1, 0.45)),
)
def test_a_box_comes_back_where_it_was(
    width: int, height: int, middle: tuple[float, float], size: tuple[float, float]
) -> None:
    fit = fit_of((width, height), 416)
    frame_wh = np.array([width, height, width, height])
    shares = np.array(
        [middle[0] - size[0] / 2, middle[1] - size[1] / 2, middle[0] + size[0] / 2, middle[1] + size[1] / 2]
    )
    points = Points(fit)
    points.put(tuple(shares * np.tile(fit.scaled_wh, 2)), PERSON)
    found = points.decode((width, height))
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes_xyxy[0], shares * frame_wh, atol=1e-3 * max(width, height))


def test_a_face_has_landmarks_and_a_person_has_none() -> None:
    marks = np.array([[110, 60], [130, 60], [120, 70], [112, 82], [128, 82]], np.float32)
    points = Points(FIT)
    points.put((100, 50, 140, 100), FACE, marks_xy=marks)
    points.put((200, 50, 240, 200), PERSON)
    found = points.decode()
    assert found.classes.tolist().count(FACE) == found.classes.tolist().count(PERSON) == 1
    np.testing.assert_allclose(found.of_class(FACE).landmarks_xy[0], marks * 2, atol=1e-3)
    assert np.isnan(found.of_class(PERSON).landmarks_xy).all()
    np.testing.assert_allclose(found.of_class(PERSON).boxes_xyxy[0], (400, 100, 480, 400), atol=1e-3)


def test_the_frame_may_be_larger_than_the_picture() -> None:
    points = Points(FIT)
    points.put((100, 50, 140, 100), PERSON)
    np.testing.assert_allclose(points.decode((1280, 960)).boxes_xyxy[0], (400, 200, 560, 400), atol=1e-3)


def test_of_two_of_a_class_the_surer_stays_but_classes_do_not_hide_each_other() -> None:
    points = Points(FIT)
    points.put((100, 50, 140, 100), PERSON, logit=1.0)
    points.put((101, 51, 141, 101), PERSON, logit=2.0, shift=1)
    points.put((100, 50, 140, 100), FACE, logit=0.5, shift=-1)
    found = points.decode()
    assert sorted(found.classes.tolist()) == [PERSON, FACE]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    np.testing.assert_allclose(found.scores[0], 1 / (1 + np.exp(-2.0)), rtol=1e-5)
    np.testing.assert_allclose(found.boxes_xyxy[0], (202, 102, 282, 202), atol=1e-3)


def test_neighbours_that_overlap_a_little_both_stay() -> None:
    points = Points(FIT)
    points.put((100, 50, 140, 100), PERSON)
    points.put((125, 50, 165, 100), PERSON)
    assert len(points.decode()) == 2
    assert len(points.decode(overlap=0.2)) == 1


def test_boxes_end_at_the_frame() -> None:
    points = Points(FIT)
    points.put((-30, -20, 60, 100), PERSON)
    points.put((250, 180, 400, 400), PERSON)
    found = points.decode()
    assert found.boxes_xyxy.min() == 0
    assert found.boxes_xyxy[:, 2].max() == 640
    assert found.boxes_xyxy[:, 3].max() == 480


def test_somebody_in_the_padding_is_nobody() -> None:
    points = Points(FIT)
    points.put((100, 244, 140, 254), PERSON)  # below the 240 rows that the picture fills
    assert len(points.decode()) == 0


def test_the_threshold_is_on_the_score() -> None:
    points = Points(FIT)
    points.put((100, 50, 140, 100), PERSON, logit=0.0)
    assert len(points.decode(threshold=0.45)) == 1
    assert len(points.decode(threshold=0.55)) == 0


def test_a_crowd_is_bounded() -> None:
    points = Points(FIT)
    points.values[:, PERSON] = np.linspace(1, 2, len(points.values))
    points.values[:, 2:6] = 0.2
    assert 0 < len(points.decode()) <= 300


def test_nobody_has_the_right_types() -> None:
    found = Points(FIT).decode()
    assert (len(found), found.boxes_xyxy.shape, found.landmarks_xy.shape) == (0, (0, 4), (0, 5, 2))
    assert (found.scores.dtype, found.classes.dtype) == (np.float32, np.int64)
