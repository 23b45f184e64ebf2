"""Render the demonstration sequence: `python -m training.ssr demo`. A stopped run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from models.ssr.sequence_file import write_sequence
from training.ssr.demo_scene import DemoRoom
from training.ssr.render import CLAMP_WHITES, Renderer

__all__ = ["DEMO_FOLDER", "render_demo"]

DEMO_FOLDER = Path(__file__).parents[2] / "foveal" / "assets" / "gbuffers" / "room"
SIZE_WH = (320, 180)
FRAMES = 48
REFERENCE_SPP = 48
SEED = 7


def render_demo(
    work: Path, folder: Path = DEMO_FOLDER, *, frames: int = FRAMES, reference_spp: int = REFERENCE_SPP
) -> Path:
    """Frames of 320x180 at 1/4 sample a pixel with references; single frames are kept under `work` on the way."""
    work.mkdir(parents=True, exist_ok=True)
    room = DemoRoom()
    renderer = Renderer(room.load(0), SIZE_WH)
    path = room.path(frames)
    exposure = renderer.exposure(path[frames // 2])
    for index, camera in enumerate(path):
        target = work / f"{index:03d}.npz"
        if target.exists():
            continue
        planes = renderer.frame(camera, path[max(index - 1, 0)], index, exposure, SEED)
        reference = renderer.reference(camera, reference_spp, CLAMP_WHITES, SEED * 1000 + index, exposure=exposure)
        partial = target.with_suffix(".part")
        with partial.open("wb") as file:
            np.savez(file, reference=reference, **planes)
        partial.replace(target)
        print(f"frame {index + 1} of {frames}", flush=True)
    rendered, references = [], []
    for index in range(frames):
        with np.load(work / f"{index:03d}.npz") as stored:
            references.append(stored["reference"])
            rendered.append({name: stored[name] for name in stored.files if name != "reference"})
    meta = {"scene": "demo-room", "fps": 24, "reference_spp": reference_spp}
    meta["renderer"] = f"Mitsuba {room.mi.__version__}"
    write_sequence(folder, rendered, references, meta)
    shutil.rmtree(work)
    return folder
