"""Planes are checked before they share a batch, and filled in where they may be left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.ssr import PlanesError
from models.ssr.preprocess import check_planes, depth_mean, frame_tensor, radiance_mean


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("plane", ["radiance", "depth", "motion"])
def test_what_is_not_finite_is_named(wall: Any, plane: str, value: float) -> None:
    planes = wall(0)
    planes[plane].reshape(-1)[7] = value
    with pytest.raises(PlanesError, match=f"plane {plane}: has NaN or infinite") as caught:
        check_planes(planes)
    assert caught.value.plane == plane


@pytest.mark.parametrize("plane", ["mask", "albedo", "normal", "depth", "motion"])
def test_a_missing_plane_is_named(wall: Any, plane: str) -> None:
    planes = wall(0)
    del planes[plane]
    with pytest.raises(PlanesError, match=f"plane {plane}: is missing"):
        check_planes(planes)


def test_a_plane_of_another_size_is_named(wall: Any) -> None:
    planes = wall(0)
    planes["normal"] = planes["normal"][:-1]
    with pytest.raises(PlanesError, match="plane normal: expected shape"):
        check_planes(planes)


def test_planes_without_numbers_are_refused(wall: Any) -> None:
    planes = wall(0)
    planes["albedo"] = planes["albedo"].astype(object)
    with pytest.raises(PlanesError, match="expected numbers"):
        check_planes(planes)


def test_left_out_planes_count_as_matt_and_opaque(wall: Any) -> None:
    frame = frame_tensor(wall(0), 2.0, 0.5)
    assert frame.shape == (15, 40, 56)
    assert frame.dtype == np.float32
    assert (frame[10:12] == 0).all()  # shadow, transparent
    assert (frame[13] == 0).all()  # metallic
    assert (frame[14] == 1).all()  # roughness


def test_scales_apply_to_radiance_and_depth_only(wall: Any) -> None:
    planes = wall(0)
    frame = frame_tensor(planes, 2.0, 0.5)
    np.testing.assert_allclose(frame[0:3], 2 * np.moveaxis(planes["radiance"], -1, 0))
    np.testing.assert_allclose(frame[12], 1.5)
    np.testing.assert_allclose(frame[4:7], np.moveaxis(planes["albedo"], -1, 0))


def test_the_mean_counts_traced_pixels_and_cuts_fireflies(wall: Any) -> None:
    planes = wall(0)
    quiet = radiance_mean(planes)
    assert quiet == pytest.approx(planes["radiance"].sum() / planes["mask"].sum() / 3, rel=1e-4)
    planes["radiance"][0, 0] = 1e9
    traced = planes["radiance"][planes["mask"] > 0]
    assert radiance_mean(planes) < traced.mean()
    planes["mask"][:] = 0
    assert radiance_mean(planes) == 0.0
    assert depth_mean(planes) == pytest.approx(3.0)
