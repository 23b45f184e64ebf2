"""The shipped network behind arrays: distributions, order, unreadable faces, nobody."""

import numpy as np
import pytest

from models.engine import EngineConfig, load_engine
from models.errors import InputShapeError
from models.expression import EXPRESSION_NANO, EXPRESSIONS, ExpressionReader
from models.expression.preprocess import TEMPLATE_XY

CONFIG = EngineConfig(compiler="openvino", precision="f32", threads=1)


@pytest.fixture(scope="module")
def reader() -> ExpressionReader:
    return ExpressionReader(load_engine(EXPRESSION_NANO, CONFIG, from_uint8=True))


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (120, 160, 3), np.uint8)


def test_readings_are_distributions_in_the_order_of_the_boxes(reader: ExpressionReader) -> None:
    frames = [picture(0), picture(1)]
    boxes = [np.array([(10, 10, 60, 70), (80, 20, 130, 90)], np.float32), np.array([(30, 30, 90, 100)], np.float32)]
    together = reader.read(frames, boxes)
    alone = [*reader.read(frames[:1], boxes[:1]), *reader.read(frames[1:], boxes[1:])]
    assert len(together) == 3
    for one, other in zip(together, alone, strict=True):
        assert one.unreadable is None
        assert (one.probabilities.shape, one.probabilities.dtype) == ((7,), np.float32)
        assert one.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert one.label == EXPRESSIONS[int(one.probabilities.argmax())]
        assert -1 <= one.valence <= 1
        assert -1 <= one.arousal <= 1
        assert 0 <= one.uncertainty <= 1
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_an_unreadable_face_leaves_its_neighbours_alone(reader: ExpressionReader) -> None:
    boxes = np.array([(10, 10, 60, 70), (5, 5, 9, 9), (80, 20, 130, 90)], np.float32)
    readings = reader.read([picture(0)], [boxes])
    assert [reading.unreadable for reading in readings] == [None, "too small", None]
    assert readings[1].label is None
    assert readings[1].uncertainty == 1
    np.testing.assert_allclose(readings[1].probabilities, 1 / 7)
    expected = reader.read([picture(0)], [boxes[[0, 2]]])
    np.testing.assert_allclose(readings[2].probabilities, expected[1].probabilities, atol=1e-5)


def test_landmarks_may_be_missing_for_a_frame_or_a_face(reader: ExpressionReader) -> None:
    boxes = [np.array([(10, 10, 60, 70)], np.float32)] * 2
    nowhere = np.full((1, 5, 2), np.nan, np.float32)
    one, other = reader.read([picture(0)] * 2, boxes, [None, nowhere])
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_a_face_without_landmarks_is_read_less_surely(reader: ExpressionReader) -> None:
    box = np.array([(10, 10, 60, 70)], np.float32)
    # Where the box alone would put them, so that both readings are of the same pixels.
    scale = 48 / (1.12 * (50 * 60) ** 0.5)
    marks = ((TEMPLATE_XY - 24) / scale + (35, 40)).astype(np.float32)[None]
    [sure], [unsure] = reader.read([picture(0)], [box], [marks]), reader.read([picture(0)], [box])
    assert unsure.label == sure.label
    assert unsure.uncertainty > sure.uncertainty
    assert unsure.probabilities.max() < sure.probabilities.max()
    assert unsure.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_nobody_gives_no_readings(reader: ExpressionReader) -> None:
    assert reader.read([], []) == []
    assert reader.read([picture(0)], [np.zeros((0, 4), np.float32)], [np.zeros((0, 5, 2), np.float32)]) == []


def test_more_than_one_batch_is_split(reader: ExpressionReader) -> None:
    faces = np.random.default_rng(3).integers(0, 256, (35, 48, 48), np.uint8)
    whole = reader.read_faces(faces)
    assert len(whole) == 35
    np.testing.assert_allclose(whole[34].probabilities, reader.read_faces(faces[34:])[0].probabilities, atol=1e-5)


def test_pixels_and_normalized_input_agree(reader: ExpressionReader) -> None:
    faces = np.random.default_rng(4).integers(0, 256, (3, 48, 48), np.uint8)
    other = ExpressionReader(load_engine(EXPRESSION_NANO, CONFIG))
    for one, two in zip(reader.read_faces(faces), other.read_faces(faces), strict=True):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-4)


@pytest.mark.parametrize("frame", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.uint16)])
def test_a_frame_of_another_form_is_refused(reader: ExpressionReader, frame: np.ndarray) -> None:
    with pytest.raises(InputShapeError, match="frame 0: expected uint8"):
        reader.read([frame], [np.zeros((1, 4), np.float32)])


def test_an_image_of_one_pixel_is_unreadable_not_an_error(reader: ExpressionReader) -> None:
    assert reader.read([np.zeros((1, 1, 3), np.uint8)], [np.array([[0, 0, 1, 1]], np.float32)])[0].unreadable


def test_shapes_that_disagree_are_refused(reader: ExpressionReader) -> None:
    with pytest.raises(InputShapeError, match="1 and 1"):
        reader.read([picture(0)] * 2, [np.zeros((0, 4), np.float32)], [None])
    with pytest.raises(InputShapeError, match="landmarks"):
        reader.read([picture(0)], [np.zeros((1, 4), np.float32)], [np.zeros((1, 5, 3), np.float32)])
