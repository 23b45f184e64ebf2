"""Camera paths as JSON: `{"cameras": [{"origin": [x, y, z], "target": [x, y, z], "up": [x, y, z], "fov_x_deg": 60}]}`.

As many cameras as frames are taken as they are; fewer or more are keys of a smooth curve (Catmull and Rom, 1974).
`forward`, a direction, may stand for `target`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from training.ssr.camera import Camera

__all__ = ["CameraPathError", "read_camera_path", "write_camera_path"]

UP = (0.0, 1.0, 0.0)
NARROWEST_DEG, WIDEST_DEG = 1.0, 170.0


class CameraPathError(ModelError, ValueError):
    """A file of cameras cannot be used."""


def read_camera_path(file: Path, frames: int, fov_x_deg: float) -> list[Camera]:
    """`frames` cameras; `fov_x_deg` is for those that give none. Raises: CameraPathError naming what is wrong."""
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))["cameras"]
        rows = [_row(entry, fov_x_deg) for entry in listed]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CameraPathError(
            f"{file}: expected {{'cameras': [{{'origin': [x, y, z], 'target': [x, y, z]}}, ...]}}; {error!r}"
        ) from error
    for index, row in enumerate(rows):
        aim = np.cross(row[3:6], row[6:9])
        if not np.isfinite(row).all() or np.linalg.norm(aim) < 1e-9 or not NARROWEST_DEG <= row[9] <= WIDEST_DEG:
            raise CameraPathError(
                f"{file}: camera {index}: expected finite numbers, a view that is not along 'up', and a fov_x_deg "
                f"between {NARROWEST_DEG:g} and {WIDEST_DEG:g}"
            )
    if not rows:
        raise CameraPathError(f"{file}: expected at least one camera, got none")
    keys = np.stack(rows)
    chosen = keys if len(keys) == frames else _curve(keys, frames)
    return [Camera(row[0:3], row[3:6], row[6:9], float(row[9])) for row in chosen.astype(np.float32)]


def write_camera_path(file: Path, cameras: Sequence[Camera]) -> None:
    """What `read_camera_path` reads."""
    listed = [
        {
            "origin": camera.origin.tolist(),
            "forward": camera.forward.tolist(),
            "up": camera.up.tolist(),
            "fov_x_deg": camera.fov_x_deg,
        }
        for camera in cameras
    ]
    file.write_text(json.dumps({"cameras": listed}, indent=1) + "\n", encoding="utf-8")


def _row(entry: dict[str, object], fov_x_deg: float) -> NDArray[np.float64]:
    """Origin, forward, up, field of view: [10]."""
    origin = np.asarray(entry["origin"], np.float64).reshape(3)
    if "forward" in entry:
        forward = np.asarray(entry["forward"], np.float64).reshape(3)
    else:
        forward = np.asarray(entry["target"], np.float64).reshape(3) - origin
    up = np.asarray(entry.get("up", UP), np.float64).reshape(3)
    return np.concatenate([origin, forward, up, [float(str(entry.get("fov_x_deg", fov_x_deg)))]])


def _curve(keys: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """[K, 10] to [frames, 10]: through every key, the first and the last included."""
    at = np.linspace(0, len(keys) - 1, frames)
    left = np.minimum(at.astype(int), max(len(keys) - 2, 0))
    part = (at - left)[:, None]
    before, here, there, after = (keys[np.clip(left + step, 0, len(keys) - 1)] for step in (-1, 0, 1, 2))
    return np.asarray(
        here
        + part / 2 * (there - before)
        + part**2 * (before - 2.5 * here + 2 * there - after / 2)
        + part**3 * (1.5 * (here - there) + (after - before) / 2)
    )
