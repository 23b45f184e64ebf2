"""What is kept of a frame, where the next one sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.ssr.carry import SURFACE, carry
from models.ssr.warp import warp

HEIGHT, WIDTH = 12, 20


def _scene(seed: int = 0) -> dict[str, Any]:
    """A flat wall that everything agrees on, kept layers at random, no motion; sides padded to 16 and 32."""
    rng = np.random.default_rng(seed)
    frame = np.zeros((15, 16, 32), np.float32)
    frame[9], frame[12] = 1, 1
    return {
        "kept": rng.random((7, 16, 32), np.float32),
        "surface": frame[list(SURFACE)],
        "motion": np.zeros((HEIGHT, WIDTH, 2), np.float32),
        "frame": frame,
        "rates": (1.0, 1.0),
        "out": np.full((8, 16, 32), -1, np.float32),
    }


def _inside(layers: NDArray[Any]) -> NDArray[Any]:
    return layers[:, :HEIGHT, :WIDTH]


def test_it_is_the_warp_where_the_surface_is_the_same() -> None:
    scene = _scene()
    scene["motion"][:] = np.random.default_rng(1).normal(0, 6, (HEIGHT, WIDTH, 2))
    came = carry(**scene)
    expected = warp(_inside(scene["kept"]), scene["motion"])
    kept_whole = warp(np.ones((1, HEIGHT, WIDTH), np.float32), scene["motion"])[0] > 0.999  # not half outside
    assert kept_whole.mean() > 0.3
    np.testing.assert_allclose(_inside(came)[:7][:, kept_whole], expected[:, kept_whole], atol=0.05)  # OpenCV's 1/32 px
    np.testing.assert_allclose(_inside(came)[7][kept_whole], 1, atol=1e-5)


def test_whole_pixels_are_copied_the_outside_is_zero_and_the_padding_is_left_alone() -> None:
    scene = _scene()
    scene["motion"][:] = 3, -2
    came = carry(**scene)
    np.testing.assert_allclose(came[:7, 2:HEIGHT, : WIDTH - 3], scene["kept"][:, : HEIGHT - 2, 3:WIDTH], atol=1e-6)
    assert (came[:, :2, :WIDTH] == 0).all()
    assert (came[:, :HEIGHT, WIDTH - 3 : WIDTH] == 0).all()
    assert (came[:, HEIGHT:] == -1).all()
    assert (came[:, :, WIDTH:] == -1).all()


@pytest.mark.parametrize("far", [65_536.0, -65_536.0, 1e30, -1e30])
def test_motion_far_outside_gives_nothing(far: float) -> None:
    scene = _scene()
    scene["motion"][:] = far
    assert (_inside(carry(**scene)) == 0).all()


def test_rates_scale_radiance_and_leave_counts() -> None:
    scene = _scene()
    scene["surface"][3] = 0.5  # the depth that 2 brings to this frame's scale
    came = _inside(carry(**{**scene, "rates": (3.0, 2.0)}))
    kept = _inside(scene["kept"])
    np.testing.assert_allclose(came[[0, 1, 2, 4, 5, 6]], 3 * kept[[0, 1, 2, 4, 5, 6]], rtol=1e-5)
    np.testing.assert_allclose(came[3], kept[3], rtol=1e-5)


@pytest.mark.parametrize("change", [{9: 0.0, 7: 1.0}, {12: 2.0}])
def test_another_surface_is_dropped(change: dict[int, float]) -> None:
    """A wall that faces elsewhere, and one that is twice as far."""
    scene = _scene()
    for channel, value in change.items():
        scene["frame"][channel, :, 10:] = value
    came = _inside(carry(**scene))
    assert (came[:, :, 10:] == 0).all()
    np.testing.assert_allclose(came[:7, :, :10], _inside(scene["kept"])[:, :, :10], atol=1e-6)


@pytest.mark.parametrize(("shift", "agreement"), [(0.5, 1.0), (0.1, 0.4)])
def test_at_an_edge_only_the_pixels_of_the_same_surface_count(shift: float, agreement: float) -> None:
    """Near on the left, far on the right; the picture moves by a part of a pixel, so look-ups at the edge have both."""
    scene = _scene()
    scene["surface"][3, :, 10:] = 4
    scene["frame"][12, :, 10:] = 4
    scene["frame"][12, :, 9] = 4  # the edge has moved: this pixel shows what the one to its right showed
    scene["kept"][:, :, :10], scene["kept"][:, :, 10:] = 1, 5
    scene["motion"][..., 0] = shift
    came = _inside(carry(**scene))
    np.testing.assert_allclose(came[:7, :, 9], 5 * agreement, rtol=1e-4)
    np.testing.assert_allclose(came[7, :, 9], agreement, rtol=1e-4)
    np.testing.assert_allclose(came[:7, :, 4], 1, rtol=1e-5)


def test_rows_share_the_work() -> None:
    whole, parts = _scene(), _scene()
    carry(**whole)
    for rows in (range(5), range(5, HEIGHT)):
        carry(**parts, rows=rows)
    np.testing.assert_array_equal(parts["out"], whole["out"])


def test_a_picture_of_one_pixel() -> None:
    scene = _scene()
    scene["kept"][:] = scene["kept"][:, :1, :1]  # the padding repeats it
    scene["motion"] = np.zeros((1, 1, 2), np.float32)
    came = carry(**scene)
    np.testing.assert_allclose(came[:7, 0, 0], scene["kept"][:, 0, 0], atol=1e-6)
