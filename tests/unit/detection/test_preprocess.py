"""Pictures of any size into the network's input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.detection.preprocess import fit_of, letterbox
from models.errors import InputShapeError

sides = st.integers(1, 8192)
long_sides = st.integers(32, 1280)


@given(width=sides, height=sides, long_side=long_sides)
def test_the_longer_side_fits_and_the_aspect_stays(width: int, height: int, long_side: int) -> None:
    fit = fit_of((width, height), long_side)
    assert max(fit.scaled_wh) == long_side
    ratio = long_side / max(width, height)
    for scaled, padded, side in zip(fit.scaled_wh, fit.padded_wh, (width, height), strict=True):
        assert scaled >= 1
        assert abs(scaled - side * ratio) <= 1
        assert padded % 32 == 0
        assert 0 <= padded - scaled < 32


@given(width=st.integers(1, 300), height=st.integers(1, 300), long_side=st.integers(32, 320))
def test_the_picture_lies_top_left_and_the_rest_is_grey(width: int, height: int, long_side: int) -> None:
    fit = fit_of((width, height), long_side)
    out = np.zeros((fit.padded_wh[1], fit.padded_wh[0], 3), np.uint8)
    letterbox(np.full((height, width, 3), (10, 20, 30), np.uint8), fit, out)
    columns, rows = fit.scaled_wh
    assert (out[:rows, :columns] == (10, 20, 30)).all()
    assert (out[rows:] == 114).all()
    assert (out[:, columns:] == 114).all()


@pytest.mark.parametrize("size_wh", [(1280, 720), (200, 90), (416, 416)])
def test_places_keep_their_share(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, width // 2 :] = 255  # the upper right quarter
    fit = fit_of(size_wh, 416)
    out = np.empty((fit.padded_wh[1], fit.padded_wh[0], 3), np.uint8)
    letterbox(image, fit, out)
    columns, rows = fit.scaled_wh
    white = out[:rows, :columns, 0] > 127
    ys, xs = np.nonzero(white)
    assert abs(xs.min() - columns / 2) <= 2
    assert xs.max() == columns - 1
    assert ys.min() == 0
    assert abs(ys.max() - rows / 2) <= 2


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["float", "grey", "four channels", "empty"],
)
def test_what_is_no_picture_is_refused(image: NDArray[np.uint8]) -> None:
    fit = fit_of((4, 4), 32)
    with pytest.raises(InputShapeError, match=r"expected a picture uint8 \[H, W, 3\]"):
        letterbox(image, fit, np.empty((32, 32, 3), np.uint8))
