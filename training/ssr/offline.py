"""Render any Mitsuba scene into a folder of OpenEXR frames; `foveal render` runs this as a process of its own.

Beside the frames lie `render.json` (what was asked for, and the exposure) and `cameras.json` (the path, which
`--camera-path` takes). A stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import ModelError
from training.ssr.backend import MitsubaMissingError, load_mitsuba
from training.ssr.camera import Camera, NoFreePathError, free_path
from training.ssr.camera_path import CameraPathError, read_camera_path, write_camera_path
from training.ssr.frames import write_frame
from training.ssr.render import CLAMP_WHITES, Renderer
from training.ssr.scenes import load_scene

__all__ = ["OfflinePlan", "SceneError", "render_offline"]

RECORD, CAMERAS = "render.json", "cameras.json"
AGAIN = 50_000
"""Added to the seed of a reference for the independent one."""


class SceneError(ModelError, ValueError):
    """A scene cannot be rendered, or a folder holds frames of something else."""


@dataclass(frozen=True)
class OfflinePlan:
    """How many frames of what size; samples a pixel of references (0: none), and the first frame that gets one.

    With references come one sample at every pixel of all frames, and, once, a second independent reference: to how many
    dB two of them agree.
    """

    frames: int
    size_wh: tuple[int, int]
    reference_spp: int = 0
    reference_from: int = 0
    seed: int = 0


def render_offline(scene_file: Path, plan: OfflinePlan, out: Path, camera_path: Path | None = None) -> Iterator[Path]:
    """Each frame's file once it is there, those of an earlier run included.

    Raises: SceneError, CameraPathError, NoFreePathError, MitsubaMissingError.
    """
    asked: dict[str, Any] = {**asdict(plan), "size_wh": list(plan.size_wh), "scene_sha256": _digest(scene_file)}
    asked["camera_path_sha256"] = None if camera_path is None else _digest(camera_path)
    record = _record_of(out, asked)
    targets = [out / f"{index:04d}.exr" for index in range(plan.frames)]
    if record is not None and all(target.is_file() for target in targets):
        yield from targets
        return
    try:
        scene, start = load_scene(scene_file, plan.size_wh)
        renderer = Renderer(scene, plan.size_wh)
    except (RuntimeError, IndexError, KeyError, ValueError) as error:
        raise SceneError(f"{scene_file}: Mitsuba cannot render it: {str(error).strip().splitlines()[-1]}") from error
    path = _path(out, record, renderer, start, plan, camera_path)
    if record is None:
        try:
            exposure = renderer.exposure(path[len(path) // 2])
        except ValueError as error:
            raise SceneError(f"{scene_file}: {error}; give a path that looks at something lit") from error
        record = {**asked, "exposure": exposure, "scene": scene_file.stem, "renderer": f"Mitsuba {_version()}"}
        out.mkdir(parents=True, exist_ok=True)
        write_camera_path(out / CAMERAS, path)
        (out / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for index, target in enumerate(targets):
        if not target.is_file():
            write_frame(target, _layers(renderer, path, index, plan, float(record["exposure"])))
        yield target


def _layers(renderer: Renderer, path: list[Camera], index: int, plan: OfflinePlan, exposure: float) -> dict[str, Any]:
    camera = path[index]
    layers = renderer.frame(camera, path[max(index - 1, 0)], index, exposure, plan.seed)
    if plan.reference_spp:
        seed = plan.seed * 1009 + index
        given = {"clamp": CLAMP_WHITES, "exposure": exposure}
        layers["radiance_1spp"] = renderer.reference(camera, 1, seed=seed + 2 * AGAIN, prefilter=False, **given)
        if index >= plan.reference_from:
            layers["reference"] = renderer.reference(camera, plan.reference_spp, seed=seed, **given)
        if index == plan.frames - 1:
            layers["reference_again"] = renderer.reference(camera, plan.reference_spp, seed=seed + AGAIN, **given)
    return layers


def _path(
    out: Path,
    record: dict[str, Any] | None,
    renderer: Renderer,
    start: Camera,
    plan: OfflinePlan,
    camera_path: Path | None,
) -> list[Camera]:
    """The given path, else that of the run which goes on, else a new one through free space."""
    if record is not None and camera_path is None:
        camera_path = out / CAMERAS
    if camera_path is not None:
        return read_camera_path(camera_path, plan.frames, start.fov_x_deg)
    return free_path(start, plan.frames, renderer.probe, np.random.default_rng((plan.seed, 11)), roam=False)


def _record_of(out: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run wrote down. Raises: SceneError if it was asked for something else."""
    file = out / RECORD
    if not file.is_file():
        return None
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for name, value in asked.items():
        if record.get(name) != value:
            raise SceneError(
                f"{out}: holds frames with {name} {record.get(name)}, asked for is {value}; give another --out"
            )
    return record


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise SceneError(f"{file}: cannot be read ({error.strerror})") from error


def _version() -> str:
    return str(load_mitsuba().__version__)


def main() -> None:
    """`python -m training.ssr.offline`: a line `frame N of M` for each frame that is there."""
    parser = argparse.ArgumentParser(prog="python -m training.ssr.offline", description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, nargs=2, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--reference-spp", type=int, default=0)
    parser.add_argument("--reference-from", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--camera-path", type=Path)
    given = parser.parse_args()
    size_wh = (given.size[0], given.size[1])
    plan = OfflinePlan(given.frames, size_wh, given.reference_spp, given.reference_from, given.seed)
    try:
        for done, _file in enumerate(render_offline(given.scene, plan, given.out, given.camera_path), 1):
            print(f"frame {done} of {plan.frames}", flush=True)
    except (SceneError, CameraPathError, NoFreePathError, MitsubaMissingError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
