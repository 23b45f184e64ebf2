"""Where a pixel was in the frame before."""

from __future__ import annotations

import numpy as np

from models.ssr.warp import warp


def test_whole_pixels_are_copied_and_the_outside_is_zero() -> None:
    previous = np.random.default_rng(0).random((11, 12, 20), np.float32)
    motion = np.zeros((12, 20, 2), np.float32)
    motion[..., 0], motion[..., 1] = 3, -2
    moved = warp(previous, motion)
    np.testing.assert_allclose(moved[:, 2:, :-3], previous[:, :-2, 3:], atol=1e-6)
    assert (moved[:, :2] == 0).all()
    assert (moved[:, :, -3:] == 0).all()


def test_half_a_pixel_is_the_mean_of_two() -> None:
    previous = np.random.default_rng(1).random((2, 6, 9), np.float32)
    motion = np.zeros((6, 9, 2), np.float32)
    motion[..., 0] = 0.5
    moved = warp(previous, motion)
    np.testing.assert_allclose(moved[:, :, :-1], (previous[:, :, :-1] + previous[:, :, 1:]) / 2, atol=1e-6)


def test_positions_far_outside_do_not_wrap_around() -> None:
    previous = np.ones((1, 8, 8), np.float32)
    motion = np.full((8, 8, 2), 65_536.0, np.float32)
    assert (warp(previous, motion) == 0).all()
    assert (warp(previous, -motion) == 0).all()
