"""Paths of cameras: what is written comes back, keys become a smooth curve, and mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.ssr.camera import Camera, free_path
from training.ssr.camera_path import CameraPathError, read_camera_path, write_camera_path


def _write(file: Path, *cameras: object) -> Path:
    file.write_text(json.dumps({"cameras": cameras}))
    return file


def test_a_written_path_comes_back(tmp_path: Path) -> None:
    up = np.array([0, 1, 0], np.float32)
    path = [Camera(np.array([i, 2, 3], np.float32), np.array([0, 0.1, -1], np.float32), up, 50.0) for i in range(4)]
    write_camera_path(tmp_path / "path.json", path)
    back = read_camera_path(tmp_path / "path.json", 4, 70.0)
    for written, read in zip(path, back, strict=True):
        np.testing.assert_array_equal(written.origin, read.origin)
        np.testing.assert_array_equal(written.basis, read.basis)
        assert read.fov_x_deg == 50


def test_keys_become_a_curve_through_all_of_them(tmp_path: Path) -> None:
    keys = [{"origin": [x, 1, 0], "target": [x, 1, -5]} for x in (0, 1, 4)]
    path = read_camera_path(_write(tmp_path / "keys.json", *keys), 9, 60.0)
    places = np.stack([camera.origin for camera in path])
    assert len(path) == 9
    np.testing.assert_allclose(places[[0, 4, 8], 0], [0, 1, 4], atol=1e-6)
    assert (np.diff(places[:, 0]) > 0).all()
    np.testing.assert_allclose(places[:, 1], 1, atol=1e-6)
    assert {camera.fov_x_deg for camera in path} == {60.0}
    still = read_camera_path(_write(tmp_path / "one.json", keys[1]), 3, 60.0)
    assert all((camera.origin == [1, 1, 0]).all() for camera in still)


@pytest.mark.parametrize(
    "camera",
    [
        {"target": [0, 0, 1]},
        {"origin": [0, 0], "target": [0, 0, 1]},
        {"origin": [0, 0, 0], "target": [0, 0, 0]},
        {"origin": [0, 0, 0], "target": [0, 1, 0]},
        {"origin": [0, 0, 0], "target": [0, 0, 1], "fov_x_deg": 180},
        {"origin": [0, 0, "x"], "target": [0, 0, 1]},
    ],
)
def test_mistakes_are_named(tmp_path: Path, camera: dict[str, object]) -> None:
    with pytest.raises(CameraPathError, match=r"path\.json"):
        read_camera_path(_write(tmp_path / "path.json", camera), 3, 60.0)


def test_no_cameras_and_no_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(CameraPathError, match="at least one camera"):
        read_camera_path(_write(tmp_path / "path.json"), 3, 60.0)
    with pytest.raises(CameraPathError, match=r"none\.json"):
        read_camera_path(tmp_path / "none.json", 3, 60.0)


def test_a_camera_with_its_back_to_a_wall_gets_a_path() -> None:
    """A plane 1 cm behind the camera, which is how `living-room` begins, and a wall 5 m before it."""

    def probe(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        with np.errstate(divide="ignore", invalid="ignore"):
            behind = (0.01 + origins[:, 2]) / -directions[:, 2]
            ahead = (5 - origins[:, 2]) / directions[:, 2]
        hits = [np.where(distance > 0, distance, np.inf) for distance in (behind, ahead)]
        return np.asarray(np.minimum(*hits), np.float32)

    forward, up = np.array([0, 0, 1], np.float32), np.array([0, 1, 0], np.float32)
    start = Camera(np.zeros(3, np.float32), forward, up, 60.0)
    path = free_path(start, 12, probe, np.random.default_rng(0), roam=False)
    np.testing.assert_array_equal(path[0].origin, start.origin)
    assert path[-1].origin[2] > -0.01
