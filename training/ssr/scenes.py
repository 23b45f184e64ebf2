"""The public scenes of the data folder: which are for training, which are only ever tested on, and their authors."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from training.ssr.backend import load_mitsuba
from training.ssr.camera import Camera

__all__ = ["TEST_SCENES", "TRAINING_SCENES", "load_scene", "scene_file"]

TRAINING_SCENES = {
    "bedroom": "SlykDrako",
    "cbox": "Cornell University",
    "classroom": "NovaZeeke",
    "coffee": "cekuhnen",
    "dining-room": "Wig42",
    "lamp": "UP3D",
    "living-room-2": "Jay-Artist",
    "material-testball": "Benedikt Bitterli",
    "spaceship": "thecali",
    "veach-ajar": "Benedikt Bitterli",
    "veach-bidir": "Benedikt Bitterli",
}
TEST_SCENES = {"living-room": "Wig42", "staircase": "Wig42", "teapot-full": "Benedikt Bitterli"}
DEFAULT_DATA = "../shared/data"


def scene_file(name: str, work: Path) -> Path:
    """The XML of a scene, unpacked under `work` from `$FOVEAL_DATA/scenes/NAME.tar.xz` where it is not there yet.

    Raises: FileNotFoundError, with the remedy.
    """
    target = work / name / "scene.xml"
    if not target.is_file():
        archive = Path(os.environ.get("FOVEAL_DATA", DEFAULT_DATA)) / "scenes" / f"{name}.tar.xz"
        if not archive.is_file():
            raise FileNotFoundError(
                f"{archive}: not found; set FOVEAL_DATA to the folder that holds scenes/{name}.tar.xz"
            )
        work.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as packed:
            packed.extractall(work, filter="data")
    return target


def load_scene(path: Path, size_wh: tuple[int, int]) -> tuple[Any, Camera]:
    """A Mitsuba scene and the camera of its first sensor, for pictures of `size_wh`."""
    mi = load_mitsuba()
    scene = mi.load_file(str(path), parallel=False)
    sensor = scene.sensors()[0]
    matrix = np.array(sensor.world_transform().matrix, np.float32).reshape(4, 4)
    field = float(np.array(mi.traverse(sensor)["x_fov"]).ravel()[0])
    width, height = sensor.film().size()
    diagonal = np.tan(np.radians(field) / 2) * np.sqrt(float(width * height)) / float(width)
    field = 2 * np.degrees(np.arctan(diagonal * np.sqrt(size_wh[0] / size_wh[1])))  # the same picture area
    return scene, Camera(matrix[:3, 3], matrix[:3, 2], matrix[:3, 1], float(np.clip(field, 30, 85)))
