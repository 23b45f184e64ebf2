"""Frames of a size out of the room's: cut or repeated, never stretched, as a stretched mask would be no mask."""

import pytest

from benchmarks.renders import repeated
from foveal.demo.sequence import GBufferSequence


@pytest.mark.parametrize("size_wh", [(480, 270), (160, 90), (640, 360)])
def test_a_quarter_of_the_pixels_is_traced_whatever_the_size(size_wh: tuple[int, int]) -> None:
    planes = next(iter(GBufferSequence.room().planes()))
    width, height = size_wh
    mask = repeated(planes["mask"], size_wh)
    assert mask.shape == (height, width)
    tiles = mask[: height // 2 * 2].reshape(height // 2, 2, width // 2, 2)
    assert (tiles.sum(axis=(1, 3)) == 1).all()
    assert repeated(planes["radiance"], size_wh).shape == (height, width, 3)
