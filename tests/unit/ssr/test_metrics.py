"""The protocol's figures, on pictures whose figures are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.ssr.metrics import figures, luminance, protocol_exposure, psnr_db, smape, ssim, unsteady
from models.ssr.postprocess import encode_srgb


@pytest.fixture
def picture() -> Any:
    return np.random.default_rng(0).random((40, 56, 3), np.float32)


def test_the_same_picture_is_perfect(picture: Any) -> None:
    assert psnr_db(picture, picture) == 120
    assert ssim(picture, picture) == pytest.approx(1, abs=1e-5)
    assert smape(picture, picture) == 0


def test_psnr_is_of_encoded_clamped_values() -> None:
    grey = np.full((20, 20, 3), 0.2, np.float32)
    lighter = np.full((20, 20, 3), 0.3, np.float32)
    step = float(encode_srgb(lighter)[0, 0, 0] - encode_srgb(grey)[0, 0, 0])
    assert psnr_db(lighter, grey) == pytest.approx(-20 * np.log10(step), abs=1e-3)
    assert psnr_db(grey + 5, grey + 9) == 120  # both white


def test_noise_costs_similarity_and_more_noise_costs_more(picture: Any) -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, picture.shape).astype(np.float32)
    near, far = (np.clip(picture + noise * share, 0, 1) for share in (0.05, 0.3))
    assert 1 > ssim(near, picture) > ssim(far, picture) > 0
    assert 0 < smape(near, picture) < smape(far, picture) < 1


def test_exposure_brings_the_median_to_middle_grey(picture: Any) -> None:
    exposure = protocol_exposure([picture * 40])
    assert float(np.median(luminance(picture * 40))) * exposure == pytest.approx(0.18, rel=1e-5)
    assert protocol_exposure([np.zeros_like(picture)]) == 1
    assert protocol_exposure([]) == 1


def test_a_picture_that_moves_as_the_motion_says_is_steady(wall: Any) -> None:
    before, now = wall(0), wall(1)
    assert unsteady(now["albedo"], before["albedo"], now, before) < 1e-4
    still = {**now, "motion": np.zeros_like(now["motion"])}
    assert unsteady(now["albedo"], before["albedo"], still, before) > 0.1


def test_pixels_of_another_surface_do_not_count(wall: Any) -> None:
    before, now = wall(0), wall(1)
    hidden = {**before, "depth": before["depth"] * 2}
    assert unsteady(now["albedo"] * 0, before["albedo"], now, hidden) == 0


def test_the_first_frame_has_no_temporal_error(wall: Any) -> None:
    now = wall(0)
    assert set(figures(now["albedo"], now["albedo"], None, now, None)) == {"psnr", "ssim", "smape"}
