"""The shipped network behind arrays: order, norm, batches, nobody."""

import numpy as np
import pytest

from models.engine import EngineConfig, load_engine
from models.errors import InputShapeError
from models.reid import REID_NANO, Embedder, EmptyBoxError

CONFIG = EngineConfig(compiler="openvino", precision="f32", threads=1)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(load_engine(REID_NANO, CONFIG, from_uint8=True))


def frames_and_boxes() -> tuple[list[np.ndarray], list[np.ndarray]]:
    generator = np.random.default_rng(5)
    frames = [generator.integers(0, 256, (90 + 40 * i, 160, 3), np.uint8) for i in range(3)]
    boxes = [(4, 4, 40, 80), (60, 2, 100, 88), (90, 10, 130, 70), (-20, 0, 30, 90)]
    counts = (1, 0, 4)
    return frames, [np.array(boxes[:count], np.float32).reshape(-1, 4) for count in counts]


def test_embeddings_come_frame_by_frame_with_unit_norm(embedder: Embedder) -> None:
    frames, boxes = frames_and_boxes()
    together = embedder.embed(frames, boxes)
    assert (together.shape, together.dtype) == ((5, embedder.dimension), np.float32)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([embedder.embed([frame], [box]) for frame, box in zip(frames, boxes, strict=True)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_nobody_gives_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([], []).shape == (0, embedder.dimension)
    empty = np.zeros((0, 4), np.float32)
    assert embedder.embed([np.zeros((8, 8, 3), np.uint8)], [empty]).shape == (0, embedder.dimension)


def test_more_than_one_batch_is_split(embedder: Embedder) -> None:
    crops = np.random.default_rng(1).integers(0, 256, (37, 128, 64, 3), np.uint8)
    whole = embedder.embed_crops(crops)
    assert whole.shape == (37, embedder.dimension)
    np.testing.assert_allclose(whole[35:], embedder.embed_crops(crops[35:]), atol=1e-5)


def test_the_mean_of_a_crop_and_its_mirror_image_knows_no_side(embedder: Embedder) -> None:
    both = Embedder(load_engine(REID_NANO, CONFIG, from_uint8=True), mirrored=True)
    crops = np.random.default_rng(4).integers(0, 256, (3, 128, 64, 3), np.uint8)
    np.testing.assert_allclose(both.embed_crops(crops), both.embed_crops(crops[:, :, ::-1]), atol=1e-5)
    assert np.abs(embedder.embed_crops(crops) - embedder.embed_crops(crops[:, :, ::-1])).max() > 1e-3


def test_pixels_and_normalized_input_agree(embedder: Embedder) -> None:
    crops = np.random.default_rng(2).integers(0, 256, (3, 128, 64, 3), np.uint8)
    other = Embedder(load_engine(REID_NANO, CONFIG))
    np.testing.assert_allclose(embedder.embed_crops(crops), other.embed_crops(crops), atol=1e-4)


def test_an_empty_box_says_where(embedder: Embedder) -> None:
    frames, boxes = frames_and_boxes()
    boxes[1] = np.array([[5, 5, 5, 9]], np.float32)
    with pytest.raises(EmptyBoxError) as caught:
        embedder.embed(frames, boxes)
    assert (caught.value.frame, caught.value.index) == (1, 0)


def test_frames_without_boxes_are_refused(embedder: Embedder) -> None:
    with pytest.raises(InputShapeError, match="boxes for each of 1 frames"):
        embedder.embed([np.zeros((8, 8, 3), np.uint8)], [])
