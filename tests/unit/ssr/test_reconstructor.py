"""The shipped network behind arrays: sizes, batches, histories, units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from models.engine import EngineConfig, load_engine
from models.errors import InputShapeError
from models.ssr import SSR, History, PlanesError, Reconstructor, to_bgr8


@pytest.fixture(scope="module")
def reconstructor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reconstructor]:
    config = EngineConfig(precision="f32", threads=1, cache_dir=tmp_path_factory.mktemp("engines"))
    with load_engine(SSR, config) as engine:
        yield Reconstructor(engine)


def _run(reconstructor: Reconstructor, wall: Any, frames: int, **size: int) -> tuple[Any, History | None]:
    picture, history = None, None
    for index in range(frames):
        [(picture, history)] = reconstructor.reconstruct([wall(index, **size)], [history])
    return picture, history


def test_any_size_comes_back_as_it_was(reconstructor: Reconstructor, wall: Any) -> None:
    picture, history = _run(reconstructor, wall, 2, height=37, width=51)
    assert picture.shape == (37, 51, 3)
    assert picture.dtype == np.float32
    assert np.isfinite(picture).all()
    assert history is not None
    assert history.size_wh == (51, 37)
    assert history.history_frames == 2


def test_frames_add_up_to_less_noise_than_one(reconstructor: Reconstructor, wall: Any) -> None:
    errors = []
    for frames in (1, 12):
        picture, _history = _run(reconstructor, wall, frames)
        truth = wall(frames - 1)["albedo"] * 0.5
        errors.append(float(np.sqrt(np.mean((picture - truth)[8:-8, 8:-8] ** 2))))
    assert errors[1] < 0.9 * errors[0]


def test_brightness_is_kept(reconstructor: Reconstructor, wall: Any) -> None:
    picture, _history = _run(reconstructor, wall, 8)
    assert float(picture.mean()) == pytest.approx(float(wall(7)["albedo"].mean()) * 0.5, rel=0.15)


def test_the_rim_is_as_good_as_the_middle(reconstructor: Reconstructor, wall: Any) -> None:
    """Sides that are no multiple of 16 are filled up; what is there must not show in the picture."""
    size = {"height": 24 * 4 + 1, "width": 24 * 6 + 3}
    errors = np.zeros((size["height"], size["width"]))
    for seed in range(4):
        history = None
        for index in range(4):
            planes = wall(index, seed=seed, **size)
            [(picture, history)] = reconstructor.reconstruct([planes], [history])
        errors += ((picture - planes["albedo"] * 0.5) ** 2).mean(-1)
    rim, middle = np.sqrt(errors[-4:, 16:-16].mean()), np.sqrt(errors[16:-16, 16:-16].mean())
    assert rim < 2 * middle


@pytest.mark.parametrize("unit", [1e-3, 40.0])
def test_the_unit_of_radiance_and_depth_does_not_matter(reconstructor: Reconstructor, wall: Any, unit: float) -> None:
    plain, _history = _run(reconstructor, wall, 3)
    history = None
    for index in range(3):
        planes = wall(index)
        planes["radiance"], planes["depth"] = planes["radiance"] * np.float32(unit), planes["depth"] * np.float32(unit)
        [(scaled, history)] = reconstructor.reconstruct([planes], [history])
    np.testing.assert_allclose(scaled / unit, plain, rtol=0.02, atol=1e-3)


def test_streams_of_a_batch_do_not_meet(reconstructor: Reconstructor, wall: Any) -> None:
    [first] = reconstructor.reconstruct([wall(0)], [None])
    [second] = reconstructor.reconstruct([wall(3, seed=9)], [None])
    together = reconstructor.reconstruct([wall(1), wall(4, seed=9), wall(0, 24, 32)], [first[1], second[1], None])
    [alone_first] = reconstructor.reconstruct([wall(1)], [first[1]])
    [alone_second] = reconstructor.reconstruct([wall(4, seed=9)], [second[1]])
    np.testing.assert_allclose(together[0][0], alone_first[0], atol=1e-4)
    np.testing.assert_allclose(together[1][0], alone_second[0], atol=1e-4)
    assert together[2][0].shape == (24, 32, 3)


def test_memory_kept_from_batch_to_batch_shows_in_no_picture(reconstructor: Reconstructor, wall: Any) -> None:
    [(expected, history)] = reconstructor.reconstruct([wall(0)], [None])
    reconstructor.reconstruct([wall(1), wall(5, seed=3)], [history, history])
    reconstructor.reconstruct([wall(2, 24, 32)], [None])
    reconstructor.reconstruct([wall(1)], [history])
    [(again, _history)] = reconstructor.reconstruct([wall(0)], [None])
    np.testing.assert_array_equal(again, expected)


def test_a_history_of_another_size_begins_afresh(reconstructor: Reconstructor, wall: Any) -> None:
    [(_picture, history)] = reconstructor.reconstruct([wall(0, 24, 32)], [None])
    [(picture, fresh)] = reconstructor.reconstruct([wall(1)], [history])
    [(expected, _fresh)] = reconstructor.reconstruct([wall(1)], [None])
    np.testing.assert_allclose(picture, expected, atol=1e-5)
    assert fresh.history_frames == 1


def test_a_black_frame_stays_black(reconstructor: Reconstructor, wall: Any) -> None:
    planes = wall(0)
    planes["radiance"][:] = 0
    [(picture, history)] = reconstructor.reconstruct([planes], [None])
    assert float(np.abs(picture).max()) < 1e-4
    [(picture, _history)] = reconstructor.reconstruct([wall(1)], [history])
    assert np.isfinite(picture).all()


def test_half_floats_are_taken(reconstructor: Reconstructor, wall: Any) -> None:
    planes = {name: plane if name == "mask" else plane.astype(np.float16) for name, plane in wall(0).items()}
    [(picture, _history)] = reconstructor.reconstruct([planes], [None])
    [(expected, _history)] = reconstructor.reconstruct([wall(0)], [None])
    np.testing.assert_allclose(picture, expected, rtol=0.02, atol=2e-3)


def test_broken_planes_and_counts_are_refused(reconstructor: Reconstructor, wall: Any) -> None:
    planes = wall(0)
    planes["radiance"][0, 0, 0] = np.nan
    with pytest.raises(PlanesError, match="radiance"):
        reconstructor.reconstruct([planes], [None])
    with pytest.raises(InputShapeError, match="each of 1 frames"):
        reconstructor.reconstruct([wall(0)], [])


def test_display_encoding() -> None:
    linear = np.zeros((1, 3, 3), np.float32)
    linear[0, 1], linear[0, 2] = (0.18, 0.0, 5.0), (0.5, 0.5, 0.5)
    shown = to_bgr8(linear)
    assert shown.dtype == np.uint8
    assert shown[0, 0].tolist() == [0, 0, 0]
    assert shown[0, 1].tolist() == [255, 0, 118]
    assert shown[0, 2].tolist() == [188, 188, 188]
    assert to_bgr8(linear, exposure=2.0)[0, 2].tolist() == [255, 255, 255]
